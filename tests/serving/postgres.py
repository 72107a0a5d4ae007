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
    """A port of the loopback interface that nobody listens on, below those that the system hands out by itself.

    One of these could be taken by a connection while a server restarts.
    """
    for port in range(20_000 + os.getpid() * 97 % 11_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class PostgresServer:
    """Runs as the user postgres if the tests run as root, for it refuses to run as root."""

    def __init__(self, folder):
        self._bin = _binaries()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder, self.port = folder, free_port()
        if self._user:
            _hand_over(folder, self._user)
        self._call("initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c shared_buffers=16MB -c fsync=off"
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


def _hand_over(folder, user):
    """Make `folder` the user's."""
    try:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {user}")
