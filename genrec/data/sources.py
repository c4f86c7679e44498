"""One way in: a built-in name, a known dataset or a path becomes a Dataset and a report."""

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
    "demo": "2,000 users and 1,000 films with genres, habits and fashions; made in a moment, no download"
}


@dataclass(frozen=True)
class Loaded:
    """A dataset and what was done to get it."""

    dataset: Dataset
    report: Report


def load(source: str | Path, options: ReadConfig | None = None) -> Loaded:
    """The dataset of a source.

    Args:
        source: "demo"; a known name such as "ml-1m", downloaded when it is not in the cache; or the
            path of a file or folder (write ./demo for a folder that is called demo).
        options: columns, separator and filters.

    Raises:
        DataError: for an unknown source, and for a file that cannot be read as a log.
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
    if name in KNOWN:
        log = replace(log, name=name)
    dataset, report = clean(
        log, options.min_user_events, options.min_item_events, options.drop_repeats
    )
    return Loaded(dataset, report)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, [*BUILT_IN, *KNOWN], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"there is no file, folder or dataset {name!r}.{hint} Built in: {', '.join(BUILT_IN)}."
        f" Known by name: {', '.join(KNOWN)}. Anything else is the path of a file or a folder"
    )


def _built_in(name: str) -> Loaded:
    dataset = demo()
    events, items = len(dataset.sequences.items), dataset.catalogue.num_items
    notes = ("generated, seed 0",)
    return Loaded(
        dataset, Report(name, events, 0, 0, 0, False, 0, 0, 0, 0, "time", items, items, notes, ())
    )
