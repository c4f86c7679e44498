"""Output layer of the policy, evaluated in chunks of rows so that no (N, V) table is held."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

# Rows per chunk: (128, V) logits stay in the processor's cache for catalogues of thousands.
ROWS = 128
# Logits per chunk: bounds the memory of a chunk to 512 MB for catalogues of millions.
MAX_LOGITS = 2**27
# Finite stand-in for -inf, so that p·log p is 0, not NaN, where p is 0.
MASKED = -1e9


class Allowed:
    """Columns that each row may choose: neither blocked by its history nor placed in its list.

    Args:
        blocked: (H, V) bool, per history.
        history: (N,) index of each row's history.
        placed: (N, P) columns already in the row's list; repeated and blocked columns are harmless
            fillers.
    """

    def __init__(self, blocked: torch.Tensor, history: torch.Tensor, placed: torch.Tensor) -> None:
        self.blocked = blocked
        self.history = history
        self.placed = placed

    def apply(self, logits: torch.Tensor, rows: slice) -> torch.Tensor:
        """Set the logits of columns that those rows may not choose to MASKED, in place."""
        logits.masked_fill_(self.blocked[self.history[rows]], MASKED)
        return logits.scatter_(1, self.placed[rows], MASKED)


@dataclass(frozen=True, eq=False)
class Reference:
    """Another policy that chooses from the same columns.

    Attributes:
        states: (..., D) its states.
        weight: (V, D) its output layer.
    """

    states: torch.Tensor
    weight: torch.Tensor


class Choices(NamedTuple):
    """Statistics of the distributions p of N rows over V columns, float32.

    Attributes:
        logp: log p of some columns.
        entropy: −Σ p·log p in nats; zeros where it was not asked for.
        kl: KL(p ‖ q) = Σ p·(log p − log q) from the distributions q of the reference, in nats;
            zeros without a reference.
    """

    logp: torch.Tensor
    entropy: torch.Tensor
    kl: torch.Tensor


def choice_log_probabilities(
    states: torch.Tensor,
    weight: torch.Tensor,
    *,
    allowed: Allowed,
    columns: torch.Tensor,
    with_entropy: bool = False,
    reference: Reference | None = None,
) -> Choices:
    """Differentiable log softmax(masked h·Wᵀ) at a few columns, its entropy and its divergence.

    Neither pass holds (N, V) logits: they are computed, used and dropped one chunk of rows at a
    time, and recomputed in the backward pass, as in cut cross-entropy [Wijmans et al. 2024]. Under
    autocast, products are computed in its type and sums in float32.

    Args:
        states: (N, D).
        weight: (V, D) of the output layer.
        allowed: columns that each row may choose.
        columns: (N, C) columns whose log-probabilities are returned.
        with_entropy: whether to compute entropies.
        reference: with states (N, D'), for the divergence from its distributions; it has no
            gradient.

    Returns:
        Log-probabilities (N, C), entropies (N,) and divergences (N,). The log-probability of a
        column that is not allowed is about -1e9.
    """
    device_type = states.device.type
    dtype = (
        torch.get_autocast_dtype(device_type)
        if torch.is_autocast_enabled(device_type)
        else states.dtype
    )
    request = _Request(allowed, dtype, with_entropy, reference)
    found: tuple[torch.Tensor, ...] = _Choice.apply(  # type: ignore[no-untyped-call]
        states, weight, columns, request
    )
    return Choices(*found)


@dataclass(frozen=True, eq=False)
class _Request:
    """Arguments of ``_Choice`` that have no gradient."""

    allowed: Allowed
    dtype: torch.dtype
    with_entropy: bool
    reference: Reference | None

    def reference_log_p(self, rows: slice) -> torch.Tensor | None:
        """Log-probabilities (n, V) of those rows under the reference; None without one."""
        if self.reference is None:
            return None
        states, weight = self.reference.states[rows], self.reference.weight
        logits = (states.to(self.dtype) @ weight.to(self.dtype).T).float()
        return torch.log_softmax(self.allowed.apply(logits, rows), dim=1)


class _Choice(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        columns: torch.Tensor,
        request: _Request,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h, table = states.to(request.dtype), weight.to(request.dtype)
        entropies = torch.zeros(len(states), device=states.device)
        divergences = torch.zeros_like(entropies)
        chosen = torch.empty(columns.shape, device=states.device)
        # Autocast is off inside: the products are in its type already, the softmax stays float32.
        with torch.autocast(states.device.type, enabled=False):
            for rows in row_chunks(len(states), len(weight)):
                logits = request.allowed.apply((h[rows] @ table.T).float(), rows)
                log_p = torch.log_softmax(logits, dim=1)
                chosen[rows] = log_p.gather(1, columns[rows])
                log_q = request.reference_log_p(rows)
                if log_q is not None:
                    difference = (log_p - log_q).mul_(torch.softmax(logits, dim=1))
                    divergences[rows] = difference.sum(dim=1)
                if request.with_entropy:
                    entropies[rows] = -torch.softmax(logits, dim=1).mul_(log_p).sum(dim=1)
        ctx.save_for_backward(h, table, columns, entropies, divergences)
        ctx.request, ctx.types = request, (states.dtype, weight.dtype)
        return chosen, entropies, divergences

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_chosen: torch.Tensor, grad_entropy: torch.Tensor, grad_kl: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        h, table, columns, entropies, divergences = ctx.saved_tensors
        grad_states = torch.empty_like(h)
        grad_weight = torch.zeros(table.shape, device=table.device)
        entropy_counts, kl_counts = bool(grad_entropy.any()), bool(grad_kl.any())
        for rows in row_chunks(len(h), len(table)):
            logits = ctx.request.allowed.apply((h[rows] @ table.T).float(), rows)
            # d log p_c / d logit = 1[c] − p, d entropy / d logit = −p·(log p + entropy), and
            # d KL / d logit = p·(log p − log q − KL): all have the factor p, so the gradient of the
            # logits is p·scale plus the indicators.
            scale = -grad_chosen[rows].sum(dim=1, keepdim=True)
            grad = torch.softmax(logits, dim=1)
            if entropy_counts or kl_counts:
                log_p = torch.log_softmax(logits, dim=1)
            if entropy_counts:
                scale = scale - (log_p + entropies[rows, None]) * grad_entropy[rows, None]
            if kl_counts:
                log_ratio = log_p - ctx.request.reference_log_p(rows)
                scale = scale + (log_ratio - divergences[rows, None]) * grad_kl[rows, None]
            grad.mul_(scale)
            grad = grad.scatter_add_(1, columns[rows], grad_chosen[rows]).to(h.dtype)
            grad_states[rows] = grad @ table
            grad_weight += (grad.T @ h[rows]).float()
        return grad_states.to(ctx.types[0]), grad_weight.to(ctx.types[1]), None, None


def row_chunks(rows: int, columns: int) -> list[slice]:
    """Slices over rows, each small enough for its (rows, columns) logits to be held at once.

    >>> row_chunks(300, 1000)
    [slice(0, 128, None), slice(128, 256, None), slice(256, 300, None)]
    """
    size = max(1, min(ROWS, MAX_LOGITS // columns))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
