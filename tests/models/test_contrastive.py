import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genrec.data import Sequences, leave_one_out, synthetic
from genrec.metrics.ranking import evaluate
from genrec.models.build import build_scorer
from genrec.models.choices import CL4SRecConfig, DuoRecConfig, NoContrast
from genrec.models.config import NeuralConfig
from genrec.models.contrastive import (
    ContrastiveLoss,
    encode_by_length,
    info_nce,
    make_contrastive_loss,
)
from genrec.models.scorer import NeuralScorer
from genrec.models.views import Augmented, SameTarget, crop, mask, reorder
from genrec.pipeline.teachers import train_scorer
from genrec.recipes import NeuralTeacher, recipe
from genrec.recommender import TopK

CPU = torch.device("cpu")
MASK = 1000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ascending(*lengths: int) -> Sequences:
    """Sequences 1..n, whose items are their positions."""
    return Sequences.from_lists([range(1, n + 1) for n in lengths])


def rows_of(sequences: Sequences) -> list[list[int]]:
    return [sequences[n].tolist() for n in range(len(sequences))]


# InfoNCE


def test_two_pairs_by_hand():
    first, second = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[1.0, 1.0], [0.0, -2.0]])
    # cosines: (a1, b1) = r, (a1, a2) = 0, (a1, b2) = 0, (a2, b2) = -1, (a2, b1) = r, (b1, b2) = -r
    # with r = 1/√2
    r, e = 1 / math.sqrt(2), math.exp
    rows = [
        -r + math.log(e(r) + e(0) + e(0)),
        1 + math.log(e(-1) + e(0) + e(r)),
        -r + math.log(e(r) + e(r) + e(-r)),
        1 + math.log(e(-1) + e(0) + e(-r)),
    ]
    assert float(info_nce(first, second, temperature=1.0)) == pytest.approx(sum(rows) / 4, abs=1e-6)


def reference(
    first: np.ndarray, second: np.ndarray, temperature: float, labels: list[int]
) -> float:
    """State by state, in float64."""
    states, classes = [*first, *second], labels * 2
    total = 0.0
    for i, state in enumerate(states):
        partner = (i + len(first)) % len(states)
        candidates = [j for j in range(len(states)) if j == partner or classes[j] != classes[i]]
        similar = {
            j: math.exp(
                state @ states[j] / np.linalg.norm(state) / np.linalg.norm(states[j]) / temperature
            )
            for j in candidates
        }
        total -= math.log(similar[partner] / sum(similar.values()))
    return total / len(states)


@pytest.mark.parametrize("labels", [None, [4, 2, 4, 9, 2, 4]])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_against_a_reference_state_by_state(labels: list[int] | None, temperature: float):
    first, second = rng(1).normal(size=(6, 5)), rng(2).normal(size=(6, 5)) * 3
    given = None if labels is None else torch.tensor(labels)
    found = info_nce(
        torch.from_numpy(first).float(),
        torch.from_numpy(second).float(),
        temperature=temperature,
        labels=given,
    )
    assert float(found) == pytest.approx(
        reference(first, second, temperature, labels or list(range(6))), abs=1e-5
    )


def test_one_pair_has_no_negatives():
    assert float(info_nce(torch.ones(1, 3), -torch.ones(1, 3), temperature=0.1)) == 0


# Augmentations

LENGTHS = (1, 2, 3, 7, 10, 200)


def test_a_crop_is_contiguous_and_has_its_share():
    starts = set()
    for seed in range(40):
        rows = rows_of(crop(ascending(*LENGTHS), share=0.6, generator=rng(seed)))
        assert [len(row) for row in rows] == [1, 1, 1, 4, 6, 120]
        assert all(row == list(range(row[0], row[0] + len(row))) for row in rows)
        assert all(row[-1] <= n for row, n in zip(rows, LENGTHS, strict=True))
        starts.add(rows[4][0])
    assert starts == {1, 2, 3, 4, 5}


def test_a_mask_hides_its_share_anywhere():
    hidden = np.zeros(10, int)
    for seed in range(200):
        rows = rows_of(mask(ascending(*LENGTHS), share=0.3, mask_id=MASK, generator=rng(seed)))
        assert [row.count(MASK) for row in rows] == [0, 0, 0, 2, 3, 60]
        assert all(item in (place, MASK) for row in rows for place, item in enumerate(row, start=1))
        hidden += np.array(rows[4]) == MASK
    assert hidden.sum() == 600
    assert hidden.min() > 35  # 60 expected, standard deviation 6.5
    assert hidden.max() < 85


def test_a_reorder_permutes_a_window():
    windows = set()
    for seed in range(200):
        rows = rows_of(reorder(ascending(*LENGTHS), share=0.6, generator=rng(seed)))
        assert [sorted(row) for row in rows] == rows_of(ascending(*LENGTHS))
        for row, window in zip(rows, (0, 1, 1, 4, 6, 120), strict=True):
            moved = [place for place, item in enumerate(row, start=1) if item != place]
            assert not moved or moved[-1] - moved[0] < window
        moved = [place for place, item in enumerate(rows[4]) if item != place + 1]
        windows.add((min(moved, default=0), max(moved, default=0)))
    assert {(start, start + 5) for start in range(5)} <= windows


@pytest.mark.parametrize(
    "change",
    [
        crop,
        reorder,
        lambda s, share, generator: mask(s, share=share, mask_id=MASK, generator=generator),
    ],
)
def test_augmentations_do_not_change_the_log_and_depend_on_the_generator(change):
    log = ascending(*LENGTHS)
    first, again, other = (
        rows_of(change(log, share=0.6, generator=rng(seed))) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert rows_of(log) == rows_of(ascending(*LENGTHS))
    assert rows_of(change(Sequences.from_lists([[], []]), share=0.6, generator=rng())) == [[], []]


def test_cropped_items_keep_their_times_and_others_stay_in_order():
    log = Sequences.from_lists([range(1, 11)], times=[range(100, 110)])
    cropped = crop(log, share=0.6, generator=rng())
    assert (cropped.times - cropped.items).tolist() == [99] * 6
    for changed in (
        mask(log, share=0.5, mask_id=MASK, generator=rng()),
        reorder(log, share=0.6, generator=rng()),
        Augmented(log, 9, MASK)([0], rng())[0][0],
    ):
        assert (np.diff(changed.times) == 1).all()


def test_two_different_operators_make_the_views_of_a_sequence():
    kinds = {True: set(), False: set()}
    train = ascending(*[20] * 60)
    views, labels = Augmented(train, 10, MASK)(np.arange(60), rng())
    assert labels is None
    for pair in zip(*map(rows_of, views), strict=True):
        names = [
            ("mask" if MASK in row else "crop" if len(row) == 6 else "reorder") for row in pair
        ]
        assert names[0] != names[1]
        assert all(item > 10 for row in pair for item in row), "the newest ten"
        kinds[True].add(names[0])
        kinds[False].add(names[1])
    assert kinds[True] == kinds[False] == {"crop", "mask", "reorder"}


def test_views_stay_with_their_rows():
    train = Sequences.from_lists([range(100 * n, 100 * n + 10) for n in range(1, 9)])
    chosen = np.array([5, 0, 7, 2])
    for view in Augmented(train, 10, 9999)(chosen, rng())[0]:
        assert [{item // 100 - 1 for item in row if item < 9999} for row in rows_of(view)] == [
            {5},
            {0},
            {7},
            {2},
        ]


# Histories before the same item

LOG = Sequences.from_lists([[1, 2, 3], [4, 3, 2], [5, 2], [6, 7, 3, 2], [3, 8]])


def test_the_other_history_comes_before_the_same_item():
    before = {2: {(1,), (4, 3), (5,), (6, 7, 3)}, 3: {(1, 2), (4,), (6, 7)}, 7: {(6,)}, 8: {(3,)}}
    views, seen = SameTarget.of(LOG), set()
    for seed in range(300):
        (first, again, other), targets = views(np.arange(5), rng(seed))
        assert rows_of(first) == rows_of(again)
        for history, target, found in zip(
            rows_of(first), targets.tolist(), rows_of(other), strict=True
        ):
            assert tuple(history) in before[target]
            assert tuple(found) in before[target]
            assert found != history or target in (7, 8), "another history where there is one"
            seen.add((target, tuple(history), tuple(found)))
    assert len(seen) == 4 * 3 + 3 * 2 + 1 + 1


def test_views_are_of_the_requested_rows():
    views, targets = SameTarget.of(LOG)(np.array([4, 2]), rng())
    assert rows_of(views[0]) == [[3], [5]]
    assert targets.tolist() == [8, 2]


# In training


def config_of(contrastive: str, name: str = "sasrec_softmax", **changes: Any) -> NeuralTeacher:
    small = {
        "contrastive": contrastive,
        "hidden_size": 32,
        "backbone": {"layers" if name == "gru4rec" else "blocks": 1},
        "max_length": 11,
        "dropout": 0.1,
        "epochs": 6,
        "learning_rate": 1e-2,
        "tokens_per_step": 256,
        "evaluate_every": 6,
    }
    config = recipe(name, **{**small, **changes})
    assert isinstance(config, NeuralTeacher)
    return config


def untrained(contrastive: str, **changes: Any) -> NeuralScorer:
    return build_scorer(config_of(contrastive, **changes), num_items=36, seed=0)


def trained(config: NeuralTeacher, directory: Path) -> NeuralScorer:
    scorer = train_scorer(SPLIT, config, seed=0, device=CPU, directory=directory, quiet=True)
    assert isinstance(scorer, NeuralScorer)
    return scorer


SPLIT = leave_one_out(
    synthetic.chain(num_users=240, num_items=36, length=12, randomness=0.05, seed=3)
)


@pytest.mark.parametrize(
    ("name", "contrastive"), [("sasrec_softmax", "cl4srec"), ("gru4rec", "duorec")]
)
def test_a_recipe_with_a_second_loss_learns_the_chain(name: str, contrastive: str, tmp_path: Path):
    scorer = trained(config_of(contrastive, name), tmp_path)
    assert evaluate(TopK(scorer), SPLIT.test, SPLIT.catalogue).means["recall@1"] > 0.5


def test_training_includes_the_second_loss(tmp_path: Path):
    """Only masked views train the MASK vector of a causal recipe."""
    start = untrained("none").embedding.weight
    for name, is_trained in (("none", False), ("cl4srec", True)):
        weight = trained(config_of(name, epochs=1), tmp_path / name).embedding.weight
        assert torch.equal(weight[37], start[37]) is not is_trained
        assert not torch.equal(weight[1:37], start[1:37])


def contrast(name: str, scorer: NeuralScorer, weight: float = 0.1) -> ContrastiveLoss:
    kind = {"cl4srec": CL4SRecConfig, "duorec": DuoRecConfig}[name]
    made = make_contrastive_loss(
        kind(weight=weight, temperature=0.5),
        SPLIT.train,
        max_length=11,
        mask_id=scorer.embedding.mask_id,
    )
    assert made is not None
    return made


@pytest.mark.parametrize("name", ["cl4srec", "duorec"])
def test_training_steps_make_views_similar(name: str):
    scorer = untrained(name).train()
    loss, rows = contrast(name, scorer, weight=1.0), np.arange(40)
    optimizer = torch.optim.Adam(scorer.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        losses.append(loss.training_step(scorer, rows, rng()))
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.8 * losses[0]


def test_a_step_adds_weighted_gradients():
    scorer = untrained("cl4srec", dropout=0.0)
    values = [
        contrast("cl4srec", scorer, weight).training_step(scorer, np.arange(9), rng())
        for weight in (0.5, 1.0)
    ]
    both = scorer.embedding.weight.grad.clone()
    assert values[1] == pytest.approx(2 * values[0])
    scorer.zero_grad()
    contrast("cl4srec", scorer, 3.0).training_step(scorer, np.arange(9), rng())
    torch.testing.assert_close(scorer.embedding.weight.grad, 2 * both)


def test_duorec_compares_three_views(monkeypatch: pytest.MonkeyPatch):
    scorer = untrained("duorec", dropout=0.5).train()
    states = []
    monkeypatch.setattr(
        "genrec.models.contrastive.encode_by_length",
        lambda *given: states.append(encode_by_length(*given)) or states[-1],
    )
    torch.manual_seed(0)
    value = contrast("duorec", scorer, weight=2.0).training_step(scorer, np.arange(7), rng())
    _, targets = SameTarget.of(SPLIT.train)(np.arange(7), rng())
    first, again, other = (state.detach().double().numpy() for state in states)
    assert not np.allclose(first, again), "they differ by dropout"
    expected = reference(first, again, 0.5, targets.tolist()) + reference(
        first, other, 0.5, targets.tolist()
    )
    assert value == pytest.approx(2 * expected, rel=1e-5)


def test_a_long_history_among_short_ones_pads_none_of_them(monkeypatch: pytest.MonkeyPatch):
    scorer = untrained("duorec").eval()
    histories = Sequences.from_lists(
        [[1, 2], [3], list(range(1, 31)), [4, 5], [6, 7, 8, 9, 1], [2]]
    )
    expected, encode, shapes = scorer.encode_histories(histories), scorer.encode_histories, []
    monkeypatch.setattr(
        scorer, "encode_histories", lambda view: shapes.append(view.padded().shape) or encode(view)
    )
    torch.testing.assert_close(encode_by_length(scorer, histories), expected)
    assert shapes == [
        (2, 1),
        (2, 2),
        (2, 30),
    ]  # one item, up to four, up to sixteen of the eleven that are read


def test_large_batches_are_compared_in_groups(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genrec.models.contrastive.MAX_PAIRS", 4)
    scorer = untrained("cl4srec", dropout=0.0)
    one, two = (
        scorer.encode_histories(v).detach().double().numpy()
        for v in contrast("cl4srec", scorer).views(np.arange(6), rng())[0]
    )
    value = contrast("cl4srec", scorer, weight=1.0).training_step(scorer, np.arange(6), rng())
    groups = (
        reference(one[:4], two[:4], 0.5, [0, 1, 2, 3]),
        reference(one[4:], two[4:], 0.5, [0, 1]),
    )
    assert value == pytest.approx((4 * groups[0] + 2 * groups[1]) / 6, rel=1e-5)


def test_none_is_none():
    assert make_contrastive_loss(NoContrast(), LOG, max_length=5, mask_id=MASK) is None


def test_no_contrastive_loss_has_no_weight():
    message = r"teacher\.contrastive\.weight of none.* weight is a setting of cl4srec, duorec"
    with pytest.raises(ValueError, match=message):
        recipe("sasrec", contrastive={"name": "none", "weight": 0.5})


def test_duorec_needs_dropout():
    message = r"duorec differ by dropout alone, and teacher\.dropout is 0: set it to 0\.1"
    with pytest.raises(ValueError, match=message):
        NeuralConfig(contrastive=DuoRecConfig(), dropout=0.0)
