import pytest
from plans import workload

from syncrec.planning.communication import Exchange, all_reduce_bytes, exchange_seconds, exchanges
from syncrec.planning.machine import Network
from syncrec.planning.work import num_dense_parameters, rows_touched, touched_entries


def by_name(plan, *, is_sharded):
    return {exchange.name: exchange for exchange in exchanges(plan, is_sharded=is_sharded)}


def test_one_process_tells_nobody_anything():
    assert exchanges(workload(), is_sharded=False) == []


def test_a_ring_sends_nearly_twice_the_size():
    assert all_reduce_bytes(100, 1) == 0
    assert all_reduce_bytes(100, 2) == 100
    assert all_reduce_bytes(100, 4) == 150


def test_dense_gradients_and_the_whole_table_go_round_a_ring():
    plan = workload("model.dim=16", items=9000, processes=4)
    found = by_name(plan, is_sharded=False)
    dense = found["dense gradients, all-reduce"]
    assert dense.bytes == 1.5 * 4 * num_dense_parameters(plan.config, 3)
    assert dense.messages == 6
    assert found["gradient of the item table, all-reduce"].bytes == 1.5 * 4 * 9000 * 16


def test_rows_alone_go_to_all_others():
    plan = workload("model.dim=16", "loss.kind=sampled", items=200_000, processes=4)
    rows = rows_touched(touched_entries(plan.step, plan.config, 3), 200_000)
    found = by_name(plan, is_sharded=False)
    assert found["gradients of rows, all-gather"].bytes == pytest.approx(3 * rows * (16 * 4 + 8))
    assert len(found) == 2


def test_shards_exchange_vectors_and_the_full_softmax_queries_too():
    sampled = workload("model.dim=16", "loss.kind=sampled", items=200_000, processes=4)
    rows = rows_touched(touched_entries(sampled.step, sampled.config, 3), 200_000)
    found = by_name(sampled, is_sharded=True)
    assert found["vectors of rows, all-to-all"].bytes == pytest.approx(0.75 * rows * 16 * 4)
    assert found["ids of rows, all-to-all"].bytes == pytest.approx(0.75 * rows * 8)
    assert "queries to all shards and back" not in found
    full = workload("model.dim=16", processes=4)
    queries = by_name(full, is_sharded=True)["queries to all shards and back"]
    assert queries.bytes == pytest.approx(2 * 3 * 2 * full.step.targets * 17 * 4)


def test_time_is_latency_and_bytes_over_the_link():
    assert exchange_seconds(Exchange("x", 5e8, 6), Network(latency_s=1e-3, bytes_per_s=1e9)) == pytest.approx(0.506)
