"""A small log and settings with which the whole job runs in a second, and the real log of 500 users."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

DOMAINS = ("books", "films", "tools")
NUM_ITEMS = 30
TINY = ("model.dim=16", "model.max_length=20", "training.epochs=2", "training.batch_size=16", "training.threads=1")
_PLACES = (os.environ.get("SYNCREC_DATA_DIR"), Path(__file__).parents[2] / "shared" / "data")


def write_small_log(path, num_users=50, seed=0):
    """50 users u0, u1, ...; in each domain most often the item after the last one."""
    random, lines = np.random.default_rng(seed), ["user,item,domain,timestamp"]
    for user in range(num_users):
        place = random.integers(0, NUM_ITEMS, len(DOMAINS))
        for time, domain in enumerate(random.integers(0, len(DOMAINS), random.integers(6, 16))):
            place[domain] = (place[domain] + 1) % NUM_ITEMS
            lines.append(f"u{user},{DOMAINS[domain][0]}{place[domain]},{DOMAINS[domain]},{1000 * time}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def real_log(name="amazon_five_domains_500_users.csv.gz"):
    """A real log, by default that of 500 users in five domains; skips the test without it."""
    for folder in filter(None, _PLACES):
        if (log := Path(folder) / name).exists():
            return log
    return pytest.skip(f"{name} is in none of $SYNCREC_DATA_DIR and ../shared/data")


def as_options(settings):
    """Settings as `--set` options."""
    return [word for setting in settings for word in ("--set", setting)]


def names_in(folder):
    """What lies in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


# Names that a page must not take for its own text.
HOSTILE_DOMAINS = ("<script>alert(1)</script>", 'b&b "$x_1$" {{ 7*7 }}', "films | ünï © 音楽")
HOSTILE_USER = "u0'><img src=x onerror=alert(2)>"


def write_hostile_log(path, num_users=50, seed=0):
    """The small log with such names: of its domains, of every user and of every item."""
    names = dict(zip(DOMAINS, HOSTILE_DOMAINS, strict=True))
    lines = write_small_log(path, num_users, seed).read_text(encoding="utf-8").splitlines()[1:]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "domain", "timestamp"])
        for user, item, domain, time in (line.split(",") for line in lines):
            rows.writerow([user + HOSTILE_USER[2:], f"</td><b>{item}", names[domain], time])
    return path
