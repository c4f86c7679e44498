"""Exposure of items by position of the methods of a comparison."""

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np

from genrec.evaluation.methods import Method
from genrec.metrics.exposure import Exposure, summarize_exposure
from genrec.results import PositionExposure


def measure_exposure(method: Method, k: int) -> tuple[PositionExposure, ...]:
    """Exposure of the items of a method's lists in each third of the positions.

    That of a method which is a mean over seeds is the mean of its members': each has lists of its
    own.

    Args:
        method: measured.
        k: K, length of the lists.
    """
    measured = [
        summarize_exposure(member.item_counts, k, member.num_items)
        for member in method.members or (method,)
    ]
    return tuple(_mean(each) for each in zip(*measured, strict=True))


def _mean(of_members: Sequence[Exposure]) -> PositionExposure:
    values = np.mean([astuple(each) for each in of_members], axis=0).tolist()
    _, _, top_share, gini, entropy, distinct = values
    return PositionExposure(
        first=of_members[0].first,
        last=of_members[0].last,
        top_share=top_share,
        gini=gini,
        entropy=entropy,
        distinct=distinct,
    )
