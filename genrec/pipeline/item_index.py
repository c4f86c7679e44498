"""The items that a run knows: raw ids and titles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import RunError
from genrec.pipeline.provenance import ITEMS
from genrec.training.run_directory import RESTORE, read_json

TitledList = list[tuple[str, str]]
"""(raw id, title) of the items of a list, best first."""


@dataclass(frozen=True, eq=False)
class ItemIndex:
    """The items that a run knows.

    Attributes:
        ids: raw ids of items 1..V.
        titles: titles of the same items.
    """

    ids: list[str]
    titles: list[str]

    @classmethod
    def of(cls, run: Path) -> "ItemIndex":
        """The items of a run directory.

        Raises:
            RunError: if the file is missing or has something else in it.
        """
        content = read_json(run / ITEMS)
        ids, titles = _texts(content.get("ids")), _texts(content.get("titles"))
        if ids is None or titles is None or len(ids) != len(titles):
            raise RunError(f"{run / ITEMS} must hold the texts ids and titles: {RESTORE}")
        return cls(ids, titles)

    @property
    def examples(self) -> str:
        """A few ids, for messages."""
        return ", ".join(self.ids[:5])

    def indices(self) -> dict[str, int]:
        """Raw id -> item index."""
        return {raw: i for i, raw in enumerate(self.ids, start=1)}

    def titled(self, slate: NDArray[np.integer]) -> TitledList:
        """Raw ids and titles of item indices."""
        return [(self.ids[i - 1], self.titles[i - 1]) for i in slate]


def _texts(found: object) -> list[str] | None:
    """The list, if it is one of texts."""
    is_list = isinstance(found, list) and all(isinstance(text, str) for text in found)
    return found if is_list else None  # type: ignore[return-value]
