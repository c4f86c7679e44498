"""Loading a dataset from its source: a built-in name, a known dataset, or a path."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from genrec.config.errors import DataError
from genrec.data.config import ReadConfig
from genrec.data.dataset import Dataset
from genrec.data.download import KNOWN, fetch
from genrec.data.formats import read_log
from genrec.data.interactions import Report, clean
from genrec.data.synthetic import demo

BUILT_IN = {
    "demo": "2,000 users and 1,000 films with genres, habits and changing moods; generated in a"
    " moment, no download"
}


@dataclass(frozen=True)
class Loaded:
    """A dataset, and a report of how it was read and cleaned."""

    dataset: Dataset
    report: Report


def load(source: str | Path, options: ReadConfig | None = None) -> Loaded:
    """The dataset of a source.

    Args:
        source: "demo"; a known name such as "ml-1m", downloaded if it is not in the cache; or the
            path of a file or folder (write ./demo for a folder called demo).
        options: columns, separator and filters.

    Raises:
        DataError: for an unknown source, or a file that cannot be read as a log.
    """
    options = options or ReadConfig()
    name = str(source)
    if name in BUILT_IN:
        if options != ReadConfig():
            raise DataError(
                f"{name} is built in and takes no options for reading or filtering; leave them out"
            )
        return _built_in(name)
    path = fetch(name) if name in KNOWN else Path(source).expanduser()
    if not path.exists():
        raise DataError(_unknown(name))
    log = read_log(path, options)
    if name in KNOWN:  # not by the name of the cache folder
        log = replace(log, name=name)
    dataset, report = clean(
        log,
        min_user_events=options.min_user_events,
        min_item_events=options.min_item_events,
        drop_repeats=options.drop_repeats,
    )
    return Loaded(dataset, report)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*BUILT_IN, *KNOWN], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"there is no file, folder or dataset {name!r}.{hint} Built in: {', '.join(BUILT_IN)}."
        f" Known by name: {', '.join(KNOWN)}. Anything else must be the path of a file or a folder"
    )


def _built_in(name: str) -> Loaded:
    dataset = demo()
    items = dataset.catalogue.num_items
    report = Report(
        source=name,
        rows=len(dataset.sequences.items),
        order="time",
        titled_items=items,
        featured_items=items,
        notes=("generated, seed 0",),
    )
    return Loaded(dataset, report)
