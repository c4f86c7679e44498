"""Item files: titles and features of items beside a log."""

from pathlib import Path

import pandas as pd

from genrec.config.errors import DataError
from genrec.data.tables import choose_column, read_table, text_lines

Items = tuple[dict[str, str], dict[str, list[str]]]
"""From raw id to title, and from raw id to the names of its features."""

# Usual names of columns, compared without case; the first one that a table has is used.
ID_NAMES = (
    "item_id", "item", "itemid", "movieid", "movie_id", "product_id", "productid", "asin", "sku",
    "id",
)  # fmt: skip
TITLE_NAMES = ("title", "name", "item_name", "product_title", "movie_title")
FEATURE_NAMES = ("genres", "genre", "features", "categories", "category", "tags", "class")
NO_FEATURES = ("", "(no genres listed)")
ML_100K_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip


def find_items(log_file: Path) -> Path | None:
    """The item file beside a log, None if there is none.

    Its name is ``<stem>.items.csv``, items.csv, movies.csv, movies.dat or u.item.
    """
    # The name that genrec writes comes first, then the usual ones.
    names = (f"{log_file.stem}.items.csv", "items.csv", "movies.csv", "movies.dat", "u.item")
    files = [log_file.with_name(name) for name in names]
    return next((file for file in files if file.is_file()), None)


def read_items(path: Path) -> Items:
    """Titles and features by raw item id.

    Files called movies.dat (``id::title::genres``) and u.item (ml-100k) are read in MovieLens' own
    formats. Any other file is a table with a column for the id (item_id, item, movieId, ...) and,
    each if present, columns for the title (title, name) and the features (genres, categories, ...:
    names joined by ``|``).

    Raises:
        DataError: for a missing file or id column.
    """
    if not path.is_file():
        raise DataError(
            f"there is no item file {path}; give the path of an existing file with the option items"
            " (--items)"
        )
    if path.name == "movies.dat":
        return _read_movies_dat(path)
    if path.name == "u.item":
        return _read_u_item(path)
    table = read_table(path, None)
    names = list(table.columns)
    key = choose_column(path, names, None, role="item id", usual=ID_NAMES)
    title = choose_column(path, names, None, role="title", usual=TITLE_NAMES, required=False)
    features = choose_column(
        path, names, None, role="features", usual=FEATURE_NAMES, required=False
    )
    table = table[table[key].notna()]
    ids = table[key].astype(str)
    return (
        _titles(ids, table[title]) if title else {},
        _features(ids, table[features].fillna("").astype(str)) if features else {},
    )


def _titles(ids: pd.Series, titles: pd.Series) -> dict[str, str]:
    """From raw id to title, on one line: tabs and line ends would break tables that show it."""
    known = titles.notna().to_numpy()
    one_line = titles[known].astype(str).str.split().str.join(" ")
    return dict(zip(ids[known].tolist(), one_line.tolist(), strict=True))


def _features(ids: pd.Series, joined: pd.Series) -> dict[str, list[str]]:
    """From raw id to the names of its features, from names joined by ``|``."""
    return {
        raw: [name.strip() for name in names.split("|") if name.strip() not in NO_FEATURES]
        for raw, names in zip(ids.tolist(), joined.tolist(), strict=True)
    }


def _read_movies_dat(path: Path) -> Items:
    """MovieLens ``id::title::genres`` lines."""
    fields = pd.Series(text_lines(path, "latin-1")).str.split("::", expand=True)
    if fields.shape[1] != 3 or fields[2].isna().any():
        raise DataError(f"{path}: lines must be id::title::genres, as in MovieLens' movies.dat")
    return _titles(fields[0], fields[1]), _features(fields[0], fields[2])


def _read_u_item(path: Path) -> Items:
    """ml-100k's ``id|title|date|video date|address|19 genre flags``.

    The names of the genres are in u.genre beside it, if there is one.
    """
    genres = list(ML_100K_GENRES)
    if path.with_name("u.genre").is_file():
        genres = [line.split("|")[0] for line in text_lines(path.with_name("u.genre"), "latin-1")]
    fields = pd.Series(text_lines(path, "latin-1")).str.split("|", expand=True)
    flags = fields.iloc[:, 5:]
    if flags.shape[1] != len(genres) or flags.isna().any(axis=None):
        raise DataError(
            f"{path}: lines must have 5 fields and {len(genres)} genre flags, separated by |, as in"
            " ml-100k"
        )
    features = {
        raw: [genre for genre, flag in zip(genres, row, strict=True) if flag == "1"]
        for raw, row in zip(fields[0].tolist(), flags.to_numpy().tolist(), strict=True)
    }
    return _titles(fields[0], fields[1]), features
