"""The policy's output layer without its memory traffic: log-probabilities of a few items among all,
in pieces."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

# scored at a time: (128, V) logits stay in the processor's cache for catalogues of thousands
ROWS = 128
MOST_LOGITS = 2**27  # and at most so many for catalogues of millions: 512 MB
NEVER = -1e9  # finite, so that p log p is 0 where p is 0


def choice_log_probabilities(
    states: torch.Tensor,
    weight: torch.Tensor,
    allowed: "Allowed",
    columns: torch.Tensor,
    with_entropy: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log softmax(masked h·Wᵀ) at a few columns, and the entropy of the whole distribution; both
    differentiable.

    Neither pass holds (N, V) logits: they are made, used and dropped ROWS at a time, and made again
    in the backward pass, in the manner of cut cross-entropy [Wijmans et al. 2024]. Under autocast
    products are in its type, sums in float32.

    Args:
        states: (N, D).
        weight: (V, D) of the output layer.
        allowed: which columns each row may choose.
        columns: (N, C) the choices asked for.
        with_entropy: whether entropies are wanted; zeros otherwise.

    Returns:
        log-probabilities (N, C) and entropies (N,), float32. Asking for a column that is not
        allowed gives about -1e9.
    """
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    out: tuple[torch.Tensor, torch.Tensor] = _Choice.apply(  # type: ignore[no-untyped-call]
        states, weight, allowed, columns, dtype, with_entropy
    )
    return out


class Allowed:
    """Which of V columns each of N rows may choose: not what its history blocks, not what its list
    holds.

    Args:
        blocked: (H, V) bool, by history.
        history: (N,) the history of each row.
        placed: (N, P) columns that the row's list holds already; repeats and blocked columns are
            harmless fillers.
    """

    def __init__(self, blocked: torch.Tensor, history: torch.Tensor, placed: torch.Tensor) -> None:
        self.blocked = blocked
        self.history = history
        self.placed = placed

    def apply(self, logits: torch.Tensor, rows: slice) -> torch.Tensor:
        """Logits of those rows with NEVER at what they may not choose; in place."""
        logits.masked_fill_(self.blocked[self.history[rows]], NEVER)
        return logits.scatter_(1, self.placed[rows], NEVER)


class _Choice(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        allowed: Allowed,
        columns: torch.Tensor,
        dtype: torch.dtype,
        with_entropy: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        narrow, table = states.to(dtype), weight.to(dtype)
        entropies = torch.zeros(len(states), device=states.device)
        chosen = torch.empty(columns.shape, device=states.device)
        with torch.autocast(states.device.type, enabled=False):
            for rows in _pieces(len(states), len(weight)):
                logits = allowed.apply((narrow[rows] @ table.T).float(), rows)
                log_p = torch.log_softmax(logits, dim=1)
                chosen[rows] = log_p.gather(1, columns[rows])
                if with_entropy:
                    entropies[rows] = -torch.softmax(logits, dim=1).mul_(log_p).sum(dim=1)
        ctx.save_for_backward(narrow, table, columns, entropies)
        ctx.allowed, ctx.types = allowed, (states.dtype, weight.dtype)
        return chosen, entropies

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_chosen: torch.Tensor, to_entropy: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        narrow, table, columns, entropies = ctx.saved_tensors
        to_states = torch.empty_like(narrow)
        to_weight = torch.zeros(table.shape, device=table.device)
        wants_entropy = bool(to_entropy.any())
        for rows in _pieces(len(narrow), len(table)):
            logits = ctx.allowed.apply((narrow[rows] @ table.T).float(), rows)
            grad = torch.softmax(logits, dim=1)  # times what follows is the gradient of the logits
            bend = -to_chosen[rows].sum(dim=1, keepdim=True)
            if wants_entropy:  # dH/dlogit = -p (log p + H)
                bend = bend - (torch.log_softmax(logits, dim=1) + entropies[rows, None]).mul_(
                    to_entropy[rows, None]
                )
            grad.mul_(bend)
            grad = grad.scatter_add_(1, columns[rows], to_chosen[rows]).to(narrow.dtype)
            to_states[rows] = grad @ table
            to_weight += (grad.T @ narrow[rows]).float()
        return to_states.to(ctx.types[0]), to_weight.to(ctx.types[1]), None, None, None, None


def _pieces(size: int, columns: int) -> list[slice]:
    rows = max(1, min(ROWS, MOST_LOGITS // columns))
    return [slice(start, min(start + rows, size)) for start in range(0, size, rows)]
