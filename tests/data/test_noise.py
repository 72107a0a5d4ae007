import polars as pl
import pytest

from jobs import write_small_log
from syncrec.data.noise import add_noise_domain
from syncrec.errors import DataError


@pytest.fixture
def log(tmp_path):
    return write_small_log(tmp_path / "log.csv")


def test_every_other_event_stays_where_it_was(log, tmp_path):
    added = add_noise_domain(log, tmp_path / "noisy.csv.gz", num_items=7, share=0.5)
    before, after = pl.read_csv(log), pl.read_csv(tmp_path / "noisy.csv.gz")
    assert after.filter(pl.col("domain") != "noise").equals(before)
    noise = after.filter(pl.col("domain") == "noise")
    assert len(noise) == added == round_half_even(before)
    assert noise["item"].n_unique() == 7


def round_half_even(events):
    return sum(round(0.5 * n) for n in events.group_by("user").len()["len"])


def test_times_do_not_go_back_and_the_last_three_events_are_no_noise(log, tmp_path):
    add_noise_domain(log, tmp_path / "noisy.csv", share=3.0)
    for _, history in pl.read_csv(tmp_path / "noisy.csv").group_by("user"):
        assert history["timestamp"].is_sorted()
        assert "noise" not in history["domain"].tail(3).to_list()
        assert (history["domain"] == "noise").mean() == pytest.approx(0.75, abs=0.01)


def test_a_user_of_two_events_gets_none(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,domain,timestamp\na,x,d,1\na,y,d,2\n")
    assert add_noise_domain(tmp_path / "log.csv", tmp_path / "noisy.csv", share=2.0) == 0


def test_the_seed_decides(log, tmp_path):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        add_noise_domain(log, tmp_path / name, seed=seed)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("user,item,domain\na,x,d\n", "has no column timestamp; it has user, item, domain"),
        ("user,item,domain,timestamp\na,x,noise,1\n", "has a domain 'noise' already"),
        ("user,item,domain,timestamp\na,x,d,1\nb,x,d,1\na,x,d,2\n", "the rows of a user must follow each other"),
        (
            "user,item,domain,timestamp,number,time\na,x,d,5,,\nb,x,d,1,,\nb,y,d,1,,\nb,z,d,1970-01-01,,\n",
            "row 4 below the header: its time 1970-01-01 is before that of the row above, of the same user 'b'; sort",
        ),
        ("user,item,domain,timestamp\na,x,d,1\na,x,d,late\n", "row 2 below the header: timestamp 'late' is no number"),
        ("", "is no CSV"),
    ],
)
def test_a_log_that_will_not_do_is_refused_and_nothing_written(text, fault, tmp_path):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=fault):
        add_noise_domain(tmp_path / "log.csv", tmp_path / "noisy.csv")
    assert not (tmp_path / "noisy.csv").exists()


def test_no_log_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        add_noise_domain(tmp_path / "none.csv", tmp_path / "noisy.csv")
