"""The command `serve`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from syncrec.cli.text import UsageError, need_extra, say

__all__ = ["serve"]


def serve(
    run: Annotated[Path, Parameter(help="a trained run")],
    /,
    *more_runs: Annotated[Path, Parameter(help="further runs, for experiments")],
    store: Annotated[
        str, Parameter(help="database of events: sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    ] = "sqlite:///events.db",
    host: Annotated[str, Parameter(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="port to listen on")] = 8000,
    workers: Annotated[int, Parameter(help="processes")] = 2,
    keys: Annotated[Path | None, Parameter(help="TOML file of API keys; `syncrec api-key` adds one")] = None,
    items: Annotated[Path | None, Parameter(help="CSV or Parquet file of item attributes to filter by")] = None,
    experiment: Annotated[
        Path | None, Parameter(help="TOML file of an experiment whose arms answer; see `syncrec experiment`")
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of limits; keys: docs/serving.md")] = None,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
) -> None:
    """Answer over HTTP, and store what users do; a page for people is at /."""
    need_extra("serve", "starlette", "uvicorn", "msgspec", "sqlalchemy", "prometheus_client", "jinja2")
    from syncrec.serving.http.server import serve as serve_runs
    from syncrec.serving.http.server import state_folder
    from syncrec.serving.settings import ServeOptions, load_settings, named_runs

    _check_numbers(port, workers)
    settings, runs = load_settings(config), dict(named_runs((run, *more_runs)))
    with state_folder(workers) as state:
        options = ServeOptions(
            runs=runs,
            store=store,
            state=state,
            dataset=dataset,
            items=items,
            keys=keys,
            experiment=experiment,
            workers=workers,
            settings=settings,
        )
        if keys is None and host not in ("127.0.0.1", "::1", "localhost"):
            say(f"syncrec: warning: everybody who reaches {host}:{port} may ask and send events; --keys asks for keys")
        serve_runs(options, host, port)


def _check_numbers(port: int, workers: int) -> None:
    if workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}")
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port must be from 0 to 65535, got {port}")
