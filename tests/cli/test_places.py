import pytest

from syncrec.cli.places import check_json_place
from syncrec.errors import ArtifactError


@pytest.mark.parametrize("content", ["[settings]", "{", "[1]", '{"kind": "run"}', ""])
def test_json_is_not_written_over_what_is_something_else(tmp_path, content):
    place = tmp_path / "config.toml"
    check_json_place(place, "evaluation")
    place.write_text('{"kind": "evaluation"}')
    check_json_place(place, "evaluation")
    place.write_text(content)
    with pytest.raises(ArtifactError, match=r"config.toml: exists already and is no evaluation; remove it, or choose"):
        check_json_place(place, "evaluation")
    with pytest.raises(ArtifactError, match="is a directory; give the name of a file"):
        check_json_place(tmp_path, "evaluation")
