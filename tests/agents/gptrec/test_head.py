"""The chunked output layer against a float64 log-softmax over the whole catalogue."""

import pytest
import torch

from genrec.agents.gptrec import head
from genrec.agents.gptrec.head import Allowed, Reference, choice_log_probabilities

H, N, V, D, C = 3, 14, 11, 6, 4
BLOCKED = torch.zeros(H, V, dtype=torch.bool)
BLOCKED[:, [0, V - 1]] = True  # PAD and SEP
BLOCKED[0, [2, 3]] = True
BLOCKED[2, 7] = True
HISTORY = torch.tensor([0] * 5 + [1] * 4 + [2] * 5)  # several rows share a history
# fillers repeat PAD, blocked columns, and columns that were named before
PLACED = torch.tensor(
    [[0, 0, 0], [4, 0, 0], [4, 5, 4], [2, 2, 2], [0, 6, 6]] + [[8, 9, 0]] * 4 + [[1, 0, 7]] * 5
)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, weights and allowed columns; the first column of a row comes twice."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(N, D, generator=generator)
    weight = torch.randn(V, D, generator=generator)
    rows = [(~banned(n)).nonzero().flatten().tolist() for n in range(N)]
    columns = torch.tensor(
        [[row[n % 3], row[(n + 1) % 3], row[n % 3], row[-1]] for n, row in enumerate(rows)]
    )
    return states, weight, columns


def banned(row: int) -> torch.Tensor:
    out = BLOCKED[HISTORY[row]].clone()
    out[PLACED[row]] = True
    return out


def plain(
    states: torch.Tensor, weight: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Row by row over the allowed columns only, whatever the type."""
    logp, entropy = [], []
    for n in range(N):
        free = (~banned(n)).nonzero().flatten()
        each = torch.log_softmax(weight[free] @ states[n], dim=0)
        places = [free.tolist().index(int(column)) for column in columns[n]]
        logp.append(each[places])
        entropy.append(-(each.exp() * each).sum())
    return torch.stack(logp), torch.stack(entropy)


@pytest.fixture(params=[512, 5, 1, N], ids="rows {}".format)
def rows(request, monkeypatch) -> int:
    monkeypatch.setattr(head, "ROWS", request.param)
    return request.param


def allowed() -> Allowed:
    return Allowed(BLOCKED, HISTORY, PLACED)


@pytest.mark.parametrize("with_entropy", [False, True])
def test_values(rows, with_entropy):
    states, weight, columns = inputs()
    logp, entropy, _ = choice_log_probabilities(
        states, weight, allowed=allowed(), columns=columns, with_entropy=with_entropy
    )
    expected, entropies = plain(states.double(), weight.double(), columns)
    torch.testing.assert_close(logp.double(), expected, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(
        entropy.double(), entropies if with_entropy else torch.zeros(N).double(), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize(("to_logp", "to_entropy"), [(1.0, 0.0), (0.0, 1.0), (1.0, -0.7)])
def test_gradients(rows, to_logp, to_entropy):
    states, weight, columns = inputs()
    generator = torch.Generator().manual_seed(1)
    of_logp = to_logp * torch.randn(N, C, generator=generator)
    of_entropy = to_entropy * torch.randn(N, generator=generator)
    made, exact = [], []
    for function, dtype, out in (
        (choice_log_probabilities, torch.float32, made),
        (plain, torch.float64, exact),
    ):
        leaves = [each.to(dtype).detach().clone().requires_grad_() for each in (states, weight)]
        if function is plain:
            logp, entropy = plain(*leaves, columns)
        else:
            logp, entropy, _ = choice_log_probabilities(
                *leaves, allowed=allowed(), columns=columns, with_entropy=to_entropy != 0
            )
        ((of_logp * logp).sum() + (of_entropy * entropy).sum()).backward()
        out.extend(leaf.grad.double() for leaf in leaves)
    for ours, theirs in zip(made, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_divergence_from_a_reference(rows):
    """Value and gradient are those of KL(p ‖ q) over the whole distributions, in float64."""
    states, weight, columns = inputs()
    generator = torch.Generator().manual_seed(2)
    other = Reference(
        torch.randn(N, 3, generator=generator), torch.randn(len(weight), 3, generator=generator)
    )
    of_kl = torch.randn(N, generator=generator)
    leaves = [states.clone().requires_grad_(), weight.clone().requires_grad_()]
    _, entropy, kl = choice_log_probabilities(
        *leaves, allowed=allowed(), columns=columns, reference=other
    )
    assert not entropy.any()
    (of_kl * kl).sum().backward()

    exact = [states.double().requires_grad_(), weight.double().requires_grad_()]
    divergences = []
    for n in range(N):
        free = (~banned(n)).nonzero().flatten()
        log_p = torch.log_softmax(exact[1][free] @ exact[0][n], dim=0)
        log_q = torch.log_softmax(other.weight[free].double() @ other.states[n].double(), dim=0)
        divergences.append((log_p.exp() * (log_p - log_q)).sum())
    expected = torch.stack(divergences)
    torch.testing.assert_close(kl.double(), expected, atol=2e-6, rtol=1e-6)
    (of_kl.double() * expected).sum().backward()
    for ours, theirs in zip(leaves, exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-5, rtol=1e-5)


def test_the_divergence_by_hand():
    """p = (3/4, 1/4) and q = (1/2, 1/2): 3/4·log(3/2) + 1/4·log(1/2) = .1308."""
    free = Allowed(torch.zeros(1, 2, dtype=torch.bool), torch.tensor([0]), torch.zeros(1, 0).long())
    one = torch.ones(1, 1)
    found = choice_log_probabilities(
        one,
        torch.tensor([[3.0], [1.0]]).log(),
        allowed=free,
        columns=torch.tensor([[0]]),
        reference=Reference(one, torch.zeros(2, 1)),
    )
    torch.testing.assert_close(found.kl, torch.tensor([0.130812]))


def test_two_equal_choices_by_hand():
    """Of columns 0..3, 0 is blocked and 1 placed: two equal logits, log-probability -log 2 and
    entropy log 2."""
    blocked = torch.tensor([[True, False, False, False]])
    free = Allowed(blocked, torch.tensor([0]), torch.tensor([[1]]))
    logp, entropy, _ = choice_log_probabilities(
        torch.ones(1, 2),
        torch.ones(4, 2),
        allowed=free,
        columns=torch.tensor([[2, 3]]),
        with_entropy=True,
    )
    torch.testing.assert_close(logp, torch.tensor([[-0.693147, -0.693147]]))
    torch.testing.assert_close(entropy, torch.tensor([0.693147]))


def test_a_single_choice_has_no_entropy_and_no_gradient():
    blocked = torch.tensor([[True, True, False]])
    states, weight = torch.ones(1, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    free = Allowed(blocked, torch.tensor([0]), torch.tensor([[0]]))
    logp, entropy, _ = choice_log_probabilities(
        states, weight, allowed=free, columns=torch.tensor([[2]]), with_entropy=True
    )
    assert (logp.item(), entropy.item()) == (0, 0)
    (logp.sum() + entropy.sum()).backward()
    assert not states.grad.any()
    assert not weight.grad.any()


def test_a_choice_that_is_not_allowed_is_impossible():
    states, weight, _ = inputs()
    logp, _, _ = choice_log_probabilities(
        states, weight, allowed=allowed(), columns=torch.zeros(N, 1, dtype=torch.long)
    )
    assert (logp < -9e8).all()


def test_bfloat16_is_close():
    states, weight, columns = inputs()
    leaves = [states.requires_grad_(), weight.requires_grad_()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logp, entropy, _ = choice_log_probabilities(
            *leaves, allowed=allowed(), columns=columns, with_entropy=True
        )
    assert logp.dtype == entropy.dtype == torch.float32
    expected, entropies = plain(*leaves, columns)
    torch.testing.assert_close(logp, expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(entropy, entropies, atol=0.05, rtol=0.02)
    (logp.mean() + 0.3 * entropy.mean()).backward()
    narrow = [leaf.grad.clone() for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    (expected.mean() + 0.3 * entropies.mean()).backward()
    for ours, leaf in zip(narrow, leaves, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, leaf.grad, atol=0.02, rtol=0.05)
