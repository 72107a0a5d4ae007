"""Beginning from the weights of an earlier run, on a dataset with other users and with new items.

What belongs to items is matched by (domain, id): an item keeps its row wherever it is numbered now, and an item that is
new keeps the fresh one; known are the items of the new training events and those that were known before. What belongs
to periods of time is matched by time. What else a model observes in its training events (buffers) is that of the new
ones. Everything else is copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.checkpoint import load_module
from syncrec.config import ModelConfig
from syncrec.data.dataset import Dataset
from syncrec.errors import CheckpointError
from syncrec.models.interface import SequentialModel
from syncrec.nn.embedding import TimeEmbedding
from syncrec.parallel import ShardedTable, together
from syncrec.runs import RunDirectory, TrainedModel

__all__ = ["EarlierRun"]

_Matches = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

_ITEMS = "embedding.items.weight"
_IS_KNOWN = "is_known"
_MAY_DIFFER = {"dropout", "item_start", "sharded_items", "unknown_items"}


@dataclass(frozen=True)
class EarlierRun:
    """A run to begin from, with its dataset.

    `trained` has not seen the validation events, most of which are those of the new dataset too; `refitted` is what a
    second fit made of them, if there was one, and only a second fit begins from it.
    """

    path: Path
    trained: TrainedModel
    dataset: Dataset
    refitted: TrainedModel | None = None

    @classmethod
    def open(cls, path: Path, dataset: Path | None = None) -> "EarlierRun":
        """The run in `path`; `dataset` if its own was moved.

        Raises:
            ArtifactError, CheckpointError: the run or its dataset is missing, damaged or unfinished.
        """
        directory, cpu = RunDirectory.open(path), torch.device("cpu")
        has_second = directory.config.training.refit != "none"
        refitted = directory.trained_model(cpu) if has_second else None
        trained = directory.trained_model(cpu, for_validation=True)
        return cls(path, trained, together(lambda: directory.dataset(dataset)), refitted)

    def check(self, config: ModelConfig, dataset: Dataset) -> None:
        """See that a model of `config` for `dataset` can begin from this run.

        Raises:
            CheckpointError: the network or the domains differ; the text names what, and both values.
        """
        old, new = self.trained.model.config.model_dump(), config.model_dump()
        differs = [f"model.{key} is {new[key]!r} (there {old[key]!r})" for key in new if new[key] != old[key]]
        differs = [text for text in differs if text.partition(" ")[0].removeprefix("model.") not in _MAY_DIFFER]
        if differs:
            raise CheckpointError(f"--warm-start {self.path}: the network is another one: {', '.join(differs)}")
        if dataset.domains != self.dataset.domains:
            raise CheckpointError(
                f"--warm-start {self.path}: was trained on the domains {', '.join(self.dataset.domains)}, the dataset "
                f"has {', '.join(dataset.domains)}; they must be the same"
            )

    def num_known_items(self, dataset: Dataset) -> int:
        """How many items of `dataset` it has rows for."""
        return int(np.count_nonzero(_matches(self.dataset, dataset)[0] < dataset.num_items))

    def give_weights(self, model: SequentialModel, dataset: Dataset, *, is_second: bool = False) -> None:
        """Let `model`, fresh and built for `dataset`, begin from this run; by all processes together.

        `is_second`: for a second fit, which is trained on validation events itself.
        """
        source = (self.refitted if is_second and self.refitted else self.trained).model
        old = {name: tensor.detach() for name, tensor in source.state_dict().items() if name != _IS_KNOWN}
        fresh = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        observed = {name: fresh[name] for name, _ in model.named_buffers() if name in fresh}
        matches = _matches(self.dataset, dataset)
        if _IS_KNOWN in fresh:
            observed[_IS_KNOWN] = self._known_items(source, fresh[_IS_KNOWN], matches)
        weights = {**old, **observed, _ITEMS: self._item_rows(source, model, fresh[_ITEMS], matches)}
        for name in _time_embeddings(model):
            edges, periods = f"{name}.edges", f"{name}.periods.weight"
            weights[periods] = _periods(old[periods], old[edges], fresh[edges])
        load_module(model, weights, str(self.path))

    def _known_items(self, source: SequentialModel, fresh: Tensor, matches: _Matches) -> Tensor:
        """The items that are known by the new training events, `fresh` [I], or were to `source`."""
        was_known = source.known_items
        if was_known is None:
            was_known = np.asarray(self.dataset.item_counts) > 0
        here, there = matches
        items = there < self.dataset.num_items  # the rest are start tokens
        known = fresh.clone()
        known[torch.from_numpy(here[items])] |= torch.from_numpy(was_known[there[items]]).to(fresh.device)
        return known

    @torch.no_grad()
    def _item_rows(self, source: SequentialModel, model: SequentialModel, fresh: Tensor, matches: _Matches) -> Tensor:
        """What this process holds of the new table: the rows that `source` has of items and start tokens, others fresh.

        Either table may be shared out over processes, so the rows are asked of their owners.
        """
        table = model.embedding.items
        start = table.start if isinstance(table, ShardedTable) else 0
        here, there = matches
        is_held = (here >= start) & (here < start + len(fresh))
        here, there = here[is_held], there[is_held]
        rows = fresh.clone()
        rows[torch.from_numpy(here - start)] = source.embedding.items(torch.from_numpy(there))
        return rows


def _matches(old: Dataset, new: Dataset) -> _Matches:
    """Rows of the table for `new` that the one for `old` has too, and their rows there.

    They are of items that both have, and of start tokens, which follow on the items.
    """
    pairs = [
        (first + place, int(old.item_offsets[number]) + found)
        for number, (table, first) in enumerate(zip(new.item_tables, new.item_offsets.tolist(), strict=False))
        for place in range(len(table))
        if (found := old.item_tables[number].find(table[place])) is not None
    ]
    pairs += [(new.num_items + token, old.num_items + token) for token in range(new.num_domains + 1)]
    both = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _time_embeddings(model: SequentialModel) -> Iterator[str]:
    return (name for name, part in model.named_modules() if isinstance(part, TimeEmbedding))


def _periods(old: Tensor, old_edges: Tensor, edges: Tensor) -> Tensor:
    """A row for each new period: that of the old one in which the new one begins; row 0, of start tokens, stays."""
    begins = torch.cat([edges[:1] - 1, edges])
    return torch.cat([old[:1], old[1 + torch.bucketize(begins, old_edges, right=True)]])
