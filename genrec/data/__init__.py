"""Interaction logs: reading, storing, splitting."""

from genrec.data.dataset import Catalogue, Dataset, make_catalogue
from genrec.data.sequences import PAD, Sequences
from genrec.data.splits import Cases, Split, global_time, leave_one_out, split

__all__ = [
    "PAD",
    "Cases",
    "Catalogue",
    "Dataset",
    "Sequences",
    "Split",
    "global_time",
    "leave_one_out",
    "make_catalogue",
    "split",
]
