import gzip

import pytest

from syncrec.data.titles import read_titles
from syncrec.errors import DataError


def test_titles_by_item_and_where_given_by_domain(tmp_path):
    (tmp_path / "items.csv").write_text('item,domain,title\n1,books,"One, two"\n1,films,Heat\n2,,Both\n', "utf-8-sig")
    titles = read_titles(tmp_path / "items.csv")
    assert (titles.title("books", "1"), titles.title("films", "1")) == ("One, two", "Heat")
    assert (titles.title("maps", "2"), titles.title("maps", "1")) == ("Both", None)


def test_a_compressed_file(tmp_path):
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress("title,item\nÉté,a\n".encode()))
    assert read_titles(tmp_path / "items.csv.gz").title("books", "a") == "Été"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"item,name\n1,x\n", "items.csv:1: no column 'title'; --items takes item,title[,domain], got item,name"),
        (b"item,title\n1\n", "items.csv:2: fewer columns than the header has (item,title)"),
        (b"item,title\n1,\xff\n", "cannot be read as CSV in UTF-8"),
        (b"", "no column 'item'"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    (tmp_path / "items.csv").write_bytes(content)
    with pytest.raises(DataError) as fault:
        read_titles(tmp_path / "items.csv")
    assert message in str(fault.value)


def test_a_damaged_file_and_a_folder_are_named(tmp_path):
    content = gzip.compress("".join(f"{n * 7919},Title {n}\n" for n in range(9999)).encode())
    (tmp_path / "items.csv.gz").write_bytes(content[:500] + bytes(64) + content[564:])
    (tmp_path / "folder.csv").mkdir()
    for name in ("items.csv.gz", "folder.csv"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as CSV"):
            read_titles(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file; --items takes a CSV"):
        read_titles(tmp_path / "items.csv")
