"""The service as it runs: killed, filled up, stopped, several workers, clients that are slow."""

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import msgspec
import pytest
from server import Server

from syncrec.client import Client, ServiceError
from syncrec.serving.http.keys import add_key
from syncrec.serving.messages import EventMessage
from syncrec.serving.store.events import EventStore


def click(number, user="zoe"):
    return EventMessage(kind="click", user=user, domain="films", item=f"f{number % 30}", event_id=f"e{number}")


class Sender(threading.Thread):
    """Sends events without a pause; remembers which were acknowledged and what was no success, and tries none again."""

    def __init__(self, url, first, per_request=3):
        super().__init__()
        self.url, self.next, self.per_request = url, first, per_request
        self.acknowledged, self.sent, self.faults, self.is_over = [], [], [], threading.Event()

    def run(self):
        address = self.url.removeprefix("http://")
        connection = None
        while not self.is_over.is_set():
            events = [click(number) for number in range(self.next, self.next + self.per_request)]
            self.next += self.per_request
            self.sent += [event.event_id for event in events]
            try:
                connection = connection or http.client.HTTPConnection(address, timeout=20)
                body = msgspec.json.encode(events)
                connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.01)
                continue
            if answer.status == 200:
                self.acknowledged += json.loads(text)["event_ids"]
            else:
                self.faults.append((answer.status, text))


def kill_under_load(place, store, kills, workers):
    """Kill the whole service again and again while four senders are at work; gives what they remember."""
    with Server(place / "run", "--store", store, workers=workers) as server:
        senders = [Sender(server.url, first) for first in range(0, 4_000_000, 1_000_000)]
        for sender in senders:
            sender.start()
        try:
            for number in range(kills):
                enough = num_acknowledged(senders) + 12
                wait_for(lambda enough=enough: num_acknowledged(senders) >= enough)
                time.sleep(0.037 * (number % 7))
                server.kill()
                server.start()
        finally:
            for sender in senders:
                sender.is_over.set()
            for sender in senders:
                sender.join()
        assert server.stop() == 0
    assert [fault for sender in senders for fault in sender.faults] == []  # a service that is down answers nothing
    return [i for s in senders for i in s.acknowledged], {i for s in senders for i in s.sent}


def num_acknowledged(senders):
    return sum(len(sender.acknowledged) for sender in senders)


def stored_ids(store):
    opened = EventStore(store)
    ids = [event.event_id for event in opened.rows(None)]
    opened.close()
    return ids


def check_nothing_is_lost(store, acknowledged, sent):
    stored = stored_ids(store)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored) <= sent
    assert len(acknowledged) == len(set(acknowledged)) > 10


def test_what_was_acknowledged_outlives_a_kill(place, tmp_path):
    store = f"sqlite:///{tmp_path / 'events.db'}"
    check_nothing_is_lost(store, *kill_under_load(place, store, kills=3, workers=1))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("kills", "workers"), [(100, 1), (100, 2)])
def test_what_was_acknowledged_outlives_many_kills(place, address, kills, workers):
    check_nothing_is_lost(address, *kill_under_load(place, address, kills, workers))


def fill(client, acknowledged):
    """Send until the service has no room; gives the refusal."""
    for number in range(0, 1_000_000, 200):
        events = [click(i) for i in range(number, number + 200)]
        try:
            acknowledged += client.send_events(events).event_ids
        except ServiceError as error:
            return error
    raise AssertionError("the disk never was full")


def test_a_full_disk_refuses_and_tears_nothing(place, tmp_path):
    """The limit on the size of a file takes the place of a full disk, which only root can make."""
    store = f"sqlite:///{tmp_path / 'events.db'}"
    acknowledged = []
    with (
        Server(place / "run", "--store", store, limit_bytes=1_500_000) as server,
        Client(server.url, timeout_s=60) as client,
    ):
        assert fill(client, acknowledged).status == 507
        with pytest.raises(ServiceError, match="no room left on its disk"):
            client.send_events([click(5_000_000 + i) for i in range(900)])
        assert client.recommend("films", user="zoe", k=3).known_user
        assert client.is_ready()
        server.kill()
    assert set(stored_ids(store)) >= set(acknowledged)
    assert len(acknowledged) > 1000
    with Server(place / "run", "--store", store) as server, Client(server.url, timeout_s=60) as client:
        assert client.send_events([click(i) for i in range(400)]).duplicates == 400
        assert client.send_events([click(6_000_000)]).stored == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_was_full_takes_events_again_once_there_is_room(place, small_disk):
    (small_disk / "ballast").write_bytes(b"x" * 2_000_000)
    store, acknowledged = f"sqlite:///{small_disk / 'events.db'}", []
    with Server(place / "run", "--store", store) as server, Client(server.url, timeout_s=60) as client:
        assert fill(client, acknowledged).status == 507
        (small_disk / "ballast").unlink()
        acknowledged += client.send_events([click(7_000_000 + i) for i in range(50)]).event_ids
        server.kill()
    assert set(acknowledged) <= set(stored_ids(store))


def test_a_stop_finishes_what_was_begun(place, tmp_path):
    (tmp_path / "settings.toml").write_text("body_timeout_s = 60\nstop_timeout_s = 60\n")
    store = f"sqlite:///{tmp_path / 'events.db'}"
    with Server(place / "run", "--store", store, "--config", tmp_path / "settings.toml") as server:
        body = b'{"domain": "films", "user": "zoe"}'
        head = b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as late:
            late.sendall(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
            assert late.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the request has begun
            late.sendall(body[:5])
            os.kill(server.process.pid, signal.SIGTERM)
            wait_for(lambda: not takes_connections(server))
            time.sleep(0.5)  # a stop that waits for nobody is over then
            late.sendall(body[5:])
            assert late.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.ended() == 0
        log = [json.loads(line) for line in server.lines]
    assert [line["event"] for line in log if line["event"] in ("start", "request", "stop")][-2:] == ["request", "stop"]
    answered = [line for line in log if line["event"] == "request"][-1]
    assert (answered["route"], answered["status"]) == ("/v1/recommendations", 200)
    assert "zoe" not in json.dumps(log)


def takes_connections(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=20).close()
    except ConnectionError:
        return False
    return True


def test_slow_clients_hold_up_nobody_and_are_sent_away(place, tmp_path):
    (tmp_path / "settings.toml").write_text("body_timeout_s = 3\n")
    store = f"sqlite:///{tmp_path / 'events.db'}"
    with Server(place / "run", "--store", store, "--config", tmp_path / "settings.toml") as server:
        head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n["
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
        for connection in slow[:25]:
            connection.sendall(head)
        for connection in slow[25:]:
            connection.sendall(b"POST /v1/ev")
        with Client(server.url) as client:
            assert client.recommend("films", user="zoe", k=3).items
        slow[0].settimeout(60)
        assert slow[0].recv(65536).startswith(b"HTTP/1.1 408")
        for connection in slow:
            connection.close()


def received(connection):
    """Everything until the server closes."""
    connection.settimeout(60)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def drip(connection, text, is_over):
    """Send `text` byte by byte, then line breaks, until the other side has enough."""
    with contextlib.suppress(OSError):
        for byte in itertools.chain(text, itertools.repeat(10)):
            connection.sendall(bytes([byte]))
            if is_over.wait(0.05):
                return


def test_headers_that_come_byte_by_byte_are_cut_off_and_slow_down_nobody(place, tmp_path):
    (tmp_path / "settings.toml").write_text("header_timeout_s = 3\n")
    store = f"sqlite:///{tmp_path / 'events.db'}"
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * 10_000
    with Server(place / "run", "--store", store, "--config", tmp_path / "settings.toml") as server:
        address, is_over = ("127.0.0.1", server.port), threading.Event()
        texts = [head, b""]  # or line breaks alone, in which no request has begun
        slow, drips, begun = [], [], time.monotonic()
        for number in range(21):
            slow.append(socket.create_connection(address))
            if number == 20:  # a connection that is kept after an answer
                slow[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert slow[-1].recv(65536).startswith(b"HTTP/1.1 200")
            drips.append(threading.Thread(target=drip, args=(slow[-1], texts[number % 2], is_over)))
            drips[-1].start()
        silent = socket.create_connection(address)
        with Client(server.url) as client:
            while time.monotonic() < begun + 4:
                assert client.recommend("films", user="zoe", k=3).items
        for connection in slow:
            with contextlib.suppress(ConnectionResetError):  # what was sent after the end
                assert b"HTTP/1.1 408" in received(connection)
        assert received(silent) == b""
        assert time.monotonic() - begun < 60
        is_over.set()
        for thread in drips:
            thread.join()
        assert sum('"slow client"' in line for line in server.lines) == 21


@pytest.mark.slow
def test_workers_share_reloads_metrics_and_the_store(place, tmp_path):
    run = shutil.copytree(place / "run", tmp_path / "copy" / "run")
    shutil.copytree(place / "data", tmp_path / "copy" / "data")
    secret = add_key(tmp_path / "keys.toml", "ops", ("admin",))
    options = ("--store", f"sqlite:///{tmp_path / 'events.db'}", "--keys", tmp_path / "keys.toml")
    with Server(run, *options, workers=2) as server:
        answers, faults, is_over = [], [], threading.Event()

        def ask():
            while not is_over.is_set():
                with Client(server.url, secret) as client:  # a new connection each time, to meet both workers
                    try:
                        answers.append(client.recommend("films", user="u1", answer="cross").model_version)
                        client.send_event("click", user="u1", domain="films", item="f1")
                    except ServiceError as error:
                        faults.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        with Client(server.url, secret, timeout_s=60) as client:
            before = client.runs()[0].model_version
            new = client.reload("run", str(place / "other")).model_version
            wait_for(lambda: set(answers[-40:]) == {new} and len(answers) > 100)
            is_over.set()
            for thread in threads:
                thread.join()
        assert faults == []
        assert set(answers) == {before, new}
        request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read().decode()
        counted = re.search(r'syncrec_request_seconds_count\{route="/v1/recommendations",status="200"\} (\d+)', text)
        assert int(counted[1]) == len(answers)
        assert server.stop() == 0
        assert len(stored_ids(options[1])) == len(answers)
        assert len({json.loads(line)["process"] for line in server.lines if '"start"' in line}) == 2


def wait_for(condition, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(place, tmp_path):
    with Server(place / "run", "--store", f"sqlite:///{tmp_path / 'events.db'}", workers=2) as server:
        started = [json.loads(line)["process"] for line in server.lines if '"start"' in line]
        os.kill(started[0], signal.SIGKILL)
        with Client(server.url) as client:
            assert client.recommend("films", user="zoe", k=3).items
        wait_for(lambda: sum('"start"' in line for line in server.lines) >= 3)
