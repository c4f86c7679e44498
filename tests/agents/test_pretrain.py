"""A tiny student learns the lists of a teacher that knows a synthetic chain."""

import json
import os
import signal
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec.agents import distillation
from genrec.agents.config import DistillationConfig
from genrec.agents.distillation import Demonstrations, make_demonstrations, pretrain
from genrec.agents.gptrec.decoding import NextK
from genrec.agents.gptrec.model import GPTRec
from genrec.baselines import Markov, Popularity
from genrec.data.cases import random_cases
from genrec.data.splits import Split, leave_one_out
from genrec.data.synthetic import chain
from genrec.recommender import Scorer, TopK
from genrec.training.checkpoint import CHECKPOINT
from genrec.training.interruption import Interrupted

V, K, T = 16, 3, 4


@lru_cache
def demonstrations_of(
    kind: type[Markov] | type[Popularity],
) -> tuple[Scorer, Split, Demonstrations, Demonstrations]:
    """The teacher, the split, demonstrations for training prefixes and for the
    validation histories."""
    split = leave_one_out(chain(num_users=200, num_items=V, length=8, randomness=0.1, seed=0))
    teacher = kind.fit(split)
    cases = random_cases(split.train, 400, np.random.default_rng(0))
    made = [
        make_demonstrations(teacher, histories, pool=6)
        for histories in (cases.histories, split.valid.histories)
    ]
    return teacher, split, *made


def tiny() -> GPTRec:
    torch.manual_seed(0)
    return GPTRec(V, hidden_size=32, blocks=1, heads=2, max_length=T, max_slate=K, dropout=0.1)


def config(**changes: object) -> DistillationConfig:
    small = {"epochs": 1, "learning_rate": 0.02, "lists_per_step": 20, "hard": 0.8}
    return DistillationConfig.model_validate(small | changes)


def taught(
    policy: GPTRec,
    directory: Path | None = None,
    kind: type[Markov] | type[Popularity] = Markov,
    **changes: object,
):
    _, split, demonstrations, val_demonstrations = demonstrations_of(kind)
    return pretrain(
        policy,
        demonstrations,
        split=split,
        val_demonstrations=val_demonstrations,
        config=config(**changes),
        k=K,
        seed=1,
        directory=directory,
        quiet=True,
    )


def overlap(policy: GPTRec, kind: type[Markov] | type[Popularity]) -> float:
    """Share of the teacher's items that the student lists, counted one by one."""
    teacher, split, _, _ = demonstrations_of(kind)
    ours = NextK(policy).recommend(split.valid.histories, K).tolist()
    theirs = TopK(teacher).recommend(split.valid.histories, K).tolist()
    return sum(len({*one} & {*other}) for one, other in zip(ours, theirs, strict=True)) / (
        K * len(ours)
    )


@pytest.mark.parametrize(("kind", "reached"), [(Markov, 0.8), (Popularity, 0.9)])
def test_a_student_learns_its_teachers_lists(kind, reached):
    policy = tiny()
    before = overlap(policy, kind)
    found = taught(policy, kind=kind, epochs=6)
    assert before < 0.6 < reached <= found["overlap"]
    assert found["overlap"] == pytest.approx(overlap(policy, kind))
    _, split, _, _ = demonstrations_of(kind)
    hits = (NextK(policy).recommend(split.valid.histories, K) == split.valid.targets[:, None]).any(
        axis=1
    )
    assert found[f"recall@{K}"] == pytest.approx(hits.mean())


def weights_of(policy: GPTRec) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def validations(monkeypatch):
    """Metrics of each validation and the weights it saw; a callable in ``hook`` may change or stop
    it."""
    seen: list[tuple[dict[str, float], dict[str, torch.Tensor]]] = []
    hook = [lambda measured, number: measured]
    real = distillation._validate

    def spy(policy, *arguments, **options):
        measured = hook[0](real(policy, *arguments, **options), len(seen) + 1)
        seen.append((measured, weights_of(policy)))
        return measured

    monkeypatch.setattr(distillation, "_validate", spy)
    return seen, hook


def test_the_weights_of_the_lowest_validation_loss_are_kept(validations):
    seen, hook = validations
    script = [5.0, 4.0, 1.0, 3.0, 1.0]
    hook[0] = lambda measured, number: {
        "loss": script[number - 1] if number <= len(script) else 9.0,
        "n": number,
    }
    policy = tiny()
    found = taught(policy)
    assert found["loss"] == 1.0
    assert found["n"] == 3
    assert same(weights_of(policy), seen[2][1])
    assert not same(seen[2][1], seen[4][1])
    assert not policy.training


def test_the_validation_loss_falls_and_is_what_is_minimised(validations):
    seen, _ = validations
    found = taught(tiny(), epochs=2)
    losses = [measured["loss"] for measured, _ in seen]
    assert len(losses) >= 10
    assert losses[0] > found["loss"] + 0.3
    assert found["loss"] == min(losses)


def test_ctrl_c_and_the_same_again_is_as_if_nothing_had_happened(validations, tmp_path):
    """With dropout on: it is drawn from the number of the step."""
    seen, hook = validations
    whole = tiny()
    found = taught(whole)
    total = len(seen)
    del seen[:]

    def stop(measured, number):
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return measured

    hook[0] = stop
    with pytest.raises(
        Interrupted, match=r"stopped after step \d+; the same command resumes from there"
    ):
        taught(tiny(), tmp_path)
    assert (tmp_path / CHECKPOINT).exists()
    del seen[:]
    hook[0] = lambda measured, number: measured
    resumed = tiny()
    torch.manual_seed(77)
    assert taught(resumed, tmp_path) == found
    assert same(weights_of(resumed), weights_of(whole))
    assert len(seen) == total - 4


def test_an_error_in_between_loses_nothing_that_was_saved(validations, tmp_path):
    seen, hook = validations
    whole = tiny()
    taught(whole)
    del seen[:]

    def fail(measured, number):
        if number == 3:
            raise OSError("disk full")
        return measured

    hook[0] = fail
    with pytest.raises(OSError, match="disk full"):
        taught(tiny(), tmp_path)
    hook[0] = lambda measured, number: measured
    resumed = tiny()
    taught(resumed, tmp_path)
    assert same(weights_of(resumed), weights_of(whole))


def test_metrics_are_written(tmp_path):
    found = taught(tiny(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"student"}
    assert min(row["val/loss"] for row in rows) == pytest.approx(found["loss"])
    assert {"loss", "learning_rate", "val/overlap", f"val/ndcg@{K}"} <= set(rows[0])


def test_the_seed_decides():
    one, again = tiny(), tiny()
    taught(one)
    torch.manual_seed(5)
    taught(again)
    assert same(weights_of(one), weights_of(again))


def test_a_loss_that_is_no_number_says_what_to_do():
    _, split, demonstrations, val_demonstrations = demonstrations_of(Markov)
    broken = Demonstrations(
        demonstrations.histories, demonstrations.items, np.full_like(demonstrations.scores, np.nan)
    )
    with pytest.raises(
        FloatingPointError, match="the loss is nan in step 1: lower the learning rate"
    ):
        pretrain(
            tiny(),
            broken,
            split=split,
            val_demonstrations=val_demonstrations,
            config=config(),
            k=K,
            quiet=True,
        )
