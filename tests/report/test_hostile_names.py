"""Names from other people's comparisons steer neither tables nor pages nor pictures."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from genrec import report
from genrec.results import Comparison

NAMES = ["\x1b[31mred", "[red]x[/blue]", "a\nb|c", "$\\foo{$", "\u202etxt", "a\rb", "_hidden"]


def renamed(comparison: Comparison, name: str) -> Comparison:
    """The comparison with that name for its dataset, a method and a metric of its rows."""
    rows = [
        row.model_copy(
            update={
                "method": name if row.method == "teacher" else row.method,
                "metrics": {**row.metrics, name: 0.5},
            }
        )
        for row in comparison.rows
    ]
    return comparison.model_copy(update={"dataset": name, "rows": rows})


def shown(comparison: Comparison) -> str:
    """The table on a terminal that has colours."""
    out = io.StringIO()
    console = Console(file=out, width=150, force_terminal=True, color_system="truecolor")
    console.print(report.table(comparison, width=150))
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_pages_show_names_as_they_are(comparison, name: str):
    hostile = renamed(comparison, name)
    table, page = shown(hostile), report.page(hostile)
    assert "\x1b[31m" not in table + page
    assert "\u202e" not in table + page
    assert "\r" not in table + page
    if name == "[red]x[/blue]":
        assert name in table  # and not a colour
    if name == "a\nb|c":
        assert "a\\nb|c" in table  # in one line


def test_a_name_stays_in_its_cell_of_a_page(comparison):
    page = report.page(renamed(comparison, "a\nb|c"))
    rows = page.partition("## All rows")[2].strip().splitlines()
    assert rows[2].startswith("| a b\\|c |")
    bars = {row.replace("\\|", "").count("|") for row in rows}
    # Method, weight, ndcg, diversity, popularity, objective and the name: bars around 7 cells.
    assert bars == {8}


# The font has no glyph for half of the marks of direction; that is a warning, not a failure.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", NAMES)
def test_pictures_take_every_name(comparison, tmp_path: Path, name: str):
    report.plot(renamed(comparison, name), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_dollar_in_a_picture_is_a_dollar(comparison, tmp_path: Path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append(self))
    report.plot(renamed(comparison, "a$x^2$"), tmp_path / "x.png")
    title = drawn[0].axes[0].get_title(loc="left")
    assert r"a\$x^2\$" in title  # which matplotlib draws without the backslashes


def test_a_picture_that_fails_leaves_the_old_one(comparison, tmp_path: Path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")

    def fail(self, temporary):
        Path(temporary).write_bytes(b"half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*x\.png"):
        report.plot(comparison, path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_picture_has_the_permissions_of_the_umask(tmp_path: Path):
    code = (
        "import os; from pathlib import Path; from matplotlib.figure import Figure\n"
        "from genrec.report.pictures import _save; os.umask(0o027)\n"
        "_save(Figure(), Path('x.png'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640
