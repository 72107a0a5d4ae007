import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncrec.training.stopping import StopRequest


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_are_given_back(kind):
    before = signal.getsignal(kind)
    with StopRequest() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), kind)
        assert stop.is_set
    assert signal.getsignal(kind) == before


def test_a_second_signal_has_its_usual_effect():
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set
        os.kill(os.getpid(), signal.SIGINT)


def test_an_error_inside_gives_the_handlers_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), StopRequest():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_it_does_nothing():
    def use():
        with StopRequest() as stop:
            return stop.is_set

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use).result() is False
