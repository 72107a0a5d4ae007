"""The page: what it shows, and that nothing from outside becomes part of it."""

import re

import pytest

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def test_the_form_and_the_facts_come_without_a_question(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "syncrec, version run@" in page.text
    assert "sasrec, version other@" in page.text
    assert "<form" in page.text
    assert "rank" not in page.text


def test_the_answers_of_every_run_stand_side_by_side_in_each_domain(client):
    page = client.get("/", params={"user": "u3"}).text
    assert re.findall(r"<h2>(\w+)</h2>", page)[:3] == ["books", "films", "tools"]
    titles = ["run: fused", "run: cross", "run: single", "other: fused", "other: cross"]
    assert re.findall(r"<th>([\w: ]+)</th>", page)[1:6] == titles
    wanted = client.post("/v1/recommendations", json={"domain": "films", "user": "u3"}).json()["items"]
    films = page.split("<h2>films</h2>")[1].split("</table>")[0]
    shown = re.findall(r'data-item="(\w+)"', films)[::5]
    assert shown == [entry["item"] for entry in wanted]


def test_a_history_is_typed_one_event_a_line_or_with_commas(client):
    page = client.get("/", params={"history": "books:b1\nfilms:f2, tools:t3"}).text
    assert re.findall(r"<span>(.*?)</span>", page) == ["books:b1", "films:f2", "tools:t3"]
    assert 'data-item="' in page


@pytest.mark.parametrize("history", ["books", "books:", ":b1", EVIL])
def test_a_history_that_is_none_is_told(client, history):
    page = client.get("/", params={"history": history})
    assert page.status_code == 200
    assert "a history is domain:item, one a line" in page.text
    assert 'data-item="' not in page.text


def test_everything_from_outside_is_escaped(client):
    event = {"kind": "click", "user": EVIL, "domain": EVIL, "item": EVIL}
    assert client.post("/v1/events", json=event).json()["stored"] == 1
    for question in ({"user": EVIL}, {"history": f"{EVIL}:{EVIL}"}, {"user": EVIL, "history": EVIL}):
        page = client.get("/", params=question)
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text


def test_only_the_pages_own_script_may_run_and_nothing_is_loaded(client):
    first, second = client.get("/"), client.get("/")
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert policy.startswith("default-src 'none'")
    assert f'<script nonce="{nonce}">' in first.text
    assert nonce not in second.text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", first.text)
