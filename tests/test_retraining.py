"""Models trained without a domain: what stays in the dataset, and that work is kept."""

import numpy as np
import pytest

from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError
from syncrec.evaluation import load_result, result_path
from syncrec.retraining import retrained_cells, without_domain
from syncrec.runs import RunDirectory


@pytest.fixture(scope="module")
def made(hostile_run, tmp_path_factory):
    """The matrix, its folder, and what was said."""
    folder, said = tmp_path_factory.mktemp("retrained"), []
    result = load_result(result_path(hostile_run.path, "test", "full"))
    return retrained_cells(hostile_run, result, folder, said.append), folder, said, result


def test_the_dataset_without_a_domain_keeps_users_items_and_the_split_of_the_rest(hostile_run, made):
    whole, part = hostile_run.dataset, Dataset(made[1] / "without-1" / "dataset")
    assert list(part.users) == list(whole.users)
    assert part.item_offsets.tolist() == whole.item_offsets.tolist()
    for user in range(whole.num_users):
        events = np.arange(*whole.user_offsets[user : user + 2])
        kept = events[whole.domain_of(whole.items[events]) != 1]
        start, stop = part.user_offsets[user : user + 2]
        assert np.array_equal(part.items[start:stop], whole.items[kept])
        assert np.array_equal(part.timestamps[start:stop], whole.timestamps[kept])
        assert part.train_end[user] - start == (kept < whole.train_end[user]).sum()
        assert part.validation_end[user] - start == (kept < whole.validation_end[user]).sum()
    assert part.item_counts[slice(*part.item_range(1))].sum() == 0


def test_domains_read_each_other_as_in_the_run(hostile_run, made):
    assert hostile_run.directory.communities
    for source in range(hostile_run.dataset.num_domains):
        assert RunDirectory.open(made[1] / f"without-{source}" / "run").communities == hostile_run.directory.communities


def test_questions_in_other_domains_stay_the_same(hostile_run, made):
    whole, part = (data.queries("test") for data in (hostile_run.dataset, Dataset(made[1] / "without-1" / "dataset")))
    for name in ("users", "targets", "domains"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[whole.domains != 1])


def test_a_cell_compares_the_two_models_on_the_same_questions(hostile_run, made):
    matrix, folder, _, result = made
    names = hostile_run.dataset.domains
    cells = {(cell["target"], cell["source"]): cell for cell in matrix["answers"]["fused"]}
    assert set(cells) == {(target, source) for target in names for source in names if target != source}
    other = load_result(result_path(folder / "without-1" / "run", "test", "full"))
    cell = cells[names[0], names[1]]
    assert cell["full"] == pytest.approx(result.summary("fused").domains[names[0]]["ndcg@10"])
    assert cell["without"] == pytest.approx(other.summary("fused").domains[names[0]]["ndcg@10"])


def test_what_was_trained_is_kept(hostile_run, made):
    matrix, folder, said, result = made
    models = [folder / f"without-{n}" / "run" / "best.safetensors" for n in range(3)]
    before = [path.read_bytes() for path in models]
    assert retrained_cells(hostile_run, result, folder, said.append) == matrix
    assert [path.read_bytes() for path in models] == before
    assert said[1].startswith("training without ")


def test_a_folder_of_another_dataset_is_refused(tiny_dataset, made):
    with pytest.raises(ArtifactError, match=r"is of another dataset or domain; choose another --out"):
        without_domain(tiny_dataset, 1, made[1] / "without-1" / "dataset")
