"""Titles, ids and names from data steer neither a terminal nor a spreadsheet."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from genrec.config.text import printable, tsv_row

HOSTILE = {
    "escape": ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
    "bell and backspace": ("a\x07\x08b", r"a\x07\x08b"),
    "C1 control": ("a\x9b31mb", r"a\x9b31mb"),
    "right to left": ("abc\u202egpj.exe", r"abc\u202egpj.exe"),
    "isolates": ("\u2066x\u2069", r"\u2066x\u2069"),
    "line separators": ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    "half a character": ("a\ud800b", r"a\ud800b"),
    "byte order mark": ("\ufeffa", r"\ufeffa"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_controls_are_written_out(name: str):
    text, shown = HOSTILE[name]
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text", ["Amélie", "七人の侍", "👩‍👩‍👧", "می‌خواهم", "a\tb\nc", "\\x1b", "", "naïve\u00a0space"]
)
def test_text_of_every_language_stays(text: str):
    assert printable(text) == text


@pytest.mark.parametrize(
    "cells",
    [["a\tb", "c"], ["a\nb", "c"], ['say "x"', "c"], ['"', "'"], ["", "c"], ["a\r\nb", " c "]],
)
def test_rows_are_read_back_by_csv_modules(cells: list[str]):
    row = tsv_row(cells)
    assert next(csv.reader(io.StringIO(row, newline=""), delimiter="\t")) == cells
    assert "\n" not in tsv_row(cells, terminal=True)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("=HYPERLINK(0)", "'=HYPERLINK(0)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("=5", "'=5"),
        ("@5", "'@5"),
        ("\uff1d1+1", "'\uff1d1+1"),  # the wide equals sign of Japanese spreadsheets
        (" =1+1", "' =1+1"),
        ("-1e5x", "'-1e5x"),
        ("-1.5e-05", "-1.5e-05"),
        ("-", "-"),
        ("-5", "-5"),
        ("+1.5", "+1.5"),
        ("a=1", "a=1"),
    ],
)
def test_a_spreadsheet_computes_nothing(cell: str, shown: str):
    assert tsv_row([cell]) == shown


@pytest.mark.parametrize("start", ["\t", "\r", "\n"])
def test_a_formula_behind_a_tab_or_line_end_computes_nothing(start: str):
    row = tsv_row([f"{start}=1+1", "c"])
    assert next(csv.reader(io.StringIO(row, newline=""), delimiter="\t")) == [
        f"'{start}=1+1",
        "c",
    ]


@pytest.fixture(scope="module")
def hostile_run(process, tmp_path_factory) -> Path:
    """A Markov chain over items whose ids and titles are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    ids = ["a\tb", "salt, fine", "=1+1", 'say "x"', "\x1b[31mred", "plain", "new\nline", "i8"]
    events = [(f"u{user}", ids[(user + step) % 8], step) for user in range(30) for step in range(5)]
    pd.DataFrame(events, columns=["user", "item", "time"]).to_csv(folder / "log.csv", index=False)
    titles = pd.DataFrame({"item_id": ids, "title": [f"\x1b]0;{raw}\x07 [red]" for raw in ids]})
    titles.to_csv(folder / "log.items.csv", index=False)
    made = process(
        folder, "train-teacher", "-d", "log.csv", "--recipe", "markov", "-o", "run", "--set", "k=3"
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_lists_for_a_log_are_a_table_that_any_reader_reads(process, hostile_run):
    found = process(hostile_run, "recommend", "run", "-d", "log.csv", "-k", "3", "--quiet")
    assert found.returncode == 0, found.stderr
    assert "\x1b" not in found.stdout
    table = pd.read_csv(io.StringIO(found.stdout), sep="\t")
    assert list(table.columns) == ["user", "rank", "item", "title"]
    assert len(table) == 90
    known = {"a\tb", "salt, fine", "'=1+1", 'say "x"', r"\x1b[31mred", "plain", "new\nline", "i8"}
    assert set(table["item"]) <= known
    exact = process(
        hostile_run, "recommend", "run", "-d", "log.csv", "-k", "3", "--quiet", "--json"
    )
    raw = {item["id"] for line in exact.stdout.splitlines() for item in json.loads(line)["items"]}
    assert {"a\tb", "\x1b[31mred", "=1+1"} & raw


def test_messages_and_reports_are_written_out_too(process, hostile_run):
    for arguments in (
        ("recommend", "run", "--history", "\x1b[31mnone"),
        ("evaluate", "run"),
        ("data", "describe", "log.csv"),
        ("train-teacher", "-d", "\x1b[31mabsent.csv", "-o", "new"),
        ("train-teacher", "-d", "log.csv", "-o", "new", "--set", "\x1b[31m=1"),
    ):
        found = process(hostile_run, *arguments)
        assert "\x1b" not in found.stdout + found.stderr, arguments


def test_an_encoding_without_the_characters_is_no_failure(hostile_run, command):
    found = subprocess.run(
        [*command, "recommend", "run", "--history", "plain", "-k", "2"],
        cwd=hostile_run,
        env={"PATH": "", "PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
