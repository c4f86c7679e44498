"""Side effects and divergence from the student, by hand."""

import numpy as np
import pytest
import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences
from genrec.evaluation.side_effects import divergence, measure_side_effects


def test_side_effects_by_hand(made):
    level = [0.5, 0.5, 0.5]
    aligned = made("aligned", None, level, [1, 2, 3], novelty=[1.0, 2.0, 3.0])
    aligned.list_hashes = [np.array([7, 7, 8])]
    rows = [
        made("teacher", None, [0, 0, 0], [1, 1, 1], novelty=[0.0, 0.0, 0.0]),
        made("mmr", 0.1, [1, 1, 1], [0, 0, 0], novelty=[9.0, 9.0, 9.0]),
        made("mmr", 0.2, [0.4, 0.4, 0.4], [1, 1, 1], novelty=[1.0, 2.0, 3.0]),
        made("student", None, [0, 0, 0], [0, 2, 4], novelty=[0.0, 2.0, 1.0]),
        aligned,
    ]
    policy, mmr = measure_side_effects(rows, "goal@5", ["goal@5"])
    assert (policy.method, policy.reference) == ("aligned", "student")
    assert (mmr.method, mmr.weight, mmr.reference) == ("mmr", 0.2, "teacher")
    assert set(policy.changes) == {"ndcg@5", "novelty@5", "coverage", "distinct"}
    assert policy.changes["novelty@5"].difference == 1
    assert policy.changes["novelty@5"].error == pytest.approx(1 / np.sqrt(3))
    distinct = policy.changes["distinct"]
    assert (distinct.difference, distinct.error, distinct.p) == (
        pytest.approx(-1 / 3),
        None,
        None,
    )
    # t = 2 / (1 / sqrt 3) with 2 degrees of freedom has p = .0742; four tests
    assert mmr.changes["novelty@5"].p == pytest.approx(4 * 0.0742, abs=1e-3)


def test_divergence_from_a_student_counted_one_by_one():
    torch.manual_seed(0)
    policy, student = (
        GPTRec(7, hidden_size=8, blocks=1, heads=2, max_length=4, max_slate=4, dropout=0.0).eval()
        for _ in range(2)
    )
    with torch.no_grad():
        for each in (policy, student):
            each.lm.transformer.wte.weight.mul_(40)
    histories, slates = (
        Sequences.from_lists([[1, 2], [3], [2, 6, 4]]),
        np.array([[3, 4], [5, 1], [1, 7]]),
    )
    kl, entropy = divergence(policy, student, histories=histories, slates=slates)
    for row in range(3):
        for place in range(2):
            lists = torch.from_numpy(slates[row : row + 1, None])
            p, q = (
                each.log_distribution(histories.take([row]), lists)[0, 0, place].exp().tolist()
                for each in (policy, student)
            )
            there = [(a, b) for a, b in zip(p, q, strict=True) if a > 0]
            assert len(there) == 7 - len(histories[row]) - place
            assert kl[row, place] == pytest.approx(
                sum(a * np.log(a / b) for a, b in there), abs=1e-5
            )
            assert entropy[row, place] == pytest.approx(
                -sum(a * np.log(a) for a, _ in there), abs=1e-5
            )
    assert kl.min() > 0.01
    same, _ = divergence(policy, policy, histories=histories, slates=slates)
    assert same.tolist() == [[0, 0]] * 3
