"""A PostgreSQL server of the tests' own, in a temporary folder."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def free_port():
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PostgresServer:
    """Runs as the user postgres if the tests run as root, for it refuses to run as root."""

    def __init__(self, folder):
        self._bin = _binaries()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder, self.port = folder, free_port()
        if self._user:
            _let_in(folder, self._user)
        self._call("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c shared_buffers=16MB"
        self._call("pg_ctl", "-D", self._folder / "data", "-o", options, "-l", self._folder / "log", "-w", "start")

    def stop(self):
        self._call("pg_ctl", "-D", self._folder / "data", "-m", "immediate", "-w", "stop")

    def _call(self, program, *arguments):
        command = [str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(
            command, user=self._user, cwd=self._folder, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _binaries():
    found = shutil.which("initdb")
    places = [*_PLACES, *([Path(found).parent] if found else [])]
    for place in places:
        if (place / "pg_ctl").exists():
            return place
    return pytest.skip("PostgreSQL is not installed: no initdb and pg_ctl")


def _let_in(folder, user):
    """Make `folder` the user's, and let it pass through the folders above."""
    try:
        number = pwd.getpwnam(user).pw_uid
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {user}")
    os.chown(folder, number, -1)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
