"""What work costs on a machine: seconds a floating point operation, a byte and a call, for each part by itself.

A straight line in three quantities that differ by shape: at dim 32 a product is all calls and bytes, at dim 512 all
arithmetic. Lines are fitted to measurements, none of them below zero, so that more work never costs less.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import Field
from scipy.optimize import nnls

from syncrec.config import Section
from syncrec.planning.work import Work

__all__ = ["LAWS", "Law", "fit_law", "relative_errors", "seconds_by_law"]

LAWS = (
    "packing",
    "slots",
    "encoder trained",
    "encoder read",
    "attention, short rows trained",
    "attention, short rows read",
    "attention, long rows trained",
    "attention, long rows read",
    "gates",
    "towers",
    "loss full",
    "loss sampled",
    "loss bce",
    "anchors",
    "item table, whole",
    "item table, dense",
    "item table, rows",
    "optimizer",
    "step",
    "ranking",
)
"""Every law that a machine must have."""


class Law(Section):
    """seconds = flops x per_flop + bytes x per_byte + calls x per_call."""

    per_flop: float = Field(0.0, ge=0, description="seconds")
    per_byte: float = Field(0.0, ge=0, description="seconds")
    per_call: float = Field(0.0, ge=0, description="seconds")

    def seconds(self, work: Work) -> float:
        """What `work` takes."""
        return work.flops * self.per_flop + work.bytes * self.per_byte + work.calls * self.per_call


def fit_law(measured: Sequence[tuple[Work, float]]) -> Law:
    """The law whose relative errors on (work, seconds) have the least squares, no coefficient below zero."""
    seconds = np.array([taken for _, taken in measured])
    works = np.array([[work.flops, work.bytes, work.calls] for work, _ in measured])
    scale = np.maximum(works.max(0), 1e-300)
    found, _ = nnls(works / scale / seconds[:, None], np.ones(len(seconds)))
    per_flop, per_byte, per_call = (float(value) for value in found / scale)
    return Law(per_flop=per_flop, per_byte=per_byte, per_call=per_call)


def relative_errors(law: Law, measured: Iterable[tuple[Work, float]]) -> list[float]:
    """(predicted - measured) / measured of each."""
    return [law.seconds(work) / seconds - 1 for work, seconds in measured]


def seconds_by_law(work: Mapping[str, Work], laws: Mapping[str, Law]) -> dict[str, float]:
    """Seconds of each piece of `work`."""
    return {name: laws[name].seconds(piece) for name, piece in work.items()}
