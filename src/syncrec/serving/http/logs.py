"""One line of JSON for each thing that happens, on stderr; no user, no key and no body is in it."""

import json
import logging
import sys
import time
from typing import Any, TextIO

__all__ = ["log", "set_up_logs"]

_logger = logging.getLogger("syncrec.serving")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def set_up_logs() -> None:
    """Send our own lines and those of the server as JSON to stderr; the server's line a request is left out."""
    handler = _Stderr()
    handler.setFormatter(_JsonLines())
    for name in ("syncrec.serving", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").handlers = []
    logging.getLogger("uvicorn.error").propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line; `error` with its traceback."""
    if not _logger.isEnabledFor(level):
        return
    fault = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(_logger.name, level, __file__, 0, event, (), fault)  # `log` would look up its caller
    record.fields = fields
    _logger.handle(record)
