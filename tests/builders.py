"""Small catalogues, batches and models for tests of everything between packing and training."""

import numpy as np
import torch

from syncrec.config import Config, load_config
from syncrec.data.catalogue import NUM_PERIODS, Catalogue
from syncrec.data.dataset import DatasetArrays
from syncrec.data.packing import BatchPacker
from syncrec.losses.next_item import NegativeSampler, NextItemLoss
from syncrec.losses.objective import JointObjective
from syncrec.models.batch import TensorBatch
from syncrec.models.registry import build_model

CPU = torch.device("cpu")
FIRST_TIME = 1_500_000_000
DAY_S = 86_400
DOMAINS = ("Books", "Food", "Tools")
DOMAIN_SIZES = (9, 1, 14)
NUM_USERS = 60
SMALL_MODEL = {
    "dim": 8,
    "num_heads": 2,
    "item_similarity": True,
    "num_layers": 2,
    "num_experts": 3,
    "num_cross_experts": 1,
    "max_length": 6,
    "dropout": 0.0,
}


def catalogue_of(*sizes):
    """Domains of these sizes; the periods are days, so that the events of `times_of` lie in different ones."""
    edges = tuple(FIRST_TIME + DAY_S * day for day in range(1, NUM_PERIODS))
    return Catalogue(tuple(int(o) for o in np.cumsum([0, *sizes])), edges)


def times_of(history):
    """Times of the events of one history: gaps of 0, 1, 2, ... days, and some minutes."""
    return [FIRST_TIME + DAY_S * i * (i - 1) // 2 + 100 * i for i in range(len(history))]


def small_config(**sections) -> Config:
    """A small network; `model={"dim": 16}` changes keys of a section."""
    sections["model"] = {**SMALL_MODEL, **sections.get("model", {})}
    return load_config(extra=sections)


def small_model(catalogue, seed=0, **model):
    """A model in training mode."""
    torch.manual_seed(seed)
    return build_model(catalogue, small_config(model=model).model)


def flat(histories):
    """(events one after another, lengths)."""
    lengths = np.asarray([len(h) for h in histories], dtype=np.int64)
    return np.asarray([e for h in histories for e in h], dtype=np.int64), lengths


def training_batch(catalogue, histories, max_length, times_of=times_of):
    """The packed batch and its tensors; histories are cut to their last T + 1 events, as in training."""
    cut = [h[-max_length - 1 :] for h in histories]
    times, _ = flat([times_of(h) for h in cut])
    packed = BatchPacker(catalogue, max_length).training_batch(*flat(cut), times)
    return packed, TensorBatch.of(packed, CPU)


def query_batch(catalogue, histories, domains, max_length, times=None):
    """One question a history, cut to its last T events; `times` of the histories, or those of `times_of`."""
    cut = [h[len(h) - min(len(h), max_length) :] for h in histories]
    times = [times_of(h) for h in cut] if times is None else times
    known = [t[len(t) - len(h) :] for t, h in zip(times, cut, strict=True)]
    asked = np.asarray(domains, dtype=np.int64)
    packed = BatchPacker(catalogue, max_length).query_batch(*flat(cut), asked, flat(known)[0])
    return packed, TensorBatch.of(packed, CPU)


def in_given_order(packed, values):
    """Rows of `values`, one a target of `packed`, in the order in which events or questions were handed in."""
    out = torch.empty_like(values)
    out[torch.as_tensor(packed.order)] = values
    return out


def objective_for(config, catalogue, seed=0):
    """The objective with a uniform sampler."""
    torch.manual_seed(seed)
    sampler = NegativeSampler(catalogue.offsets, np.zeros(catalogue.num_items, dtype=np.int64), config.loss.negatives)
    return JointObjective(config, catalogue, NextItemLoss(config.loss, catalogue.offsets, sampler))


def shake(module, seed=1, size=0.3):
    """Add noise to every parameter, so that no zero or one of the initialisation hides a fault."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def random_histories(catalogue, lengths, seed=0):
    """Histories of random items."""
    random = np.random.default_rng(seed)
    return [random.integers(0, catalogue.num_items, n).tolist() for n in lengths]


def tiny_arrays(sizes=DOMAIN_SIZES):
    """The dataset of the fixture `tiny_dataset`; or one with domains of other sizes."""
    random = np.random.default_rng(7)
    starts = np.cumsum([0, *sizes])
    lengths = random.integers(1, 15, NUM_USERS)
    histories = [random_walk(random, length, starts) for length in lengths]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    train_end = np.maximum(offsets[:-1], offsets[1:] - 2)
    trained = [e for h, s, t in zip(histories, offsets[:-1], train_end, strict=True) for e in h[: t - s]]
    return DatasetArrays(
        user_offsets=offsets,
        items=np.concatenate(histories).astype(np.int32),
        timestamps=np.arange(offsets[-1], dtype=np.int64),
        train_end=train_end,
        validation_end=np.maximum(offsets[:-1], offsets[1:] - 1),
        item_counts=np.bincount(trained, minlength=starts[-1]).astype(np.int64),
        users=[f"u{u:03d}" for u in range(NUM_USERS)],
        items_of_domain=[[f"{name[0]}{i:02d}" for i in range(n)] for name, n in zip(DOMAINS, sizes, strict=True)],
        domains=DOMAINS,
    )


def random_walk(random, length, starts):
    """A history in which the next item of a domain is most often the one after the last."""
    sizes = np.diff(starts)
    place = [0] * len(sizes)
    events = []
    for domain in random.integers(0, len(sizes), length):
        step = 1 if random.random() < 0.8 else random.integers(0, sizes[domain])
        place[domain] = (place[domain] + step) % sizes[domain]
        events.append(starts[domain] + place[domain])
    return np.asarray(events, dtype=np.int64)
