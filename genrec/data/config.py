"""Settings of reading and cleaning a log."""

from genrec.config.model import Config, Number


class ReadConfig(Config):
    """How to read and clean a log that is not built in."""

    user: str | None = None
    """Column with the user; by default guessed among usual names (user, user_id, userId, ...)."""
    item: str | None = None
    """Column with the item; by default guessed among usual names (item, item_id, movieId, ...)."""
    time: str | None = None
    """Column with the time; by default guessed among usual names. Without a time column the order
    of the file counts."""
    separator: str | None = None
    """Separator of a text table; by default found in the header."""
    items: str | None = None
    """File with titles and features of the items; by default looked for beside the log."""
    min_user_events: Number = 0
    """Users with fewer events are removed; 0 keeps all."""
    min_item_events: Number = 0
    """Items with fewer events are removed; 0 keeps all."""
    drop_repeats: bool = False
    """Keep only the first event of each user and item."""
