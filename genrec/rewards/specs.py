"""Specs of rewards made complete: a weight for each, an accuracy reward, files that are found from
anywhere."""

from collections.abc import Sequence
from pathlib import Path

from genrec.config.errors import GenrecError
from genrec.rewards.ranges import read_weight, split_spec
from genrec.rewards.registry import parse

ACCURACY = ("relevance", "ndcg")
MIXED = ("relevance=0.5", "ndcg=0.5")


def complete_specs(specs: Sequence[str], accuracy: str = "none", weight: float = 1.0) -> list[str]:
    """``target=weight`` of the named rewards, with the accuracy reward first unless one is named or
    it is "none".

    The path of a reward file is made absolute, so that a run finds it again from any folder.

    Args:
        specs: such as ``["diversity=0.5"]`` or ``["diversity=0:2"]``.
        accuracy: "relevance", "ndcg", "mixed", which is half of each, or "none".
        weight: of a reward that is named without one; an accuracy reward then has 1.

    Raises:
        GenrecError: if that leaves no reward at all, or one of them cannot be found.
    """
    if accuracy == "none" and not specs:
        raise GenrecError("no reward is left: name one, for instance --reward diversity=0.5")
    full = [_complete(spec, weight) for spec in specs]
    if accuracy == "none" or any(term.name in ACCURACY for term, _ in map(parse, full)):
        return full
    return [*(MIXED if accuracy == "mixed" else [f"{accuracy}=1"]), *full]


def _complete(spec: str, weight: float) -> str:
    parse(spec)
    target, text = split_spec(spec)
    unsaid = 1.0 if target in ACCURACY else weight
    ends = dict.fromkeys(read_weight(text, target)) if text else (unsaid,)
    place, _, attribute = target.rpartition(":")
    target = f"{Path(place).resolve()}:{attribute}" if place.endswith(".py") else target
    return f"{target}={':'.join(f'{end:.12g}' for end in ends)}"


def span_specs(runs: Sequence[Sequence[str]]) -> list[str]:
    """The complete specs of several runs as one: a weight that differs, or is a range, becomes the
    range of them all.

    Raises:
        GenrecError: if the runs have other rewards than each other.

    >>> span_specs([["relevance=1", "diversity=0.1"], ["relevance=1", "diversity=0.5"]])
    ['relevance=1', 'diversity=0.1:0.5']
    """
    split = [[split_spec(spec) for spec in specs] for specs in runs]
    targets = [target for target, _ in split[0]]
    for specs in split:
        if [target for target, _ in specs] != targets:
            others = ", ".join(target for target, _ in specs)
            raise GenrecError(
                f"a run for {', '.join(targets)} and one for {others} are no points of one curve"
            )
    spans = []
    for place, target in enumerate(targets):
        ends = [end for specs in split for end in read_weight(specs[place][1], target)]
        spans.append(
            f"{target}={':'.join(f'{end:.12g}' for end in sorted({min(ends), max(ends)}))}"
        )
    return spans


def reward_files(specs: Sequence[str]) -> list[str]:
    """The files among specs, such as ``/folder/my_reward.py`` of
    ``/folder/my_reward.py:fresh=0.3``."""
    places = [split_spec(spec)[0].rpartition(":")[0] for spec in specs]
    return [place for place in places if place.endswith(".py")]
