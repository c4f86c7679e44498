"""What else moved: metrics that were not rewarded, and how far a policy went from its student."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences
from genrec.evaluation.curves import OWN, curves_of, policy_of
from genrec.evaluation.methods import Entrant
from genrec.metrics.context import Floats, Slates
from genrec.metrics.significance import holm, paired_t
from genrec.recommender import batches

HISTORIES_AT_ONCE = 128


def moved(entrants: Sequence[Entrant], axis: str, rewarded: Sequence[str]) -> list[dict[str, Any]]:
    """Every list metric that was not rewarded, against what the lists were made from.

    The policy, at the middle one of its weights, and its supervised warm-up are compared with the student.
    A re-ranker is compared with the teacher, at the weight of its grid at which the goal comes
    nearest to the policy's.

    Args:
        entrants: judged.
        axis: metric of the goal, such as "diversity@10".
        rewarded: metrics that are left out.

    Returns:
        For each: method, weight, what it is compared ``with``, and ``changes``: metric ->
        difference, its standard error, and the p-value of a paired t-test, corrected over all of
        them [Holm 1979]; metrics of all lists together have neither error nor p-value.
    """
    by_name = {entrant.method: entrant for entrant in entrants} | {OWN: policy_of(entrants)}
    level = by_name[OWN].mean(axis)
    pairs = [
        (by_name[name], by_name["student"])
        for name in (OWN, "supervised warm-up")
        if name in by_name
    ]
    for curve in curves_of(entrants).values():
        nearest = min(curve, key=lambda entrant: abs(entrant.mean(axis) - level))
        pairs.append((nearest, by_name["teacher"]))
    changes = [_changes(entrant, origin, (*rewarded, "objective")) for entrant, origin in pairs]
    tested = [change for row in changes for change in row.values() if "p" in change]
    for change, p_value in zip(tested, holm([change["p"] for change in tested]), strict=True):
        change["p"] = float(p_value)
    return [
        {"method": entrant.method, "weight": entrant.weight, "with": origin.method, "changes": row}
        for (entrant, origin), row in zip(pairs, changes, strict=True)
    ]


def _changes(
    entrant: Entrant, origin: Entrant, left_out: Sequence[str]
) -> dict[str, dict[str, float]]:
    changes: dict[str, dict[str, float]] = {}
    for name in entrant.per_user:
        if name not in left_out:
            one, other = (
                entrant.values(name).astype(np.float64),
                origin.values(name).astype(np.float64),
            )
            test = paired_t(one, other)
            error = float((one - other).std(ddof=1) / np.sqrt(len(one)))
            changes[name] = {"difference": test.difference, "error": error, "p": test.p_value}
    for name, value in entrant.overall.items():
        changes[name] = {"difference": value - origin.overall[name]}
    return changes


@dataclass(frozen=True, eq=False)
class Trail:
    """How far a policy is from its student, and how sure of its choices, position by position.

    Attributes:
        method: the entrant.
        policy: that wrote the lists.
        kl: (B, K) a batch, KL divergence from the student in nats.
        entropy: (B, K) a batch, in nats.
    """

    method: str
    policy: GPTRec
    kl: list[Floats] = field(default_factory=list)
    entropy: list[Floats] = field(default_factory=list)

    def follow(self, student: GPTRec, histories: Sequences, slates: Slates) -> None:
        """Add a batch of lists."""
        kl, entropy = divergence(self.policy, student, histories, slates)
        self.kl.append(kl)
        self.entropy.append(entropy)

    def summary(self) -> dict[str, Any]:
        """Method, and means over the lists at each position."""
        kl, entropy = (
            np.concatenate(self.kl).mean(axis=0),
            np.concatenate(self.entropy).mean(axis=0),
        )
        return {"method": self.method, "kl": kl.tolist(), "entropy": entropy.tolist()}


@torch.no_grad()
def divergence(
    policy: GPTRec, student: GPTRec, histories: Sequences, slates: Slates
) -> tuple[Floats, Floats]:
    """KL divergence from a student and entropy of a policy, at each position of lists that are
    there.

    KL_i = Σ_c π(c | h, g_<i) · log (π(c | h, g_<i) / student(c | h, g_<i)),   H_i = −Σ_c π(c | ·)
    log π(c | ·).

    Both policies choose from the same items. A policy that was sharpened before it explored is far
    from its student for that reason alone.

    Args:
        policy: π.
        student: what it came from.
        histories: B histories.
        slates: (B, K) lists.

    Returns:
        KL and entropy, each (B, K), in nats.
    """
    parts: list[tuple[Floats, Floats]] = []
    done = 0
    for batch in batches(histories, HISTORIES_AT_ONCE):
        lists = torch.from_numpy(slates[done : done + len(batch), None]).to(policy.device)
        own = policy.log_distribution(batch, lists)[:, 0]
        other = own if policy is student else student.log_distribution(batch, lists)[:, 0]
        possible = own > -torch.inf
        chance = own.exp()
        kl = torch.where(possible, chance * (own - other), 0.0).sum(dim=2)
        entropy = -torch.where(possible, chance * own, 0.0).sum(dim=2)
        parts.append((kl.cpu().numpy(), entropy.cpu().numpy()))
        done += len(batch)
    return np.concatenate([kl for kl, _ in parts]), np.concatenate(
        [entropy for _, entropy in parts]
    )
