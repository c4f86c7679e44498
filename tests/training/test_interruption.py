import os
import signal
import threading

import pytest

from genrec.training.interruption import interruptible


@pytest.fixture
def ctrl_c():
    """Python's own handler of SIGINT, which a shell's background jobs start without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_asks_and_the_second_stops(ctrl_c):
    with interruptible() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is ctrl_c


def test_the_signal_handler_is_put_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="inside"), interruptible():
        raise RuntimeError("inside")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_that_may_not_set_signals_is_never_interrupted():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interruptible() as stop:
            seen.append(stop.requested)
            seen.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]
