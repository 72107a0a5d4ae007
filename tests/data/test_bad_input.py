"""Bad input: one clear line, and nothing left behind."""

import csv
import gzip
import os

import polars as pl
import pytest

from syncrec.errors import ArtifactError, ConfigError, DataError

HEADER = "user,item,domain,timestamp"
GOOD = [f"u,i{n},B,{n}" for n in range(5)]


def refused(prepared, tmp_path, *sources, **settings):
    """The one line with which it is refused; nothing is left beside the inputs."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises((DataError, ConfigError, ArtifactError)) as caught:
        prepared(*sources, **settings)
    assert sorted(tmp_path.iterdir()) == before
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u,i,B,yesterday", "timestamp 'yesterday' is no number or ISO-8601 date"),
        ("u,i,B,nan", "timestamp 'nan' is no number or ISO-8601 date"),
        ("u,i,B,-5", "timestamp '-5' is negative"),
        ("u,i,B,1e15", "timestamp '1e15' is beyond the year 5138, in seconds or milliseconds"),
        ("u,i,B,1960-01-01", "timestamp '1960-01-01' lies before 1970"),
        ("u,i,B,", "no timestamp: the field is empty or missing"),
        ("u,i", "no domain: the field is empty or missing"),
        (",i,B,1", "no user: the field is empty or missing"),
        ('"",i,B,1', "no user: the field is empty or missing"),
        ("u,,B,1", "no item: the field is empty or missing"),
        (",,,", "no user: the field is empty or missing"),
        ("u,i,B,1,more", "more fields than columns, from 'more' on"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_bad_row_is_refused_with_file_line_and_value(name, line, message, tmp_path, write_log, prepared):
    path = write_log(*GOOD[:3], line, *GOOD[3:])
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    found = refused(prepared, tmp_path, tmp_path / name)
    assert found == f"{tmp_path / name}:5: {message}; mend it, or leave bad rows out: --bad-rows skip"


def test_blank_lines_and_fields_of_two_lines_count_as_lines(tmp_path, write_log, prepared):
    path = write_log("u,i1,B,1", "", 'u,"two', 'lines",B,2', "u,i3,B,x")
    assert f"{path}:6: timestamp 'x'" in refused(prepared, tmp_path, path)


def test_blank_lines_before_the_header_count_as_lines(tmp_path, write_log, prepared):
    path = write_log("", HEADER, "u,i1,B,1", "", "u,i2,B,late", header="")
    path.write_text("\n" + path.read_text())
    assert f"{path}:6: timestamp 'late'" in refused(prepared, tmp_path, path)


def test_a_file_of_blank_lines_is_empty(tmp_path, write_log, prepared):
    path = write_log("", "", header=None)
    assert refused(prepared, tmp_path, path) == f"{path}: the file is empty"


def test_a_bad_row_of_a_zstd_file_has_its_line(tmp_path, prepared):
    frame = pl.DataFrame({"user": ["u"] * 3, "item": ["a", "b", ""], "domain": "B", "timestamp": [1, 2, 3]})
    frame.lazy().sink_csv(tmp_path / "log.csv.zst", compression="zstd")
    assert "log.csv.zst:4: no item" in refused(prepared, tmp_path, tmp_path / "log.csv.zst")


def test_a_bad_row_of_a_headerless_file_counts_from_its_first_line(tmp_path, write_log, prepared):
    path = write_log("u,i,5.0,1", "u,i2,5.0,late", header=None)
    message = refused(prepared, tmp_path, ("B", path), preset="amazon-2014-ratings-csv")
    assert f"{path}:2: timestamp 'late'" in message


def test_a_bad_row_of_a_parquet_file_has_its_row(tmp_path, prepared):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["u", None], "item": ["a", "b"], "domain": "B", "timestamp": [1, 2]}).write_parquet(path)
    assert f"{path}:2: no user" in refused(prepared, tmp_path, path)


def test_an_id_of_a_parquet_file_that_is_no_number_is_empty(tmp_path, prepared):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1.0, float("nan")], "item": ["a", "b"], "domain": "B", "timestamp": 1}).write_parquet(path)
    assert f"{path}:2: no user" in refused(prepared, tmp_path, path)


@pytest.mark.parametrize(
    ("kind", "name"), [(pl.Duration("us"), "Duration"), (pl.Time(), "Time"), (pl.Boolean(), "Boolean")]
)
def test_a_column_of_a_type_that_holds_no_times_is_refused(kind, name, tmp_path, prepared):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": "u", "item": "i", "domain": "B", "when": pl.Series([1, 0]).cast(kind)}).write_parquet(path)
    message = refused(prepared, tmp_path, path, columns={"timestamp": "when"})
    assert message.startswith(f"{path}: the column 'when' has the type {name}")
    assert "times are numbers, text, Date or Datetime: convert the column" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": "u", "item": bad', r"is no JSON (Expecting value at character 23)"),
        ('{"user": "u", "item": "i", "domain": "B", "timestamp": NaN}', "is no JSON (it has no NaN)"),
        ("[1, 2]", "is JSON, but no object with fields"),
        ('{"user": "u", "item": "i", "domain": "B"}', "no timestamp: the field is empty or missing"),
        ('{"user": "u", "item": null, "domain": "B", "timestamp": 1}', "no item: the field is empty or missing"),
        ('{"user": "", "item": "i", "domain": "B", "timestamp": 1}', "no user: the field is empty or missing"),
        ('{"user": "u", "item": "i", "domain": "B", "timestamp": -1}', "timestamp '-1' is negative"),
    ],
)
def test_a_bad_json_line_is_refused_with_its_number(line, message, tmp_path, write_log, prepared):
    good = '{"user": "u", "item": "i", "domain": "B", "timestamp": 1}'
    path = write_log(good, "", line, good, name="log.jsonl", header=None)
    assert refused(prepared, tmp_path, path).startswith(f"{path}:3: {message}")


def test_a_missing_column_is_named_with_those_there_and_the_remedy(tmp_path, write_log, prepared):
    path = write_log("a,b,c", header="reviewerID,asin,when")
    assert refused(prepared, tmp_path, path) == (
        f"{path}: no column 'user' among 'reviewerID', 'asin', 'when'; "
        "name the one that holds it: --columns user=COLUMN"
    )


@pytest.mark.parametrize(
    ("name", "separator", "found", "remedy"),
    [
        ("log.csv", ";", "by commas, and seem to be by semicolons", "write it anew with commas between fields"),
        ("log.csv", "\t", "by commas, and seem to be by tabs", "give it the extension .tsv"),
        ("log.tsv", ",", "by tabs, and seem to be by commas", "give it the extension .csv"),
    ],
)
def test_another_separator_is_told(tmp_path, write_log, prepared, name, separator, found, remedy):
    header = separator.join(("user", "item", "domain", "timestamp"))
    message = refused(prepared, tmp_path, write_log(separator.join("ab12"), name=name, header=header))
    assert (
        message
        == f"{tmp_path / name}: its header is one column, {header!r}; fields must be separated {found}; {remedy}"
    )


def test_a_missing_domain_can_be_named_for_the_file(tmp_path, write_log, prepared):
    path = write_log("a,b,1", header="user,item,timestamp")
    assert refused(prepared, tmp_path, path).endswith("or the domain of the whole file: --domain NAME=log.csv")


def test_a_missing_json_field_is_named(tmp_path, write_log, prepared):
    path = write_log('{"user": "u", "asin": "i"}', name="log.jsonl", header=None)
    assert "no column 'item' among 'user', 'asin'" in refused(prepared, tmp_path, ("B", path))


def test_a_mapped_column_that_is_missing_is_named(tmp_path, write_log, prepared):
    path = write_log(*GOOD)
    assert "no column 'reviewer' among" in refused(prepared, tmp_path, path, columns={"user": "reviewer"})


def test_two_columns_of_one_name_are_refused(tmp_path, write_log, prepared):
    path = write_log("u,i,j,B,1", header="user,item,item,domain,timestamp")
    assert "two columns are called 'item'" in refused(prepared, tmp_path, path)


def test_missing_files_globs_and_directories_are_named(tmp_path, prepared):
    assert refused(prepared, tmp_path, tmp_path / "no.csv") == f"{tmp_path}/no.csv: no such file"
    assert refused(prepared, tmp_path, tmp_path / "no-*.csv") == f"{tmp_path}/no-*.csv: matches no file"
    assert "is a directory; name its files, for example" in refused(prepared, tmp_path, tmp_path)
    assert refused(prepared, tmp_path) == "no input: name at least one log"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path, write_log, prepared):
    path = write_log(*GOOD)
    path.chmod(0)
    assert refused(prepared, tmp_path, path) == f"{path}: cannot be read: Permission denied"


def test_a_file_named_twice_is_refused(tmp_path, write_log, prepared):
    path = write_log(*GOOD)
    assert "named twice among the inputs" in refused(prepared, tmp_path, path, tmp_path / "*.csv")


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.csv.gz", "log.jsonl.gz", "log.parquet"])
def test_an_empty_file_is_named(name, tmp_path, prepared):
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    assert refused(prepared, tmp_path, tmp_path / name) == f"{tmp_path / name}: the file is empty"


def test_a_log_without_rows_is_refused(tmp_path, write_log, prepared):
    path = write_log()
    assert refused(prepared, tmp_path, path) == f"the log holds no events: {path}"


@pytest.fixture(params=["log.csv.gz", "log.jsonl.gz"])
def gzip_file(request, tmp_path):
    """A path and the bytes of a good gzip file of some length."""
    line = (
        '{{"user": "u", "item": "i{}", "domain": "B", "timestamp": 1}}\n' if "json" in request.param else "u,i{},B,1\n"
    )
    head = "" if "json" in request.param else "user,item,domain,timestamp\n"
    text = head + "".join(line.format(n * 7919) for n in range(50_000))
    return tmp_path / request.param, gzip.compress(text.encode())


def test_a_truncated_gzip_is_named(gzip_file, tmp_path, prepared):
    path, content = gzip_file
    path.write_bytes(content[: len(content) // 2])
    assert f"{path}: broken gzip" in refused(prepared, tmp_path, path)


def test_a_gzip_with_altered_bytes_is_named(gzip_file, tmp_path, prepared):
    path, content = gzip_file
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    assert f"{path}" in (message := refused(prepared, tmp_path, path))
    assert "broken gzip" in message


@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz"])
def test_a_gzip_that_is_altered_at_its_head_is_named(name, tmp_path, prepared):
    content = gzip.compress(b"user,item,domain,timestamp\n" + b"u,i,B,1\n" * 50)
    (tmp_path / name).write_bytes(content[:10] + b"\x07" + content[11:])  # a kind of block that there is not
    assert f"{name}: broken gzip" in refused(prepared, tmp_path, tmp_path / name)
    assert f"{name}: broken gzip" in refused(prepared, tmp_path, tmp_path / name, bad_rows="skip")


def test_line_ends_of_old_machines_have_a_remedy(tmp_path, prepared):
    path = tmp_path / "log.csv"
    path.write_bytes(b"user,item,domain,timestamp\ru,i,B,1\r")
    assert refused(prepared, tmp_path, path) == (rf"{path}:1: has \r in the middle of a line; convert line ends to \n")


def test_a_long_field_does_not_hide_the_bad_row(tmp_path, write_log, prepared):
    path = write_log(*GOOD, f"u,{'x' * 150_000},B,7", "u,i8,B,late")
    assert refused(prepared, tmp_path, path).startswith(f"{path}:8: timestamp 'late' is no number")


@pytest.mark.parametrize("name", ["log.csv.gz", "log.csv.zst"])
def test_a_file_that_is_not_compressed_as_it_says_is_named(name, tmp_path, prepared):
    (tmp_path / name).write_text("user,item,domain,timestamp\n")
    assert f"is no {name[-2:] if name.endswith('gz') else 'zst'} file" in refused(prepared, tmp_path, tmp_path / name)


def test_a_truncated_zstd_file_is_named(tmp_path, prepared):
    path = tmp_path / "log.csv.zst"
    frame = pl.DataFrame({"user": "u", "item": [str(n * 7919) for n in range(50_000)], "domain": "B", "timestamp": 1})
    frame.lazy().sink_csv(path, compression="zstd")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be read" in refused(prepared, tmp_path, path)


def test_a_damaged_parquet_file_is_named(tmp_path, prepared):
    (tmp_path / "log.parquet").write_bytes(b"PAR1 this is none")
    assert "log.parquet: cannot be read as parquet" in refused(prepared, tmp_path, tmp_path / "log.parquet")


def test_bytes_that_are_no_text_have_their_line(tmp_path, write_log, prepared):
    path = write_log(*GOOD)
    path.write_bytes(path.read_bytes() + b"u,\xff\xfe,B,9\n")
    assert refused(prepared, tmp_path, path) == f"{path}:7: is not UTF-8; convert the file"


@pytest.mark.parametrize("line", ['u,"open,B,7', 'u,17" screen,B,7'])
def test_a_quote_without_a_second_one_has_its_line(line, tmp_path, write_log, prepared):
    path = write_log(*GOOD, line, "u,i8,B,8", line.replace("7", "9"))
    assert refused(prepared, tmp_path, path).startswith(f'{path}:7: has a quote (") without a second one')


def test_a_quote_in_the_middle_of_a_field_is_refused(tmp_path, write_log, prepared):
    path = write_log(*GOOD, 'u,"a"b,B,7')
    assert refused(prepared, tmp_path, path).startswith(f"{path}: cannot be read as csv: could not parse")


def test_an_item_in_two_domains_is_named_with_both(tmp_path, write_log, prepared):
    path = write_log(*GOOD, "u,i1,Toys,9")
    assert refused(prepared, tmp_path, path) == (
        "item 'i1' is in two domains, 'B' and 'Toys'; an item has one: make ids unique, for example B:i1 and Toys:i1"
    )


def test_too_few_events_for_the_split_are_refused(tmp_path, write_log, prepared):
    path = write_log("u,a,B,1", "u,b,B,2", "v,a,B,1")
    message = refused(prepared, tmp_path, path)
    assert message.startswith("too few events for leave-one-out: no user has 3, the longest history has 2")


def test_a_filter_that_leaves_nothing_is_named(tmp_path, write_log, prepared):
    assert "nothing is left by the filter k-core" in refused(
        prepared, tmp_path, write_log(*GOOD), min_user_interactions=6
    )


def test_an_existing_dataset_is_replaced_only_when_asked(tmp_path, write_log, prepared):
    path = write_log(*GOOD)
    prepared(path)
    assert "exists already" in refused(prepared, tmp_path, path)
    assert len(prepared(path, overwrite=True).items) == 5


def test_a_failure_leaves_the_older_dataset_as_it_was(tmp_path, write_log, prepared):
    before = prepared(write_log(*GOOD)).checksum
    bad = write_log("u,i,B,x", name="bad.csv")
    refused(prepared, tmp_path, bad, overwrite=True)
    from syncrec.data.dataset import Dataset

    assert Dataset(tmp_path / "dataset").checksum == before


def read_rejects(dataset):
    with (dataset.path / "rejects.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_skipped_rows_are_counted_and_written_with_their_reason(write_log, prepared):
    path = write_log(*GOOD, "u,i,B,late", "", ",i,B,1", "u,i9,B,1,x")
    lines = []
    dataset = prepared(path, bad_rows="skip", report=lines.append)
    assert read_rejects(dataset) == [
        ["file", "line", "reason", "value"],
        [str(path), "7", "timestamp 'late' is no number or ISO-8601 date", "late"],
        [str(path), "9", "no user: the field is empty or missing", ""],
        [str(path), "10", "more fields than columns, from 'x' on", "x"],
    ]
    assert (len(dataset.items), dataset.manifest["rejected_rows"]) == (5, 3)
    assert f"{path}: 5 events, 3 bad rows skipped" in lines


def test_skipped_json_lines_keep_their_numbers(tmp_path, write_log, prepared):
    good = [f'{{"user": "u", "item": "i{n}", "domain": "B", "timestamp": {n}}}' for n in range(3)]
    path = write_log(good[0], "{broken", "", good[1], '{"user": "u"}', good[2], name="log.jsonl", header=None)
    dataset = prepared(path, bad_rows="skip")
    rejects = read_rejects(dataset)
    assert [row[1] for row in rejects[1:]] == ["2", "5"]
    assert rejects[1][:3] == [
        str(path),
        "2",
        "is no JSON (Expecting property name enclosed in double quotes at character 2)",
    ]
    assert len(dataset.items) == 3


JSON_GOOD = [f'{{"user": "u", "item": "i{n}", "domain": "B", "timestamp": {n}}}' for n in range(3)]


def test_a_byte_order_mark_of_json_lines_is_named_and_left_out_when_skipping(write_log, tmp_path, prepared):
    path = write_log("\ufeff" + JSON_GOOD[0], *JSON_GOOD[1:], name="log.jsonl", header=None)
    assert refused(prepared, tmp_path, path) == (
        f"{path}:1: begins with a byte order mark; save it as UTF-8 without one (no BOM)"
    )
    dataset = prepared(path, bad_rows="skip")
    assert (len(dataset.items), len(read_rejects(dataset))) == (3, 1)


def test_a_column_of_domains_that_is_not_read_is_noted_when_skipping_too(write_log, prepared):
    path = write_log("{broken", *JSON_GOOD, name="log.jsonl", header=None)
    lines = []
    assert len(prepared(("Books", path), bad_rows="skip", report=lines.append).items) == 3
    assert lines[0].startswith(f"note: {path}: its column 'domain' is not read")


@pytest.mark.parametrize("name", ["log.jsonl", "log.json.gz"])
def test_a_missing_json_field_is_named_with_the_file_of_the_user_when_skipping(name, tmp_path, prepared):
    text = b'{"user": "u", "item": "i", "timestamp": 1}\n{broken\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    message = refused(prepared, tmp_path, tmp_path / name, bad_rows="skip")
    assert message.startswith(f"{tmp_path / name}: no column 'domain' among 'user', 'item', 'timestamp'; name")
    assert message.endswith(f"--domain NAME={name}")


def test_a_log_without_bad_rows_has_an_empty_rejects_file_when_skipping(write_log, prepared):
    dataset = prepared(write_log(*GOOD), bad_rows="skip")
    assert read_rejects(dataset) == [["file", "line", "reason", "value"]]


def test_a_file_of_bad_rows_only_holds_no_events(tmp_path, write_log, prepared):
    assert "the log holds no events" in refused(prepared, tmp_path, write_log("u,i,B,x"), bad_rows="skip")


def test_broken_compression_is_refused_even_when_skipping(gzip_file, tmp_path, prepared):
    path, content = gzip_file
    path.write_bytes(content[: len(content) // 2])
    assert "broken gzip" in refused(prepared, tmp_path, path, bad_rows="skip")
