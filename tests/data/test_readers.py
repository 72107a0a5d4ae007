"""Every notation of raw logs, and the presets."""

import gzip
import json

import polars as pl
import pytest

from syncrec.errors import ConfigError, DataError

ROWS = [("u1", "007", "B", 30), ("u1", "a b", "T", 10), ("u2", "é", "B", 20), ("u1", "x,y", "B", 20)]
FRAME = pl.DataFrame(ROWS, schema=["user", "item", "domain", "timestamp"], orient="row")
EXPECTED = {"u1": ["a b", "x,y", "007"], "u2": ["é"]}


def write_csv(path):
    FRAME.write_csv(path)


def write_tsv(path):
    FRAME.write_csv(path, separator="\t")


def write_jsonl(path):
    FRAME.write_ndjson(path)


def compressed(write):
    def write_gzip(path):
        plain = path.with_suffix(".plain")
        write(plain)
        path.write_bytes(gzip.compress(plain.read_bytes()))

    return write_gzip


NOTATIONS = {
    "log.csv": write_csv,
    "log.tsv": write_tsv,
    "log.csv.gz": compressed(write_csv),
    "log.tsv.gz": compressed(write_tsv),
    "log.csv.zst": lambda path: FRAME.lazy().sink_csv(path, compression="zstd"),
    "log.jsonl": write_jsonl,
    "log.ndjson": write_jsonl,
    "log.json.gz": compressed(write_jsonl),
    "log.jsonl.zst": lambda path: FRAME.lazy().sink_ndjson(path, compression="zstd"),
    "log.parquet": FRAME.write_parquet,
}


@pytest.fixture
def ten_users(write_log):
    """Lines of events enough for a split, apart from a test's own."""
    return [f"many,item-{n},B,{n}" for n in range(3)]


def with_targets(prepare, *sources, **settings):
    """Prepare under a split that needs few events."""
    return prepare(*sources, split="temporal", validation_from="15", test_from="25", **settings)


@pytest.mark.parametrize("name", NOTATIONS)
def test_the_same_rows_in_every_notation_give_the_same_histories(name, tmp_path, prepared, history_of):
    NOTATIONS[name](tmp_path / name)
    dataset = with_targets(prepared, tmp_path / name)
    assert {user: history_of(dataset, user) for user in dataset.users} == EXPECTED
    assert dataset.domains == ("B", "T")
    assert dataset.timestamps.tolist() == [10, 20, 30, 20]


def test_the_notation_leaves_no_trace_in_the_content(tmp_path, prepared):
    checksums = set()
    for number, (name, write) in enumerate(NOTATIONS.items()):
        write(tmp_path / name)
        checksums.add(with_targets(prepared, tmp_path / name, out=f"dataset-{number}").checksum)
    assert len(checksums) == 1


def test_an_inter_file_needs_no_mapping(tmp_path, prepared, history_of):
    path = tmp_path / "ml.inter"
    path.write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t30.0\n1\t11\t4\t2.0e1\n1\t12\t3\t10.0\n"
    )
    dataset = prepared(("movies", path))
    assert history_of(dataset, "1") == ["12", "11", "10"]
    assert dataset.domains == ("movies",)


@pytest.mark.parametrize("name", ["ML.INTER", "ML.Inter.GZ"])
def test_extensions_may_be_in_capitals(name, tmp_path, prepared, history_of):
    text = b"user_id:token\titem_id:token\ttimestamp:float\nu\ta\t1\nu\tb\t2\nu\tc\t3\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("GZ") else text)
    assert history_of(prepared(("movies", tmp_path / name)), "u") == ["a", "b", "c"]


@pytest.mark.parametrize("blank", ["\n", "\n\n", "\r\n", "\ufeff\n"])
def test_blank_lines_before_the_header_do_not_matter(blank, tmp_path, prepared, history_of):
    path = tmp_path / "log.csv"
    path.write_text(blank + "user,item,domain,timestamp\nu,a,B,1\n\nu,b,B,2\nu,c,B,3\n")
    assert history_of(prepared(path), "u") == ["a", "b", "c"]


def test_a_column_of_domains_that_is_not_read_is_noted(write_log, prepared):
    path = write_log("u,a,B,1", "u,b,T,2", "u,c,B,3")
    lines = []
    assert prepared(("Books", path), report=lines.append).domains == ("Books",)
    assert lines[0] == (
        f"note: {path}: its column 'domain' is not read, all events belong to 'Books'; "
        "name the file without --domain to take their domains from it"
    )
    prepared(path, out="other", report=(other := []).append)
    prepared(("Books", path), out="mapped", columns={"domain": "none"}, report=other.append)
    assert not [line for line in other if "is not read" in line]


def test_quoted_fields_may_hold_separators_quotes_and_line_ends(write_log, prepared, history_of):
    path = write_log('u,"a,b",B,1', 'u,"say ""hi""",B,2', 'u,"two', 'lines",B,3')
    assert history_of(prepared(path), "u") == ["a,b", 'say "hi"', "two\nlines"]


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path, prepared, history_of):
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xef\xbb\xbfuser,item,domain,timestamp\r\nu,a,B,1\r\nu,b,B,2\r\n\r\nu,c,B,3\r\n")
    assert history_of(prepared(path), "u") == ["a", "b", "c"]


def test_numeric_ids_of_json_and_parquet_are_text(tmp_path, prepared, history_of):
    path = tmp_path / "log.jsonl"
    path.write_text(
        "".join(json.dumps({"user": 7, "item": n, "domain": "B", "timestamp": n}) + "\n" for n in (1, 2, 3))
    )
    frame = pl.DataFrame({"user": [8] * 3, "item": [1, 2, 3], "domain": ["B"] * 3, "timestamp": [3.0, 2.0, 1.0]})
    frame.write_parquet(tmp_path / "log.parquet")
    dataset = prepared(path, tmp_path / "log.parquet")
    assert history_of(dataset, "7") == ["1", "2", "3"]
    assert history_of(dataset, "8") == ["3", "2", "1"]


def test_a_whole_number_is_one_id_as_integer_and_as_float(tmp_path, prepared, history_of):
    times = {"domain": ["B"] * 3, "timestamp": [1, 2, 3]}
    pl.DataFrame({"user": [1, 1, 2], "item": [10, 20, 30], **times}).write_parquet(tmp_path / "whole.parquet")
    pl.DataFrame({"user": [1.0, 2.0, 2.5], "item": [20.0, 10.0, 30.0], **times}).write_parquet(tmp_path / "f.parquet")
    dataset = prepared(tmp_path / "whole.parquet", tmp_path / "f.parquet")
    assert list(dataset.users) == ["1", "2", "2.5"]
    assert (history_of(dataset, "1"), history_of(dataset, "2")) == (["10", "20", "20"], ["10", "30"])


@pytest.mark.parametrize("name", ["log.jsonl", "log.parquet"])
def test_a_column_may_be_called_row(name, tmp_path, prepared, history_of):
    frame = FRAME.with_columns(pl.Series("row", [9, 9, 9, 9]), row_=pl.lit("x"))
    frame.write_parquet(tmp_path / name) if name.endswith("parquet") else frame.write_ndjson(tmp_path / name)
    dataset = with_targets(prepared, tmp_path / name)
    assert {user: history_of(dataset, user) for user in dataset.users} == EXPECTED


def test_ids_that_differ_in_leading_zeros_differ(write_log, prepared):
    dataset = prepared(write_log("01,1,B,1", "01,01,B,2", "01,001,B,3", "1,1,B,1"))
    assert list(dataset.users) == ["01", "1"]
    assert dataset.num_items == 3


def test_columns_are_mapped_by_name_and_others_ignored(write_log, prepared, history_of):
    path = write_log("9,x,U,A,B", "8,x,U,B,B", "7,x,U,C,B", header="unixReviewTime,junk,reviewerID,asin,domain")
    columns = {"user": "reviewerID", "item": "asin", "timestamp": "unixReviewTime"}
    assert history_of(prepared(path, columns=columns), "U") == ["C", "B", "A"]


def write_amazon_json(path, rows):
    lines = [
        {"reviewerID": u, "asin": i, "unixReviewTime": t, "overall": 5.0, "style": {"a:": "b"}} for u, i, t in rows
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


@pytest.mark.parametrize("preset", ["amazon-2014-json", "amazon-2018-json"])
def test_amazon_json_takes_the_domain_from_the_file(preset, tmp_path, prepared, history_of):
    write_amazon_json(tmp_path / "books.jsonl.gz", [("u", "b1", 10), ("u", "b2", 30)])
    write_amazon_json(tmp_path / "toys.jsonl.gz", [("u", "t1", 20)])
    dataset = prepared(("Toys", tmp_path / "toys.jsonl.gz"), ("Books", tmp_path / "books.jsonl.gz"), preset=preset)
    assert history_of(dataset, "u") == ["b1", "t1", "b2"]
    assert dataset.domains == ("Toys", "Books")


@pytest.mark.parametrize(
    ("preset", "line"), [("amazon-2014-ratings-csv", "u,i{},5.0,{}"), ("amazon-2018-ratings-csv", "i{},u,5.0,{}")]
)
def test_amazon_ratings_have_no_header_and_an_order_by_release(preset, line, write_log, prepared, history_of):
    path = write_log(*(line.format(n, n) for n in range(3)), header=None)
    assert history_of(prepared(("Books", path), preset=preset), "u") == ["i0", "i1", "i2"]


@pytest.mark.parametrize("item", ["parent_asin", "asin"])
def test_amazon_2023_counts_milliseconds_and_prefers_the_parent_item(item, tmp_path, prepared, history_of):
    path = tmp_path / "Books.jsonl"
    rows = [{"user_id": "u", item: f"i{n}", "timestamp": 1_588_687_728_923 - n} for n in range(3)]
    if item == "parent_asin":
        rows = [{"asin": "child", **row} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = prepared(("Books", path), preset="amazon-2023")
    assert history_of(dataset, "u") == ["i2", "i1", "i0"]
    assert dataset.timestamps.tolist() == [1_588_687_728] * 3


def test_an_unknown_preset_is_refused_with_the_nearest(write_log, prepared):
    with pytest.raises(ConfigError, match="unknown preset 'amazon-2032'; nearest: amazon-2023"):
        prepared(write_log("u,i,B,1"), preset="amazon-2032")


def test_a_mapping_of_an_unknown_field_is_refused(write_log, prepared):
    with pytest.raises(ConfigError, match=r"columns maps 'usr', but the fields are .*; did you mean 'user'"):
        prepared(write_log("u,i,B,1"), columns={"usr": "user"})


def test_a_glob_reads_its_files_in_order_of_name(write_log, tmp_path, prepared, history_of):
    write_log("u,b,B,1", name="part-2.csv")
    write_log("u,a,B,1", name="part-1.csv")
    write_log("u,c,B,1", name="part-3.csv")
    assert history_of(prepared(tmp_path / "part-*.csv"), "u") == ["a", "b", "c"]


def test_a_file_name_with_glob_characters_is_a_file(tmp_path, prepared, history_of):
    path = tmp_path / "log[1].jsonl"
    path.write_text(
        "".join(json.dumps({"user": "u", "item": f"{n}", "domain": "B", "timestamp": n}) + "\n" for n in "123")
    )
    assert history_of(prepared(path), "u") == ["1", "2", "3"]


def test_parts_with_a_header_and_no_rows_are_read(write_log, tmp_path, prepared):
    write_log(name="part-1.csv")
    write_log("u,a,B,1", "u,b,B,2", "u,c,B,3", name="part-2.csv")
    assert len(prepared(tmp_path / "part-*.csv").items) == 3


@pytest.mark.parametrize("name", ["log.xlsx", "log", "log.gz", "log.parquet.gz"])
def test_an_unknown_extension_is_refused_with_the_known_ones(name, tmp_path, prepared):
    (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"unknown extension; known are \.csv, \.tsv, \.inter, .*\.parquet"):
        prepared(tmp_path / name)
