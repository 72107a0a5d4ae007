"""The store in SQLite and PostgreSQL: every promise is asked of both."""

import sqlite3
import threading

import pytest
import sqlalchemy

from syncrec.errors import ConfigError, StoreError, StoreRefusalError
from syncrec.serving.store.engine import write_engine
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event, HistoryEvent


def click(number, user="anna", item="b1", time=100, **more):
    return Event(f"e{number}", more.pop("kind", "click"), user, more.pop("domain", "books"), item, time, **more)


def items_of(store, user, limit=50):
    return [event.item for event in store.histories([user], limit)[0]]


def test_an_event_comes_back_as_it_was(store):
    full = Event("e1", "impression", "anna", "books", "b1", 1_700_000_000, "request-1", "new", 3, 0.25)
    plain = click(2)
    assert store.add([full, plain]) == {"e1", "e2"}
    assert list(store.rows(None)) == [full, plain]
    assert store.count() == 2


def test_ids_of_any_letters_are_kept(store):
    names = ["Ünï-cødé ✓", "'; DROP TABLE events; --", "%s ? :user", "\U0001f600", 'a\\b"c', " "]
    store.add([click(i, user=name, item=name) for i, name in enumerate(names)])
    for name in names:
        assert items_of(store, name) == [name]


def test_an_id_counts_once_however_often_it_is_sent(store):
    assert store.add([click(1), click(1, item="b2"), click(2)]) == {"e1", "e2"}
    assert store.add([click(2, item="b3"), click(3)]) == {"e3"}
    assert [event.item for event in store.rows(None)] == ["b1", "b1", "b1"]


def test_nothing_to_add_is_fine(store):
    assert store.add([]) == set()
    assert store.count() == 0


def test_a_history_is_in_order_of_time_then_of_arrival(store):
    store.add([click(1, item="late", time=300), click(2, item="first", time=100)])
    store.add([click(3, item="second", time=100), click(4, item="negative", time=-5)])
    assert items_of(store, "anna") == ["negative", "first", "second", "late"]


def test_a_history_holds_its_last_events(store):
    store.add([click(i, item=f"b{i}", time=i) for i in range(10)])
    assert items_of(store, "anna", limit=3) == ["b7", "b8", "b9"]


def test_clicks_and_purchases_are_history_and_nothing_else(store):
    kinds = ["impression", "click", "view", "purchase"]
    store.add([click(i, kind=kind, item=kind) for i, kind in enumerate(kinds)])
    assert store.histories(["anna"], 9)[0] == [
        HistoryEvent("books", "click", 100, "click"),
        HistoryEvent("books", "purchase", 100, "purchase"),
    ]
    assert [event.kind for event in store.rows(("view",))] == ["view"]


def test_a_history_is_found_by_the_index_over_the_kinds_of_history(tmp_path):
    """Kinds that are bound, not written out, make it walk through the whole table."""
    store = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    statements = []
    sqlalchemy.event.listen(store._reader, "before_cursor_execute", lambda *given: statements.append(given[2:4]))
    store.seen("anna", "books")
    statements.append((store._histories._compiled.string, ("anna", 9, 0)))
    with store._reader.connect() as connection:
        for statement, values in list(statements):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert "USING INDEX events_history" in str(plan)
    store.close()


def test_histories_are_found_after_the_quick_way_lost_its_connections(store):
    store.add([click(1)])
    connection = store._reader.raw_connection()
    connection.driver_connection.close()
    connection.close()
    assert [items_of(store, "anna") for _ in range(3)] == [["b1"]] * 3


def test_histories_of_many_users_come_in_the_order_asked(store):
    store.add([click(1, user="anna"), click(2, user="ben", item="b2")])
    found = store.histories(["ben", "nobody", "anna"], 5)
    assert [[event.item for event in history] for history in found] == [["b2"], [], ["b1"]]


def test_seen_items_are_all_of_a_domain(store):
    store.add([click(1), click(2), click(3, item="b2", kind="view"), click(4, item="f1", domain="films")])
    store.add([click(i, item=f"b{i}") for i in range(100, 200)])
    assert store.seen("anna", "books") == {"b1", *(f"b{i}" for i in range(100, 200))}
    assert store.seen("anna", "films") == {"f1"}
    assert store.seen("ben", "books") == set()


def test_an_event_that_the_database_refuses_leaves_nothing_of_its_group(store):
    with pytest.raises(StoreRefusalError, match="refuses what it was given"):
        store.add([click(1), click(2, kind=None)])
    assert store.count() == 0
    assert store.add([click(1)]) == {"e1"}


def test_a_store_opened_again_has_everything(store, address):
    store.add([click(1)])
    again = EventStore(address)
    assert again.add([click(1), click(2)]) == {"e2"}
    assert store.count() == 2
    again.close()


def test_many_rows_are_read_in_pieces_while_others_write(store, monkeypatch):
    monkeypatch.setattr("syncrec.serving.store.events._EXPORT_ROWS", 3)
    store.add([click(i, time=-i) for i in range(7)])
    rows = store.rows(None)
    first = next(rows)
    store.add([click(8)])
    assert [first.event_id, *(row.event_id for row in rows)] == [f"e{i}" for i in [*range(7), 8]]


def test_several_writers_with_the_same_ids_store_each_once(store, address, monkeypatch):
    """The ids come in different orders, which in PostgreSQL is a deadlock now and then."""
    monkeypatch.setattr("syncrec.serving.store.engine._BUSY_TIMEOUT_S", 60)
    stored, lock = [], threading.Lock()

    def write(step):
        own = EventStore(address)
        for group in range(10):
            ids = [group * 20 + i for i in range(20)][::step]
            found = own.add([click(i) for i in ids])
            with lock:
                stored.extend(found)
        own.close()

    threads = [threading.Thread(target=write, args=(step,)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stored) == sorted(f"e{i}" for i in range(200))
    assert store.count() == 200


def test_a_store_of_another_version_is_refused(store, address):
    engine = write_engine(store.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE store_info SET value = '9'")
    engine.dispose()
    with pytest.raises(StoreError, match="is a store of version 9, this syncrec keeps version 1"):
        EventStore(address)


# One kind of database alone


def test_sqlite_acknowledges_what_the_disk_has(tmp_path):
    store = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    with store._writer.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]
    store.close()


def test_another_writer_that_holds_sqlite_for_too_long_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("syncrec.serving.store.engine._BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "events.db"
    store = EventStore(f"sqlite:///{path}")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked; see that the database runs"):
            store.add([click(1)])
        assert store.count() == 0
        other.execute("ROLLBACK")
        assert store.add([click(1)]) == {"e1"}
    store.close()


def test_a_damaged_sqlite_file_is_one_line(tmp_path):
    (tmp_path / "events.db").write_text("no database at all, but a text that is long enough to have a header" * 20)
    with pytest.raises(StoreError, match=r"events\.db: file is not a database"):
        EventStore(f"sqlite:///{tmp_path / 'events.db'}")


def test_postgresql_that_was_restarted_is_found_again(empty_postgres):
    store = EventStore(empty_postgres.url)
    store.add([click("before-restart")])
    empty_postgres.stop()
    with pytest.raises(StoreError, match="see that the database runs"):
        store.count()
    empty_postgres.start()
    assert "before-restart" in {event.event_id[1:] for event in store.rows(None)}
    assert store.add([click("before-restart"), click("after-restart")]) == {"eafter-restart"}
    store.close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("events.db", "--store is no address of a database: 'events.db'; give sqlite:///FILE or"),
        ("mysql://root@localhost/x", "--store knows sqlite and postgresql, got 'mysql'"),
        ("sqlite://", "--store needs a file, since events must outlive the process, got 'sqlite://'"),
        ("sqlite:///:memory:", "--store needs a file"),
    ],
)
def test_an_address_that_is_none_is_refused(address, message):
    with pytest.raises(ConfigError, match=message):
        EventStore(address)


@pytest.mark.parametrize(
    "address", ["sqlite:////nowhere/at/all.db", "postgresql://anna:secret@127.0.0.1:1/x"], ids=["sqlite", "postgresql"]
)
def test_a_store_that_is_not_there_is_one_line_without_the_password(address):
    with pytest.raises(StoreError) as caught:
        EventStore(address)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
