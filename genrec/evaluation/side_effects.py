"""Side effects of an alignment: metrics that were not rewarded, divergence from the student."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences
from genrec.evaluation.methods import OWN, Method, curves_of, policy_of
from genrec.metrics.context import Floats, Slates
from genrec.metrics.significance import holm, paired_t
from genrec.recommender import batches
from genrec.results import Change, PolicyStatistics, SideEffects

BATCH_SIZE = 128


def measure_side_effects(
    methods: Sequence[Method], axis: str, rewarded: Sequence[str]
) -> list[SideEffects]:
    """Change of every metric that was not rewarded, against the lists that a method started from.

    The policy, at the middle one of its weights, and its supervised warm-up are compared with the
    student. A re-ranker is compared with the teacher, at the weight of its grid whose goal is
    nearest to that of the policy.

    Args:
        methods: measured.
        axis: metric of the goal, such as "diversity@10".
        rewarded: metrics to leave out.

    Returns:
        One entry per method. p-values are those of paired t-tests with Holm's correction over all
        changes of all methods; metrics of all lists together are not tested.
    """
    # Of a name with several weights the last one is kept; the policy's is chosen on purpose.
    by_name = {method.name: method for method in methods} | {OWN: policy_of(methods)}
    level = by_name[OWN].mean(axis)
    pairs = [
        (by_name[name], by_name["student"])
        for name in (OWN, "supervised warm-up")
        if name in by_name
    ]
    for curve in curves_of(methods).values():
        distances = [abs(method.mean(axis) - level) for method in curve]
        pairs.append((curve[int(np.argmin(distances))], by_name["teacher"]))
    found = [
        SideEffects(
            method=method.name,
            weight=method.weight,
            reference=reference.name,
            changes=_changes(method, reference, left_out=(*rewarded, "objective")),
        )
        for method, reference in pairs
    ]
    return _corrected(found)


def _changes(method: Method, reference: Method, *, left_out: Sequence[str]) -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for name in method.per_user:
        if name in left_out:
            continue
        own = method.values(name).astype(np.float64)
        other = reference.values(name).astype(np.float64)
        test = paired_t(own, other)
        error = float((own - other).std(ddof=1) / np.sqrt(len(own)))
        changes[name] = Change(difference=test.difference, error=error, p=test.p_value)
    for name, value in method.overall.items():
        changes[name] = Change(difference=value - reference.overall[name])
    return changes


def _corrected(found: Sequence[SideEffects]) -> list[SideEffects]:
    """The same with Holm's correction over all p-values."""
    raw = [change.p for each in found for change in each.changes.values() if change.p is not None]
    p_values = iter(holm(raw).tolist())
    corrected = []
    for each in found:
        changes = {
            name: change if change.p is None else change.model_copy(update={"p": next(p_values)})
            for name, change in each.changes.items()
        }
        corrected.append(each.model_copy(update={"changes": changes}))
    return corrected


@dataclass(eq=False)
class PolicyDivergence:
    """Divergence of a policy from its student and its entropy, collected batch by batch.

    Attributes:
        method: name of the method whose lists are followed.
        policy: which wrote the lists.
        kl: one array (B, K) per batch, KL divergence from the student in nats.
        entropy: one array (B, K) per batch, in nats.
    """

    method: str
    policy: GPTRec
    kl: list[Floats] = field(default_factory=list)
    entropy: list[Floats] = field(default_factory=list)

    def add(self, student: GPTRec, histories: Sequences, slates: Slates) -> None:
        """Measure a batch of lists.

        Args:
            student: which the policy is compared with.
            histories: B histories.
            slates: (B, K) lists of the policy.
        """
        kl, entropy = divergence(self.policy, student, histories=histories, slates=slates)
        self.kl.append(kl)
        self.entropy.append(entropy)

    def summary(self) -> PolicyStatistics:
        """Means over the lists at each position."""
        kl = np.concatenate(self.kl).mean(axis=0).tolist()
        entropy = np.concatenate(self.entropy).mean(axis=0).tolist()
        return PolicyStatistics(method=self.method, kl=kl, entropy=entropy)


@torch.no_grad()
def divergence(
    policy: GPTRec, student: GPTRec, *, histories: Sequences, slates: Slates
) -> tuple[Floats, Floats]:
    """KL divergence of a policy from its student, and its entropy, at each position of given lists.

    KL_i = Σ_c π(c | h, g_<i) · log (π(c | h, g_<i) / student(c | h, g_<i)),
    H_i = −Σ_c π(c | h, g_<i) · log π(c | h, g_<i).

    Both policies choose from the same items. A policy whose temperature was changed before it
    explored differs from its student for that reason alone.

    Args:
        policy: π.
        student: which the alignment started from.
        histories: B histories h.
        slates: (B, K) lists g.

    Returns:
        KL and entropy, each (B, K), in nats.
    """
    kls: list[Floats] = []
    entropies: list[Floats] = []
    done = 0
    for batch in batches(histories, BATCH_SIZE):
        lists = torch.from_numpy(slates[done : done + len(batch), None]).to(policy.device)
        log_policy = policy.log_distribution(batch, lists)[:, 0]
        log_student = log_policy
        if policy is not student:
            log_student = student.log_distribution(batch, lists)[:, 0]
        # Items that may not be chosen have -inf under both: 0 · (-inf) must count as 0.
        possible = log_policy > -torch.inf
        probabilities = log_policy.exp()
        kl = torch.where(possible, probabilities * (log_policy - log_student), 0.0).sum(dim=2)
        entropy = -torch.where(possible, probabilities * log_policy, 0.0).sum(dim=2)
        kls.append(kl.cpu().numpy())
        entropies.append(entropy.cpu().numpy())
        done += len(batch)
    return np.concatenate(kls), np.concatenate(entropies)
