"""HTTP on a connection, with a limit on the time that a request's headers may take.

uvicorn has none: a client that sends a byte of its headers now and then would keep a connection for ever. A body has a
limit of its own, in the gate.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from syncrec.serving.http.logs import log
from syncrec.serving.http.problems import HttpError, problem_response

__all__ = ["HEADER_TIMEOUT", "TimedProtocol"]

HEADER_TIMEOUT = "header_timeout_s"
"""Where the state of the application's lifespan says how many seconds headers may take."""


class TimedProtocol(HttpToolsProtocol):
    """Sends a client away (408) whose headers are not there in time, from the first byte on.

    A connection without any byte is closed after the same time. One clock a connection, so nobody waits for another.
    """

    _clock: asyncio.TimerHandle | None = None
    _is_in_body = _has_begun = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first byte."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Whatever comes between two requests begins the second one, line breaks too."""
        self._has_begun = True
        if self._clock is None and not self._is_answering:
            self._start()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """In time."""
        self._stop()
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The rest of a request that was answered before its end has come too."""
        self._stop()
        self._is_in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        self._stop()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start(self) -> None:
        seconds = self.app_state.get(HEADER_TIMEOUT)
        if seconds is not None:
            self._clock = self.loop.call_later(seconds, self._too_slow, seconds)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self, seconds: float) -> None:
        self._clock = None
        if self._is_answering:  # the headers of the next request, sent ahead: the answer goes first
            self._start()
            return
        if self._has_begun and not self._is_in_body:
            log("slow client", limit_s=seconds)
            self._send_408(f"the headers took longer than {seconds:g} seconds")
        self.transport.close()

    def _send_408(self, detail: str) -> None:
        response = problem_response(HttpError(408, detail, {"Connection": "close"}), "")
        head = b"".join(b"%s: %s\r\n" % pair for pair in response.raw_headers)
        self.transport.write(b"HTTP/1.1 408 Request Timeout\r\n%s\r\n%s" % (head, response.body))
