"""Questions of a batch asked anew after histories from which whole domains are left out."""

import torch
from torch import Tensor

from syncrec.models.batch import TensorBatch, TensorView

__all__ = ["domains_before", "restrict"]


def domains_before(batch: TensorBatch, targets: Tensor, num_domains: int) -> Tensor:
    """Which domains have events in the hybrid history before each of the `targets` [A], bool [A, D]."""
    readable, domains = _histories(batch, targets)
    counts = domains.new_zeros(len(targets), num_domains + 1).scatter_add(1, domains, readable.long())
    return counts[:, :num_domains] > 0


def restrict(batch: TensorBatch, targets: Tensor, kept: Tensor) -> TensorBatch:
    """A batch of the cross view alone that asks `targets` again, each after the events of the domains it keeps.

    It is what packing would make of histories without the other events: they have no slots, positions count what is
    left, and the question is put at the last slot that is left. A history is a row.

    Args:
        batch: with a cross view.
        targets: int64 [A], ascending; one may come several times.
        kept: bool [A, D].
    """
    view, (readable, domains) = batch.cross, _histories(batch, targets)
    has_start = torch.cat([kept, kept.new_ones(len(kept), 1)], 1)
    is_kept = readable & has_start.gather(1, domains)
    counts = is_kept.sum(1)
    longest = int(counts.max())
    order = is_kept.long().argsort(dim=1, descending=True, stable=True)[:, :longest]
    places, numbers = torch.arange(longest, device=order.device), torch.arange(len(targets), device=order.device)
    is_used = places < counts[:, None]
    rows = batch.cross_slots[targets] // view.tokens.shape[1]

    def taken(values: Tensor) -> Tensor:
        return values[rows].gather(1, order)

    cross = TensorView(
        tokens=taken(view.tokens),
        domains=taken(view.domains),
        positions=torch.where(is_used, places, 0),
        segments=torch.where(is_used, numbers[:, None], -1),
        times=taken(view.times),
    )
    return _asking(batch, targets, cross, numbers * longest + counts - 1)


def _histories(batch: TensorBatch, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of the row that holds each target's history: whether the target may read a slot, and its domain, [A, length]."""
    length = batch.cross.tokens.shape[1]
    slots = batch.cross_slots[targets]
    rows, places = slots // length, slots % length
    return batch.cross.mask[rows, 0, places] == 0, batch.cross.domains[rows]


def _asking(batch: TensorBatch, targets: Tensor, cross: TensorView, slots: Tensor) -> TensorBatch:
    domains, nothing = batch.domains[targets], batch.domains.new_zeros(0, 1)
    return TensorBatch(
        cross=cross,
        single=TensorView(nothing, nothing, nothing, nothing, nothing),
        targets=batch.targets[targets],
        domains=domains,
        users=batch.users[targets],
        cross_slots=slots,
        single_slots=torch.zeros_like(slots),
        domain_counts=torch.bincount(domains, minlength=len(batch.domain_counts)),
        rows=batch.rows.take(targets),
        only_asked=True,
    )
