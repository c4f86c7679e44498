import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from genrec.config.errors import RunError
from genrec.training.checkpoint import drop_checkpoint, load_checkpoint, save_checkpoint
from genrec.training.device import autocast, choose_device, half_precision_pays
from genrec.training.interruption import interruptible
from genrec.training.logger import Logbook
from genrec.training.run_directory import read_json, versions, write_json


def test_a_device_by_name_or_the_best_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "tpu", ""])
def test_a_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match=f"device '{name}' is not available here; choose auto or one of cpu"
    ):
        choose_device(name)


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16"])
def test_bfloat16_is_for_processors_with_instructions_for_it(
    instructions: str, monkeypatch: pytest.MonkeyPatch
):
    cpu = torch.device("cpu")
    for there in (True, False):
        able = {"amx_bf16": False, "avx512_f": True, instructions: there}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert half_precision_pays(cpu) is there
        with autocast(cpu, enabled=True):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if there else torch.float32)
        with autocast(cpu, enabled=False):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not half_precision_pays(torch.device("mps"))


def test_json_round_trip_leaves_no_other_file(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": [1, 2.5, "ü"], "y": {"z": None}})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, "ü"], "y": {"z": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_json_that_is_missing_broken_or_no_object(tmp_path: Path):
    (tmp_path / "sweep" / "weight-0.1" / "seed-0").mkdir(parents=True)
    (tmp_path / "sweep" / "weight-0.1" / "seed-0" / "run.json").write_text("{}")
    with pytest.raises(
        RunError, match=r"is a sweep; give one of its runs, such as .*sweep/weight-0.1/seed-0"
    ):
        read_json(tmp_path / "sweep" / "run.json")
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "plan.json").write_text("{}")
    with pytest.raises(
        RunError, match="stopped is not finished; repeat the command that started it"
    ):
        read_json(tmp_path / "stopped" / "run.json")
    with pytest.raises(
        RunError, match=rf"run\.json does not exist: is {tmp_path} a genrec run directory"
    ):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text('{"x": ')
    with pytest.raises(RunError, match=r"run\.json is not valid JSON .* may have been cut off"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(RunError, match=r"run\.json holds no JSON object"):
        read_json(tmp_path / "run.json")


def test_versions():
    assert set(versions()) == {"genrec", "python", "torch", "transformers", "gymnasium", "numpy"}
    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]


class Tied(nn.Module):
    """Input and output share a weight, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Embedding(5, 3)
        self.outer = nn.Linear(3, 5, bias=False)
        self.outer.weight = self.inner.weight
        self.register_buffer("count", torch.tensor(0))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.outer(self.inner(ids))
        return logits


def trained(steps: int, seed: int) -> tuple[Tied, torch.optim.AdamW]:
    torch.manual_seed(seed)
    module = Tied()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    train(module, optimizer, steps)
    return module, optimizer


def train(module: Tied, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            module(torch.tensor([0, 1, 2])), torch.tensor([1, 2, 3])
        ).backward()
        optimizer.step()
        module.count += 1


def test_a_checkpoint_brings_back_weights_moments_best_and_counters(tmp_path: Path):
    module, optimizer = trained(steps=3, seed=0)
    best = {"inner.weight": torch.arange(6.0).view(2, 3).T}  # not contiguous
    save_checkpoint(
        tmp_path / "new", module, best, optimizer, {"epoch": 3, "best": {"ndcg@10": 0.5}}
    )
    other, other_optimizer = trained(steps=0, seed=1)
    found = load_checkpoint(tmp_path / "new", other, other_optimizer)
    assert found is not None
    assert found[0] == {"epoch": 3, "best": {"ndcg@10": 0.5}}
    assert found[1]["inner.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert other.count == 3
    assert other.outer.weight is other.inner.weight
    train(module, optimizer, 4)
    train(
        other, other_optimizer, 4
    )  # equal only with the first and second moments and the step count
    assert torch.equal(other.inner.weight, module.inner.weight)


def test_a_checkpoint_without_moments_or_best(tmp_path: Path):
    module, optimizer = trained(steps=0, seed=0)
    save_checkpoint(tmp_path, module, {}, optimizer, {"epoch": 0})
    other, other_optimizer = trained(steps=2, seed=1)
    assert load_checkpoint(tmp_path, other, other_optimizer) == ({"epoch": 0}, {})
    assert torch.equal(other.inner.weight, module.inner.weight)
    assert other_optimizer.state_dict()["state"] == {}


def test_checkpoint_files_hold_no_pickle_and_can_be_dropped(tmp_path: Path):
    module, optimizer = trained(steps=1, seed=0)
    save_checkpoint(tmp_path, module, {}, optimizer, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors"]
    drop_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert load_checkpoint(tmp_path, module, optimizer) is None
    drop_checkpoint(tmp_path)


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


def test_logbook_appends_lines_and_tensorboard_scalars(tmp_path: Path):
    for step in (1, 2):
        with Logbook(tmp_path / "run", "student", quiet=True) as log:
            log.record(step, {"loss": 0.5 / step})
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [(line["stage"], line["step"], line["loss"]) for line in lines] == [
        ("student", 1, 0.5),
        ("student", 2, 0.25),
    ]
    assert all(line["seconds"] >= 0 for line in lines)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_logbook_without_a_folder_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with Logbook(None, "student", quiet=True) as log:
        log.record(1, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_messages_go_to_standard_error_unless_quiet(capsys: pytest.CaptureFixture[str]):
    Logbook(None, "student").say("best [bold] NDCG")
    Logbook(None, "student", quiet=True).say("unheard")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "best [bold] NDCG\n"


def test_no_progress_bar_where_nobody_watches(capsys: pytest.CaptureFixture[str]):
    with Logbook(None, "student").progress(total=3) as bar:
        bar(1, "loss 0.5")
    assert capsys.readouterr().err.strip() == ""
