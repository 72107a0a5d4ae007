import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from syncrec.config import load_config
from syncrec.errors import ConfigError
from syncrec.training.row_updates import RowAdamW, clip_gradients

SETTINGS = {"lr": 0.1, "weight_decay": 0.3, "betas": (0.8, 0.9)}


def table(rows=5, dim=3, seed=0):
    return nn.Parameter(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)))


def use(parameter, rows, seed, *, sparse):
    """A gradient on `rows`, some of them used twice."""
    wanted = torch.randn(len(rows), parameter.shape[1], generator=torch.Generator().manual_seed(seed))
    parameter.grad = None
    (embedding(torch.tensor(rows), parameter, sparse=sparse) - wanted).square().sum().backward()


def test_with_every_row_in_use_it_is_adamw():
    rows, dense = table(), table()
    ours, theirs = RowAdamW([rows], **SETTINGS), torch.optim.AdamW([dense], **SETTINGS)
    for step in range(6):
        use(rows, [0, 1, 2, 3, 4, 2], step, sparse=True)
        use(dense, [0, 1, 2, 3, 4, 2], step, sparse=False)
        assert rows.grad.is_sparse
        ours.step()
        theirs.step()
        torch.testing.assert_close(rows, dense, rtol=1e-6, atol=1e-6)


def test_rows_that_were_not_used_keep_value_and_moments():
    rows = table()
    optimizer = RowAdamW([rows], **SETTINGS)
    use(rows, [0, 1, 2, 3, 4], 0, sparse=True)
    optimizer.step()
    value, state = rows.detach().clone(), copy.deepcopy(optimizer.state[rows])
    use(rows, [1, 3, 3], 1, sparse=True)
    optimizer.step()
    moved = [row for row in range(5) if not torch.equal(rows[row], value[row])]
    assert moved == [1, 3]
    for name in ("exp_avg", "exp_avg_sq"):
        kept = optimizer.state[rows][name]
        assert [row for row in range(5) if not torch.equal(kept[row], state[name][row])] == [1, 3]


def test_dense_parameters_beside_a_table_are_updated_as_ever():
    rows, ours, theirs = table(), table(seed=1), table(seed=1)
    both, alone = RowAdamW([rows, ours], **SETTINGS), torch.optim.AdamW([theirs], **SETTINGS)
    for step in range(3):
        use(rows, [0, 2], step, sparse=True)
        use(ours, [1, 2], step, sparse=False)
        use(theirs, [1, 2], step, sparse=False)
        both.step()
        alone.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("max_norm", [0.1, 1e6])
@pytest.mark.parametrize("sparse", [False, True])
def test_clipping_is_that_of_torch_for_sparse_gradients_too(sparse, max_norm):
    mine, other = [table(), table(seed=1)], [table(), table(seed=1)]
    for seed, (a, b) in enumerate(zip(mine, other, strict=True)):
        use(a, [0, 1, 1], seed, sparse=sparse)
        use(b, [0, 1, 1], seed, sparse=False)
    norm = clip_gradients(mine, max_norm)
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(other, max_norm))
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a.grad.to_dense(), b.grad)


def test_parameters_without_a_gradient_do_not_count():
    used, unused = table(), table(seed=1)
    use(used, [0], 5, sparse=True)
    assert float(clip_gradients([used, unused], 1.0)) > 0
    assert unused.grad is None


@pytest.mark.parametrize(
    ("settings", "num_items", "expected"),
    [
        (["loss.kind=sampled"], 99_999, False),
        (["loss.kind=sampled"], 100_000, True),
        (["loss.kind=full"], 1_000_000, False),
        (["loss.kind=bce", "training.item_updates=rows"], 10, True),
        (["loss.kind=sampled", "training.item_updates=dense"], 1_000_000, False),
    ],
)
def test_which_catalogues_are_updated_by_rows(settings, num_items, expected):
    assert load_config(None, settings).updates_rows(num_items) is expected


def test_rows_with_the_full_softmax_are_refused():
    with pytest.raises(ConfigError, match=r"item_updates = rows makes no sense with loss.kind = full"):
        load_config(None, ["training.item_updates=rows", "loss.kind=full"])


def test_a_run_with_row_updates_resumes_exactly(tiny_dataset_path, tmp_path):
    from syncrec.checkpoint import load_checkpoint
    from syncrec.pipeline import train
    from syncrec.training.loop import Trainer

    settings = ["model.dim=8", "loss.kind=sampled", "loss.num_negatives=16", "training.item_updates=rows"]
    settings += ["training.batch_size=16", "training.epochs=3", "training.threads=1"]
    train(tiny_dataset_path, tmp_path / "whole", settings=settings, show_progress=False)

    def stop(self):
        save(self)
        if self.state.epoch == 1:
            raise InterruptedError

    save = Trainer._save_last
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_save_last", stop)
        with pytest.raises(InterruptedError):
            train(tiny_dataset_path, tmp_path / "parts", settings=settings, show_progress=False)
    train(tiny_dataset_path, tmp_path / "parts", resume=True, show_progress=False)
    whole, parts = (load_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("whole", "parts"))
    assert all(torch.equal(whole[g][n], parts[g][n]) for g in whole for n in whole[g])
    assert whole.keys() == parts.keys()
