"""Signals stop a training after its step, or a command at once where nothing has to be saved."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from genrec.training.interruption import (
    SIGNALS,
    Interrupted,
    Interruption,
    Terminated,
    interruptible,
    terminable,
)


@pytest.fixture(autouse=True)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_of_schedulers_and_terminals_ask_too_and_may_repeat(number):
    with interruptible() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == number
        with pytest.raises(Interrupted, match="stopped after epoch 3; the same command") as found:
            stop.stop_if_requested("after epoch 3")
    assert found.value.number == number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_nobody_has_asked():
    Interruption().stop_if_requested("at once")


def test_ignored_signals_stay_ignored():
    """As below nohup, and of background jobs of a shell script."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        with interruptible() as stop, terminable():
            for number in SIGNALS:
                os.kill(os.getpid(), number)
            assert not stop.requested
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_outside_of_trainings_a_signal_ends_by_an_exception(number):
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(True)

    with pytest.raises(Terminated) as found, terminable():
        work()
    assert (found.value.number, cleaned) == (number, [True])
    assert signal.getsignal(number) == signal.SIG_DFL
    with terminable(), interruptible() as stop:  # a training inside saves instead
        os.kill(os.getpid(), number)
        assert stop.requested


def test_the_signal_handlers_are_put_back_after_an_error():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(RuntimeError, match="inside"), interruptible():
        raise RuntimeError("inside")
    assert [signal.getsignal(number) for number in SIGNALS] == before


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


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_the_exit_status_is_that_of_the_signal(number: str, status: int):
    code = (
        "import os, signal, typer\n"
        "from genrec.cli.errors import reports_errors\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"def command(): os.kill(os.getpid(), signal.{number})\n"
        "typer.run(reports_errors(command))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == status
    assert found.stderr == "stopped; what a training had saved is resumed by the same command\n"
