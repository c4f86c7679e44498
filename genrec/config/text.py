"""Text from data that is shown to people: nothing in it may steer their terminal or spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable

KEPT = "\t\n"
# Of the invisible characters of format (Cf) those that change the direction of what follows.
# Others, such as the joiners of emoji and of Persian words, belong to the text.
DIRECTIONS = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # categories: controls, halves of characters, line ends
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# Spreadsheets pass over blanks in front, and some take the wide forms of the operators.
FORMULA = re.compile(rf"\s*(?:[=@\uff1d\uff20]|[+\-\uff0b\uff0d](?!(?:{NUMBER})?\Z))")
"""The start of what a spreadsheet would compute: an operator, but not the sign of a number."""


def printable(text: str, kept: str = KEPT) -> str:
    r"""The text with its control characters written out, such as \x1b for the escape character.

    Args:
        text: from data, such as a title or an id.
        kept: characters that stay although they are controls.

    >>> print(printable("\x1b[31mred\x07 Am\u00e9lie \u202etxt"))
    \x1b[31mred\x07 Amélie \u202etxt
    """
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char, kept) else _written_out(char) for char in text)


def tsv_row(cells: Iterable[object], terminal: bool = False) -> str:
    r"""A row of tab-separated values, without a line end.

    A cell with a tab, a line end or a quotation mark is quoted as in CSV, so that csv modules and
    spreadsheets read it back; on a terminal tabs and line ends are written out instead. Other
    control characters are always written out. A cell that a spreadsheet would compute, because it
    begins with = + - or @ and is no number, gets an apostrophe in front. JSON output keeps all ids
    exactly.

    Args:
        cells: texts and numbers.
        terminal: whether the row is shown on a terminal.

    >>> tsv_row([1, "a b", "=1+1", "-5"]).split("\t")
    ['1', 'a b', "'=1+1", '-5']
    """
    kept = "" if terminal else "\t\n\r"
    texts = [printable(str(cell), kept) for cell in cells]
    safe = [f"'{text}" if FORMULA.match(text) else text for text in texts]
    row = io.StringIO()
    # Cells with a character of the line end are quoted; the line end itself is left to the caller.
    csv.writer(row, delimiter="\t", lineterminator="\r\n").writerow(safe)
    return row.getvalue().removesuffix("\r\n")


def _is_harmless(char: str, kept: str) -> bool:
    if char in kept:
        return True
    return char not in DIRECTIONS and unicodedata.category(char) not in CONTROLS


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
