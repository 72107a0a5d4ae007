"""`syncrec doctor`: what is installed, what the machine offers, and whether the main job runs on a tiny log."""

import platform
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from syncrec.data.simulation import simulate_log
from syncrec.errors import SyncrecError
from syncrec.pipeline import prepare, train
from syncrec.training.device import choose_device, choose_precision, use_threads

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["examine"]

_PACKAGES = ("syncrec", "torch", "numpy", "scipy", "polars", "safetensors", "pydantic", "cyclopts", "rich")
_OPTIONAL = ("tensorboard", "mlflow-skinny")
_TINY = ("training.epochs=1", "model.dim=16", "loss.kind=full", "training.warmup_steps=1")


def examine(console: "Console") -> bool:
    """Print what is there and run the main job once; false if it fails."""
    console.print(f"python {platform.python_version()} on {platform.platform()}", highlight=False)
    console.print("packages: " + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES), highlight=False)
    console.print("optional: " + ", ".join(f"{name} {_version(name)}" for name in _OPTIONAL), highlight=False)
    device = choose_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    precision = str(choose_precision("auto", device)).removeprefix("torch.")
    console.print(f"device: {name}; precision: {precision}; threads: {use_threads(0)}", highlight=False)
    return _try_main_job(console)


def _try_main_job(console: "Console") -> bool:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="syncrec-doctor-") as folder:
        place = Path(folder)
        try:
            simulate_log(place / "log.csv", num_users=60, seed=0)
            dataset = prepare(place / "log.csv", out=place / "dataset")
            run = train(dataset, place / "run", settings=_TINY, show_progress=False)
            answers = run.recommend(dataset.users[0], dataset.domains[0], 3)
        except SyncrecError as error:
            console.print(f"main job: FAILED: {error}", style="red", highlight=False)
            return False
    console.print(f"main job: works ({len(answers)} recommendations in {time.perf_counter() - begun:.1f} s)")
    return True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
