"""The policy against a plain GPT-2 forward pass of one row.

The reference shares no padding, cache, groups or masks with the code.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from genrec.agents.gptrec.decoding import sample
from genrec.agents.gptrec.model import GPTRec
from genrec.config.errors import GenrecError
from genrec.data import Sequences

V, T, MAX_SLATE, K = 20, 5, 6, 4
SEP = V + 1
# ragged, an empty one, one of exactly T items, and two longer than T, whose older items may not
# be listed either
HISTORIES = [[3, 7], [], [1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4, 3, 2, 1], [20, 12, 11, 10, 9, 8, 7]]


def tiny(dropout: float = 0.0) -> GPTRec:
    torch.manual_seed(0)
    policy = GPTRec(
        V, hidden_size=16, blocks=2, heads=2, max_length=T, max_slate=MAX_SLATE, dropout=dropout
    )
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.dim() > 1:
                # far from the near-uniform start, so that every position and every key matters
                weight.mul_(8)
    return policy.eval()


@pytest.fixture(scope="module")
def policy() -> GPTRec:
    return tiny()


def allowed(history: list[int], placed: list[int]) -> list[int]:
    return [item for item in range(1, V + 1) if item not in history and item not in placed]


def plain_logits(policy: GPTRec, tokens: list[int], positions: list[int]) -> torch.Tensor:
    """(L, V+2) logits of one row.

    Without a mask, transformers takes position ids that count backwards for packed rows.
    """
    return policy.lm(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
        use_cache=False,
    ).logits[0]


def reference(policy: GPTRec, history: list[int], slate: list[int]) -> torch.Tensor:
    """(K, V+2) log-probabilities along a list, from one pass over history | SEP | list.

    Position ids are written by hand.
    """
    read = history[-T:]
    tokens = [*read, SEP, *slate[:-1]]
    positions = [*range(len(read), 0, -1), 0, *range(T + 1, T + len(slate))]
    logits = plain_logits(policy, tokens, positions)
    rows = []
    for t in range(len(slate)):
        row = torch.full((V + 2,), -torch.inf)
        free = allowed(history, slate[:t])
        row[free] = torch.log_softmax(logits[len(read) + t, free], dim=0)
        rows.append(row)
    return torch.stack(rows)


def lists(group_size: int, k: int = K, seed: int = 0) -> torch.Tensor:
    """(H, G, k) lists of items that the histories allow."""
    rng = np.random.default_rng(seed)
    return torch.tensor(
        [
            [rng.permutation(allowed(h, []))[:k].tolist() for _ in range(group_size)]
            for h in HISTORIES
        ]
    )


def reference_logp(policy: GPTRec, slates: torch.Tensor) -> torch.Tensor:
    rows = [
        torch.stack(
            [
                reference(policy, history, slate).gather(1, torch.tensor(slate)[:, None])[:, 0]
                for slate in group
            ]
        )
        for history, group in zip(HISTORIES, slates.tolist(), strict=True)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("k", [1, K, MAX_SLATE])
def test_logp_is_that_of_the_uncached_model(policy, group_size, k):
    slates = lists(group_size, k)
    torch.testing.assert_close(
        policy.logp(Sequences.from_lists(HISTORIES), slates),
        reference_logp(policy, slates),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("group_size", [1, 3])
def test_every_choice_has_the_probability_of_the_uncached_model(policy, group_size):
    slates = lists(group_size, seed=1)
    ours = policy.log_distribution(Sequences.from_lists(HISTORIES), slates)
    for history, group, rows in zip(HISTORIES, slates.tolist(), ours, strict=True):
        for slate, row in zip(group, rows, strict=True):
            torch.testing.assert_close(row, reference(policy, history, slate), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("group_size", [1, 4])
@pytest.mark.parametrize("seed", [None, 0])
def test_sampled_lists_come_with_the_log_probabilities_of_the_uncached_model(
    policy, group_size, seed
):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    slates, logp = sample(
        policy, Sequences.from_lists(HISTORIES), K, generator=generator, group_size=group_size
    )
    torch.testing.assert_close(logp, reference_logp(policy, slates), atol=1e-5, rtol=1e-5)


def test_these_weights_depend_on_positions_and_order(policy):
    """The comparisons above are not vacuous: another order gives other probabilities."""
    slates = torch.tensor([[[1, 2, 3, 4]], [[1, 2, 3, 4]], [[2, 1, 3, 4]]])
    logp = policy.logp(Sequences.from_lists([[8, 9, 10], [10, 9, 8], [8, 9, 10]]), slates)
    assert (logp[0, 0] - logp[1, 0]).abs().min() > 1e-3
    assert (logp[0, 0, 2:] - logp[2, 0, 2:]).abs().min() > 1e-3


def test_gradients_through_the_shared_prefix_are_those_of_the_uncached_model():
    slates, policy = lists(3, seed=2), tiny()
    weights = torch.randn(slates.shape, generator=torch.Generator().manual_seed(1))
    (policy.logp(Sequences.from_lists(HISTORIES), slates) * weights).sum().backward()
    ours = {name: weight.grad.clone() for name, weight in policy.named_parameters()}
    policy.zero_grad()
    (reference_logp(policy, slates) * weights).sum().backward()
    for name, weight in policy.named_parameters():
        assert (ours[name] - weight.grad).norm() <= 1e-4 * weight.grad.norm(), name
        assert weight.grad.norm() > 0, name


def test_nothing_blocked_is_ever_possible(policy):
    slates = lists(3, seed=3)
    probabilities = policy.log_distribution(Sequences.from_lists(HISTORIES), slates).exp()
    torch.testing.assert_close(probabilities.sum(dim=3), torch.ones(len(HISTORIES), 3, K))
    for h, history in enumerate(HISTORIES):
        for g in range(3):
            for t in range(K):
                possible = probabilities[h, g, t].nonzero().flatten().tolist()
                assert possible == allowed(history, slates[h, g, :t].tolist())


def test_lists_of_a_group_do_not_see_each_other(policy):
    histories = Sequences.from_lists(HISTORIES)
    slates = lists(3, seed=4)
    together = policy.logp(histories, slates)
    for g in range(3):
        torch.testing.assert_close(
            policy.logp(histories, slates[:, g : g + 1])[:, 0], together[:, g], atol=1e-5, rtol=0
        )
    order = [2, 0, 1]
    torch.testing.assert_close(
        policy.logp(histories, slates[:, order]), together[:, order], atol=1e-5, rtol=0
    )


def test_later_items_change_no_earlier_probability(policy):
    histories, slates = Sequences.from_lists(HISTORIES), lists(2, seed=5)
    whole = policy.log_distribution(histories, slates)
    for j in range(1, K):
        part = policy.log_distribution(histories, slates[:, :, :j])
        torch.testing.assert_close(part, whole[:, :, :j], atol=1e-5, rtol=0)


def test_only_the_newest_items_are_read_but_all_are_blocked(policy):
    first, second = [16, 17, 1, 2, 3, 4, 5], [18, 19, 1, 2, 3, 4, 5]
    both = Sequences.from_lists([first, second])
    torch.testing.assert_close(*policy.encode(both).state, atol=1e-6, rtol=0)
    blocked = policy.blocked(both)
    assert blocked[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 16, 17, SEP]
    assert blocked[1].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 18, 19, SEP]


def test_lists_grown_step_by_step_equal_teacher_forcing(policy):
    slates = lists(3, seed=6)
    histories = Sequences.from_lists(HISTORIES)
    prefix = policy.encode(histories)
    steps = [prefix.state[:, None].expand(-1, 3, -1)]
    steps += [
        policy.extend(prefix, slates[:, :, t : t + 1], start=t)[:, :, 0] for t in range(K - 1)
    ]
    forced = policy.slate_states(policy.encode(histories), slates)
    torch.testing.assert_close(torch.stack(steps, dim=2), forced, atol=1e-5, rtol=1e-5)


def test_several_items_may_follow_cached_ones(policy):
    slates = lists(3, seed=7)
    histories = Sequences.from_lists(HISTORIES)
    prefix = policy.encode(histories)
    policy.extend(prefix, slates[:, :, :1], start=0)
    rest = policy.extend(prefix, slates[:, :, 1:3], start=1)
    forced = policy.slate_states(policy.encode(histories), slates)
    torch.testing.assert_close(rest, forced[:, :, 2:], atol=1e-5, rtol=1e-5)


def test_top_k_scores_are_the_logits_of_the_first_item(policy):
    scores = policy.score(Sequences.from_lists(HISTORIES))
    assert scores.shape == (len(HISTORIES), V + 1)
    assert scores.dtype == torch.float32
    assert (scores[:, 0] == -torch.inf).all()
    for history, row in zip(HISTORIES, scores, strict=True):
        read = history[-T:]
        logits = plain_logits(policy, [*read, SEP], [*range(len(read), -1, -1)])[-1]
        # seen items keep their scores
        torch.testing.assert_close(row[1:], logits[1 : V + 1], atol=1e-5, rtol=1e-5)


def test_scoring_has_no_dropout_and_restores_the_mode():
    policy, histories = tiny(dropout=0.5).train(), Sequences.from_lists(HISTORIES)
    assert torch.equal(policy.score(histories), policy.score(histories))
    assert policy.training
    assert not torch.equal(policy.logp(histories, lists(1)), policy.logp(histories, lists(1)))


def test_a_history_that_leaves_too_few_items_is_named(policy):
    histories = Sequences.from_lists([[1], list(range(1, 19)), [2]])
    with pytest.raises(
        ValueError, match="history 1 leaves 2 items for a list of 3: ask for a shorter list"
    ):
        policy.logp(histories, torch.tensor([[[3, 4, 5]], [[19, 20, 19]], [[3, 4, 5]]]))
    exact = policy.logp(Sequences.from_lists([list(range(1, 19))]), torch.tensor([[[19, 20]]]))
    assert exact[0, 0, 1] == 0  # the last free item is certain


def test_a_list_longer_than_the_positions_is_refused(policy):
    # the last item of a list is predicted, never read
    longest = lists(1, k=MAX_SLATE + 1)
    assert policy.logp(Sequences.from_lists(HISTORIES), longest).isfinite().all()
    with pytest.raises(ValueError, match="at most 6 items"):
        policy.logp(Sequences.from_lists(HISTORIES), lists(1, k=MAX_SLATE + 2))


def test_sizes_are_read_back_from_the_configuration(policy):
    assert (policy.num_items, policy.separator, policy.max_length, policy.max_slate) == (
        V,
        SEP,
        T,
        MAX_SLATE,
    )
    assert policy.lm.config.n_positions == T + MAX_SLATE + 1


@pytest.mark.parametrize("kind", [Path, str])
def test_save_and_load(policy, tmp_path: Path, kind: type):
    ids = [f"raw-{i}" for i in range(1, V + 1)]
    policy.save_pretrained(kind(tmp_path / "policy"), ids, "0123456789abcdef")
    loaded, items, fingerprint = GPTRec.from_pretrained(kind(tmp_path / "policy"))
    assert items == ids
    assert fingerprint == "0123456789abcdef"
    assert not loaded.training
    assert (loaded.num_items, loaded.max_length, loaded.max_slate) == (V, T, MAX_SLATE)
    assert loaded.lm.lm_head.weight is loaded.lm.transformer.wte.weight
    histories, slates = Sequences.from_lists(HISTORIES), lists(2)
    assert torch.equal(loaded.logp(histories, slates), policy.logp(histories, slates))


def test_the_directory_is_a_gpt2_without_pickle(policy, tmp_path: Path):
    policy.save_pretrained(tmp_path, [str(i) for i in range(1, V + 1)], "f")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "vocabulary.json",
    }
    model = GPT2LMHeadModel.from_pretrained(tmp_path)
    tokens, positions = torch.tensor([[3, 7, SEP]]), torch.tensor([[2, 1, 0]])
    scores = policy.score(Sequences.from_lists([[3, 7]]))
    logits = model(tokens, attention_mask=torch.ones(1, 3), position_ids=positions).logits[0, -1]
    torch.testing.assert_close(logits[1 : V + 1], scores[0, 1:], atol=1e-5, rtol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "gpt2"


def test_a_vocabulary_of_another_size_is_refused(policy, tmp_path: Path):
    with pytest.raises(GenrecError, match="2 item ids for a policy of 20 items"):
        policy.save_pretrained(tmp_path, ["a", "b"], "f")


def test_a_directory_without_a_policy(tmp_path: Path):
    for directory in (tmp_path, str(tmp_path), tmp_path / "missing"):
        with pytest.raises(
            FileNotFoundError, match=r"holds no GPTRec: there is no vocabulary\.json"
        ):
            GPTRec.from_pretrained(directory)


@pytest.mark.parametrize("damage", ["", None])
@pytest.mark.parametrize(
    "name", ["vocabulary.json", "config.json", "model.safetensors", "conditioning.safetensors"]
)
def test_an_empty_or_missing_file_is_reported(tmp_path: Path, name: str, damage: str | None):
    policy = tiny()
    policy.condition({"diversity": (0.0, 1.0)})
    policy.save_pretrained(tmp_path, [str(i) for i in range(1, V + 1)], "f")
    assert GPTRec.from_pretrained(tmp_path)[0].ranges == {"diversity": (0, 1)}
    (tmp_path / name).unlink()
    if damage is not None:
        (tmp_path / name).write_text(damage)
    with pytest.raises((GenrecError, FileNotFoundError), match=str(tmp_path)):
        GPTRec.from_pretrained(tmp_path)


def test_loading_leaves_the_random_generator_alone(tmp_path: Path):
    policy = tiny()
    policy.condition({"diversity": (0.0, 1.0)})
    policy.save_pretrained(tmp_path, [str(i) for i in range(1, V + 1)], "f")
    state = torch.random.get_rng_state()
    GPTRec.from_pretrained(tmp_path)
    assert torch.equal(state, torch.random.get_rng_state())
