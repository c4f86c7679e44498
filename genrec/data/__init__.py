"""Interaction logs: reading, storing, splitting."""

from genrec.data import synthetic
from genrec.data.dataset import Catalogue, Dataset, make_catalogue
from genrec.data.formats import ReadOptions
from genrec.data.interactions import DataError, Log, Report, clean
from genrec.data.sequences import PAD, Sequences
from genrec.data.sources import Loaded, load
from genrec.data.splits import Cases, Split, global_time, leave_one_out, split

__all__ = [
    "PAD",
    "Cases",
    "Catalogue",
    "DataError",
    "Dataset",
    "Loaded",
    "Log",
    "ReadOptions",
    "Report",
    "Sequences",
    "Split",
    "clean",
    "global_time",
    "leave_one_out",
    "load",
    "make_catalogue",
    "split",
    "synthetic",
]
