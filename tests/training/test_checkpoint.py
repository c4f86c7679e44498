import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from genrec.config.errors import RunError
from genrec.training.checkpoint import (
    CHECKPOINT,
    Checkpointer,
    RandomState,
    drop_checkpoint,
    save_tensors,
)
from genrec.training.early_stopping import EarlyStopping


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


def train(module: Tied, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            module(torch.tensor([0, 1, 2])), torch.tensor([1, 2, 3])
        ).backward()
        optimizer.step()
        module.count += 1


def trained(directory: Path | None, steps: int, seed: int) -> Checkpointer:
    """The checkpointer of a module that was trained for some steps."""
    torch.manual_seed(seed)
    module = Tied()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    train(module, optimizer, steps)
    return Checkpointer(directory, module, optimizer, EarlyStopping("ndcg@10", "max"))


def test_a_checkpoint_restores_weights_moments_best_and_progress(tmp_path: Path):
    one = trained(tmp_path / "new", steps=3, seed=0)
    one.stopping.best = {"epoch": 2, "ndcg@10": 0.5}
    one.stopping.validations, one.stopping.since_best = 3, 1
    one.stopping.weights = {"inner.weight": torch.arange(6.0).view(2, 3).T}  # not contiguous
    one.save({"epoch": 3})
    other = trained(tmp_path / "new", steps=0, seed=1)
    assert other.restore() == {"epoch": 3}
    assert other.stopping.best == {"epoch": 2, "ndcg@10": 0.5}
    assert (other.stopping.validations, other.stopping.since_best) == (3, 1)
    assert other.stopping.weights["inner.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert other.module.count == 3
    assert other.module.outer.weight is other.module.inner.weight
    # equal afterwards only with the first and second moments and the step count
    train(one.module, one.optimizer, 4)
    train(other.module, other.optimizer, 4)
    assert torch.equal(other.module.inner.weight, one.module.inner.weight)


def test_a_checkpoint_without_moments_or_best(tmp_path: Path):
    one = trained(tmp_path, steps=0, seed=0)
    one.save({"epoch": 0})
    other = trained(tmp_path, steps=2, seed=1)
    assert other.restore() == {"epoch": 0}
    assert other.stopping.weights == {}
    assert torch.equal(other.module.inner.weight, one.module.inner.weight)
    assert other.optimizer.state_dict()["state"] == {}


def test_checkpoint_files_hold_no_pickle_and_can_be_dropped(tmp_path: Path):
    checkpointer = trained(tmp_path, steps=1, seed=0)
    checkpointer.save({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors"]
    drop_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert checkpointer.restore() == {}
    drop_checkpoint(tmp_path)


def test_without_a_directory_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    checkpointer = trained(None, steps=1, seed=0)
    checkpointer.save({"epoch": 1})
    assert checkpointer.restore() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_in_another_format_is_refused(tmp_path: Path):
    save_tensors(tmp_path / CHECKPOINT, {"module/x": torch.zeros(1)}, {"progress": "{}"})
    with pytest.raises(
        RunError, match=r"checkpoint.safetensors was written by another version .* remove the file"
    ):
        trained(tmp_path, steps=0, seed=0).restore()


def test_random_generators_continue_where_they_were(tmp_path: Path):
    def generators(seed: int) -> RandomState:
        cpu = torch.device("cpu")
        return RandomState(
            np.random.default_rng(seed), torch.Generator().manual_seed(seed), device=cpu
        )

    def draws(random: RandomState) -> list[float]:
        return [
            random.numpy_rng.random(),
            float(torch.rand(1, generator=random.torch_rng)),
            float(torch.rand(1)),
        ]

    one = trained(tmp_path, steps=0, seed=0)
    random = generators(3)
    draws(random)  # so that no generator is at its start
    saved = Checkpointer(tmp_path, one.module, one.optimizer, one.stopping, random)
    saved.save({})
    expected = draws(random)
    again = generators(4)
    torch.manual_seed(99)
    Checkpointer(tmp_path, one.module, one.optimizer, one.stopping, again).restore()
    assert draws(again) == expected
    with safe_open(tmp_path / CHECKPOINT, framework="pt") as file:
        assert set(json.loads(file.metadata()["content"])) == {"progress", "stopping", "random"}


def test_dropout_on_a_gpu_continues_where_it_was(monkeypatch: pytest.MonkeyPatch):
    there = {"state": torch.tensor([1, 2, 3], dtype=torch.uint8)}
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: there["state"])
    monkeypatch.setattr("torch.cuda.set_rng_state", lambda state, device: there.update(state=state))
    numbers, generator = np.random.default_rng(0), torch.Generator()
    on_gpu = RandomState(numbers, generator, torch.device("cuda"))
    state = json.loads(json.dumps(on_gpu.state()))
    there["state"] = torch.zeros(3, dtype=torch.uint8)
    # another machine, without a GPU
    RandomState(numbers, generator, torch.device("cpu")).load_state(state)
    assert there["state"].tolist() == [0, 0, 0]
    on_gpu.load_state(state)
    assert there["state"].tolist() == [1, 2, 3]


def test_a_damaged_checkpoint_is_refused(tmp_path: Path):
    trained(tmp_path, steps=1, seed=0).save({"epoch": 1})
    content = (tmp_path / CHECKPOINT).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    position = 8 + header.index(b'"progress') + 25  # of a number of the saved state
    for damaged in (
        content[:-1] + bytes([content[-1] ^ 1]),  # a weight
        content[: len(content) // 2],
        b"",
        content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :],
    ):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors (is damaged|was written by)"):
            trained(tmp_path, steps=0, seed=0).restore()


def test_equal_tensors_make_equal_files(tmp_path: Path):
    tensors = {name: torch.arange(3.0) for name in "abcdefgh"}
    for metadata in (None, {"format": "pt"}):
        save_tensors(tmp_path / "one", tensors, metadata)
        save_tensors(tmp_path / "other", dict(reversed(tensors.items())), metadata)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
