"""The benchmark of the alignment runs, and times only implementations of the same mathematics."""

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "alignment.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The functions of the script, in sizes that take a second."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(SCRIPT.parent))  # as python does for the script it runs
    monkeypatch.setattr(
        sys, "argv", [SCRIPT.name, "--quick", "--json", str(tmp_path / "alignment.json")]
    )
    yield runpy.run_path(str(SCRIPT))["main"].__globals__
    torch.set_num_threads(threads)


@pytest.fixture
def implementations(script):
    """The module of the three implementations, which the script has imported."""
    return importlib.import_module("implementations")


def test_the_quick_run_writes_what_it_prints(script, tmp_path, capsys):
    script["main"]()
    printed, found = capsys.readouterr().out, json.loads((tmp_path / "alignment.json").read_text())
    seconds = {
        name: sum(found[f"{name}_seconds"].values()) for name in ("shared", "separate", "generate")
    }
    for name, taken in seconds.items():
        # one round, so the medians are its own
        assert found["lists_per_second"][name] == pytest.approx(3 * 2 / taken)
    for name in ("separate", "generate"):
        assert found[f"shared/{name}"] == pytest.approx(seconds[name] / seconds["shared"])
        assert f"shared/{name}" in printed
        assert f"{found[f'shared/{name}']:.2f}  aim 5" in printed
    assert found["largest_differences"]["log_probabilities"] < 1e-5


def test_the_multiply_adds_are_those_counted_by_hand(script):
    """3 histories of 20 items and SEP, 2 lists of 4, width 16, 2 blocks, 62 tokens, one head.

    A token costs 12·16² = 3,072 in a block. Encoding: 63 tokens · 2 blocks · 3,072 and 2 · 21² · 16
    in 6 attentions, 471,744. Lists: 18 items, 110,592, and attention, 28,800 item by item, 31,104
    at once. Output: 24 · 16 · 62 = 23,808. Critic: 24 · (16² + 16) = 6,528. Rollout 634,944; a pass
    643,776; its gradient 2 · 613,440 of the blocks and 3 · 23,808 of the output, which is computed
    again. A rollout, a pass for the advantages, two for the update: 5,162,880.
    """
    sizes, config = script["QUICK"], script["PPOConfig"]()
    found = script["measure"](
        script["make_task"](sizes), script["make_policy"](sizes), sizes, config
    )
    assert found["multiply_adds"] == 5_162_880


def shifted(function):
    """The position ids of histories one too high."""

    def wrong(policy, histories):
        tokens, positions = function(policy, histories)
        return tokens, (positions + 1).clamp(max=policy.max_length)

    return wrong


def truncated(function):
    """States of separate lists whose newest item is not read."""

    def wrong(policy, histories, placed):
        if placed.shape[2]:
            placed = placed.clone()
            placed[:, :, -1] = 1
        return function(policy, histories, placed)

    return wrong


def unmasked(function):
    """A generate that may place what the history blocks."""
    return lambda blocked, start: function(blocked & False, start)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("history_tokens", shifted), ("separate_states", truncated), ("MaskItems", unmasked)],
)
def test_other_mathematics_is_not_timed(script, implementations, monkeypatch, name, wrong):
    monkeypatch.setattr(implementations, name, wrong(getattr(implementations, name)))
    with pytest.raises(AssertionError, match="do not compute the same"):
        script["main"]()


def test_other_losses_are_not_timed(script):
    """An implementation with longer steps has another loss after the first step."""
    make = script["make_implementations"]

    def longer(policy, config):
        made = make(policy, config)
        made["separate"].optimizer.param_groups[0]["lr"] *= 10
        return made

    script["make_implementations"] = longer
    with pytest.raises(AssertionError, match="do not compute the same"):
        script["main"]()
