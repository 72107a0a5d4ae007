import pytest
import torch
from torch import nn

from syncrec.checkpoint import (
    load_checkpoint,
    load_module,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
)
from syncrec.errors import CheckpointError

STATE = {"epoch": 3, "value": 0.1 + 0.2, "sums": {"a": [1.5]}, "best": None}


def model_of(seed, size=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(size, 2), nn.BatchNorm1d(2))


def step(model, optimizer, seed):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "last.safetensors"


def test_tensors_and_state_come_back_bit_for_bit(path):
    tensors = {"model": model_of(0).state_dict(), "other": {"a/b": torch.tensor([0.1, float("inf")])}}
    save_checkpoint(path, tensors, STATE)
    found = load_checkpoint(path)
    assert found.state == STATE
    assert {group: set(entries) for group, entries in found.tensors.items()} == {
        group: set(entries) for group, entries in tensors.items()
    }
    for group, entries in tensors.items():
        for name, tensor in entries.items():
            assert torch.equal(found.tensors[group][name], tensor)
            assert found.tensors[group][name].dtype == tensor.dtype


def test_transposed_tensors_and_views_are_saved_as_they_look(path):
    base = torch.arange(6.0).view(2, 3)
    save_checkpoint(path, {"model": {"turned": base.T, "part": base[:, 1]}}, {})
    found = load_checkpoint(path).tensors["model"]
    assert torch.equal(found["turned"], base.T)
    assert torch.equal(found["part"], base[:, 1])


def test_equal_state_gives_equal_bytes(path):
    contents = set()
    for _ in range(8):
        save_checkpoint(path, {"model": model_of(0).state_dict(), "more": {"a": torch.ones(2)}}, STATE)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_a_failed_save_keeps_the_old_file(path):
    save_checkpoint(path, {}, STATE)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(path, {}, {"value": float("nan")})
    assert load_checkpoint(path).state == STATE
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_optimizer_continues_as_if_never_saved(path):
    first, second = model_of(0), model_of(1)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.1, fused=True) for m in (first, second)]
    step(first, optimizers[0], 0)
    save_checkpoint(path, {"model": first.state_dict(), "optimizer": optimizer_tensors(optimizers[0])}, {})
    step(first, optimizers[0], 1)
    found = load_checkpoint(path)
    load_module(second, found.tensors["model"], "test")
    load_optimizer(optimizers[1], found.tensors["optimizer"])
    step(second, optimizers[1], 1)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_hyperparameters_of_the_optimizer_stay_as_they_are():
    model = model_of(0)
    saved = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, saved, 0)
    fresh = torch.optim.AdamW(model.parameters(), lr=0.5, weight_decay=0.3)
    load_optimizer(fresh, optimizer_tensors(saved))
    assert (fresh.param_groups[0]["lr"], fresh.param_groups[0]["weight_decay"]) == (0.5, 0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), r"here: the checkpoint lacks '0\.bias' \(2,\)"),
        (
            lambda s: s.update({"0.weight": torch.zeros(2, 7)}),
            r"here: '0\.weight' is saved as \(2, 7\), expected \(2, 3\)",
        ),
        (lambda s: s.update({"9.weight": torch.zeros(1)}), r"here: the checkpoint holds '9\.weight', which the model"),
    ],
    ids=["missing", "shape", "unknown"],
)
def test_a_checkpoint_of_another_model_is_refused_by_field(change, message):
    model = model_of(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    saved = dict(model_of(1).state_dict())
    change(saved)
    with pytest.raises(CheckpointError, match=message):
        load_module(model, saved, "here")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_a_missing_file_is_refused(path):
    with pytest.raises(CheckpointError, match="no such checkpoint; train the run first"):
        load_checkpoint(path)


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_a_cut_off_file_is_refused(path, size):
    save_checkpoint(path, {"model": {"a": torch.zeros(4)}}, STATE)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        load_checkpoint(path)


def test_a_file_of_another_format_is_refused(path):
    from safetensors.torch import save_file

    path.parent.mkdir()
    save_file({"a": torch.zeros(1)}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="format is None, expected 'syncrec-checkpoint-1'"):
        load_checkpoint(path)


def test_the_same_state_gives_the_same_bytes(path):
    tensors = {"model": {"b": torch.ones(3), "a": torch.zeros(2)}, "objective": {"c": torch.ones(1)}}
    save_checkpoint(path, tensors, STATE)
    first = path.read_bytes()
    save_checkpoint(path, tensors, STATE)
    assert path.read_bytes() == first


def test_optimizer_state_of_another_model_is_refused(path):
    small, large = model_of(0), model_of(0, size=4)
    optimizer = torch.optim.AdamW(small.parameters())
    step(small, optimizer, 0)
    with pytest.raises(CheckpointError, match=r"'0/exp_avg' is saved as \(2, 3\), expected \(2, 4\)"):
        load_optimizer(torch.optim.AdamW(large.parameters()), optimizer_tensors(optimizer))
