import io
import json
import logging
import sys
import types
import warnings
from pathlib import Path

import pytest

from genrec.config.errors import GenrecError
from genrec.training import logger as logging_module
from genrec.training.logger import RunLogger, StderrHandler, configure

logger = logging.getLogger("genrec")


@pytest.fixture(autouse=True)
def _logger_as_it_was():
    handlers, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_metrics_are_appended_as_lines_and_tensorboard_scalars(tmp_path: Path):
    for step in (1, 2):
        with RunLogger(tmp_path / "run", "student", quiet=True) as log:
            log.log_metrics(step, {"loss": 0.5 / step})
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [(line["stage"], line["step"], line["loss"]) for line in lines] == [
        ("student", 1, 0.5),
        ("student", 2, 0.25),
    ]
    assert all(line["seconds"] >= 0 for line in lines)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_without_a_directory_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with RunLogger(None, "student", quiet=True) as log:
        log.log_metrics(1, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused():
    with pytest.raises(GenrecError, match="unknown tracker 'comet'; choose from mlflow, wandb"):
        RunLogger(None, "teacher", trackers=["comet"])


def test_messages_of_the_command_line_go_to_standard_error(capsys: pytest.CaptureFixture[str]):
    configure()
    logger.info("best [bold] NDCG")
    logger.warning("few users: %d", 3)
    logger.debug("unseen")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "best [bold] NDCG\nwarning: few users: 3\n"


def test_quiet_hides_information_and_never_warnings(capsys: pytest.CaptureFixture[str]):
    configure(quiet=True)
    logger.info("unseen")
    logger.warning("seen")
    assert capsys.readouterr().err == "warning: seen\n"


def test_debug_shows_everything(capsys: pytest.CaptureFixture[str]):
    configure(debug=True)
    logger.debug("details")
    assert capsys.readouterr().err == "debug: details\n"


def test_configuring_again_replaces_the_level_and_adds_no_second_handler(
    monkeypatch: pytest.MonkeyPatch,
):
    for quiet in (True, False, True, False):
        configure(quiet=quiet)
    assert [type(handler) for handler in logger.handlers] == [StderrHandler]
    # the standard error of the moment, not that of the first call
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stderr", replaced)
    logger.info("once")
    assert replaced.getvalue() == "once\n"


def test_a_library_without_a_handler_prints_warnings_only(capsys, monkeypatch):
    """As Python does for every library: its handler of last resort."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    RunLogger(None, "student").info("unseen")
    logger.warning("seen")
    assert capsys.readouterr().err == "seen\n"


def test_information_of_a_quiet_training_is_hidden(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "genrec")
    RunLogger(None, "student", quiet=True).info("unseen")
    RunLogger(None, "student").info("seen")
    assert caplog.messages == ["seen"]


def test_progress_in_a_log_is_a_line_per_minute_and_one_at_the_end(caplog, monkeypatch):
    clock = iter([0.0, 10.0, 59.0, 61.0, 90.0, 121.0, 125.0])
    monkeypatch.setattr(logging_module.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO, "genrec")
    progress = logging_module._LoggedProgress("teacher", total=14, done=8)
    for epoch in range(9, 15):
        progress(epoch, f"loss {epoch}.0")
    # after 61 seconds 3 of 6 epochs are done: as long again; the next line a minute later
    assert caplog.messages == [
        "teacher: 11/14, 0:01:01 elapsed, 0:01:01 left, loss 11.0",
        "teacher: 13/14, 0:02:01 elapsed, 0:00:24 left, loss 13.0",
        "teacher: 14/14, 0:02:05 elapsed, 0:00:00 left, loss 14.0",
    ]


def test_progress_where_nobody_watches_goes_to_the_log(capsys, caplog):
    caplog.set_level(logging.INFO, "genrec")
    with RunLogger(None, "compare").progress(total=2) as show:
        show(1, "")
        assert caplog.messages == []
        show(2, "")
    assert caplog.messages == ["compare: 2/2, 0:00:00 elapsed, 0:00:00 left"]
    caplog.clear()
    with RunLogger(None, "compare", quiet=True).progress(total=2) as show:
        show(2, "")
    assert caplog.messages == []
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with RunLogger(None, "teacher").progress(total=4, done=1) as show:
        show(3, "loss 0.5")
    assert "teacher" in terminal.getvalue()
    assert "3/4" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """As far as rich looks, a notebook: what is displayed in it."""
    displayed: list[object] = []

    class Output:
        outputs: list[object]

        def clear_output(self, wait: bool) -> None: ...

        def __enter__(self) -> "Output":
            return self

        def __exit__(self, *_: object) -> None: ...

    ipython = types.ModuleType("IPython.display")
    ipython.display = displayed.append
    widgets = types.ModuleType("ipywidgets")
    widgets.Output = Output
    widgets.__spec__ = types.SimpleNamespace(name="ipywidgets")
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return displayed


def test_progress_in_a_notebook_is_a_bar(notebook: list[object]):
    with RunLogger(None, "teacher").progress(total=4) as show:
        show(3, "loss 0.5")
    assert notebook


def test_a_notebook_without_widgets_gets_lines(notebook, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "ipywidgets")
    monkeypatch.setattr(logging_module, "find_spec", lambda name: None)
    caplog.set_level(logging.INFO, "genrec")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with RunLogger(None, "teacher").progress(total=1) as show:
            show(1, "loss 0.5")
    assert notebook == []
    assert caplog.messages == ["teacher: 1/1, 0:00:00 elapsed, 0:00:00 left, loss 0.5"]
