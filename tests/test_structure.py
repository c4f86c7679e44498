"""The structure of the code: that benchmarks/structure.py counts right, and the goals it holds."""

import ast
import json
import runpy
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
structure = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "structure.py")))

TOP = '''
"""Eleven words."""

import genrec.low
from genrec.agents import ppo  # a comment


def run(a: int, /, b: int, *rest: int, c: int = 0) -> int:
    """What is not counted.

    Nor this.
    """
    # another comment
    total = a + b

    return ppo.learn(total, b, c, 4, 5)
'''
PPO = '''
from genrec import low


class Learner:
    def __init__(self, first, second: int = 0) -> None:
        """Nothing but a docstring."""

    async def learn(self): return low.one(1, 2, 3, *self.rest, key=[x for x in range(3)])


def pairs(rows: list) -> list:
    if any(row for row in rows):
        return [[x for x in row if all(y for y in x)] for row in rows]
    return list(map(str, sorted({x for x in rows}, key=lambda x: sum(y for y in x))))
'''
LOW = """
def one(a: int, b: int, c: int, d: int, e: int, f: int = 0) -> int:
    return max(a, b, c, d, *[e, f])
"""
CONTRACT = """
[[tool.importlinter.contracts]]
type = "forbidden"

[[tool.importlinter.contracts]]
type = "layers"
layers = ["__main__", "top", "agents | envs", "low"]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tree of three rooms, of which agents and configs are links, with two private words."""
    for folder in ("genrec", "agents", "configs", "docs", "tests", "benchmarks"):
        (tmp_path / folder).mkdir()
    for name in ("agents", "configs"):
        (tmp_path / "genrec" / name).symlink_to(f"../{name}")
    sources = {"genrec/top.py": TOP, "agents/ppo.py": PPO, "genrec/low.py": LOW}
    for path, source in sources.items():
        (tmp_path / path).write_text(source.lstrip())
    (tmp_path / "genrec" / "__main__.py").write_text("import genrec.top\n")
    for package in ("genrec", "agents", "configs"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text(CONTRACT)
    (tmp_path / "README.md").write_text("A list\n\nis\nsaid, and it is said to be good.\n")
    (tmp_path / "docs" / "page.md").write_text("The `kl from\nstudent`.\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "- `kl weight` is `kl_coef`, which `the\n- two` are told apart.\n"
    )
    (tmp_path / "docs" / "data.json").write_text('"kl weight"')
    for passed_over in ("tests/test_words.py", "benchmarks/private_words.toml"):
        (tmp_path / passed_over).write_text("kl weight")
    return tmp_path


def test_files_and_lines(checkout):
    """Files of 0, 0, 1, 2, 14 and 15 lines; links lead to no second copy."""
    found = structure.measure(checkout)
    assert found["Python files"] == 6
    assert found["lines"] == 1 + 2 + 14 + 15
    assert found["lines per file, median"] == 1
    assert found["lines per file, p90"] == found["longest file"] == 15


def test_comments_are_tokens_of_non_blank_lines(checkout):
    """10 lines of top.py are not blank, 9 of ppo.py, 2 of low.py and 1 of __main__.py."""
    found = structure.measure(checkout)
    assert found["lines with a comment, percent"] == pytest.approx(100 * 2 / 22)
    assert found["longest line"] == len(PPO.splitlines()[8]) == 89
    assert found["lines over 100 columns"] == 0


def test_functions(checkout):
    """Bodies of 3 (run, after its docstring), 0, 1, 3 (pairs) and 1 (one) lines.

    Of as many statements, but 2 in run, where a line is blank.
    """
    found = structure.measure(checkout)
    assert found["functions"] == 5
    assert found["lines per body, median"] == 1
    assert found["lines per body, p90"] == found["longest body"] == 3
    assert found["statements per body, median"] == 1
    assert found["statements per body, p90"] == found["most statements"] == 3
    assert found["bodies over 40 lines, percent"] == 0
    assert found["parameters, p90"] == found["most parameters"] == 6
    # first has no type in __init__, learn no result
    assert found["fully typed signatures, percent"] == 60


def test_a_starred_argument_of_a_call_counts_as_one(checkout):
    """Five arguments: learn(...) in top.py and max(...) in low.py; one(...) has four."""
    found = structure.measure(checkout)
    calls = ["learn", "one", "range", "any", "all", "list", "map", "sorted", "sum", "max"]
    assert found["calls"] == len(calls)
    assert found["calls with 5+ positional arguments per 1,000 calls"] == 1000 * 2 / len(calls)


def test_comprehensions(checkout):
    """The first return of pairs() is three deep; in the second, two lie in no other."""
    found = structure.measure(checkout)
    assert found["deepest comprehension"] == 3
    assert found["statements with comprehensions three deep"] == 1
    assert found["statements with several comprehensions"] == 2


@pytest.mark.parametrize(
    ("source", "depths"),
    [
        ("x = [y for y in z]", [1]),
        ("for x in [y for y in z]:\n    a = {b: c for b in d}", [1]),
        ("try:\n    a\nexcept (x for x in y):\n    b = [c for c in d]", []),
        ("f(x for x in y for y in z)", [1]),
        ("{x: [y for y in x] for x in {z for z in a}}", [1, 2, 2]),
    ],
)
def test_a_statement_is_counted_without_its_body(source, depths):
    (statement,) = ast.parse(source).body
    assert sorted(structure.comprehension_depths(statement)) == depths


def test_rooms_and_layers(checkout):
    found = structure.measure(checkout)
    assert structure.rooms(checkout) == {"top", "low", "agents", "configs"}
    assert found["modules and packages under genrec"] == 4
    assert found["layers in the import contract"] == 4
    assert found["longest chain of imports between rooms"] == len(["top", "agents", "low"])


@pytest.mark.parametrize(
    ("imports", "chain"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, ["a", "b", "c"]),
        ({"a": {"c"}, "b": {"c"}, "c": {"d"}, "d": set()}, ["a", "c", "d"]),
        ({"a": set()}, ["a"]),
        ({}, []),
    ],
)
def test_the_longest_chain(imports, chain):
    assert structure.longest_chain(imports) == chain


def test_a_circle_of_imports_is_named():
    with pytest.raises(ValueError, match="in a circle: a > b > c > a"):
        structure.longest_chain({"a": {"b"}, "b": {"c"}, "c": {"a"}})


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import genrec.data.splits, torch", {"data"}),
        ("from genrec import cli, __version__", {"cli", "__version__"}),
        ("from genrec.models.scorer import x", {"models"}),
        ("def f():\n    from genrec.envs import y", {"envs"}),
        ("from agents import z\nimport genrec", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, rooms):
    assert structure.imported_rooms(ast.parse(source)) == rooms


def test_private_words_have_a_place(checkout):
    """Those of data, of their own list and between the backquotes of the change log have none."""
    found = {key: value for key, value in structure.private_words(checkout).items() if value}
    assert sorted(found.values()) == [["CHANGELOG.md:2"], ["README.md:3"], ["docs/page.md:1"]]
    assert structure.measure(checkout)["private words"] == 3


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [([3, 1, 2], 90, 3), ([*range(1, 11)], 90, 9), ([*range(1, 11)], 50, 5), ([7], 90, 7)],
)
def test_percentiles_are_values(values, p, expected):
    assert structure.percentile(values, p) == expected


def test_the_table_has_a_column_per_checkout(checkout, monkeypatch, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pyproject.toml").write_text(CONTRACT)
    path = tmp_path / "structure.json"
    arguments = [str(checkout), str(tmp_path / "empty"), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["structure.py", *arguments])
    structure.main()
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1  # aligned
    (row,) = [line for line in lines if line.startswith("| longest file ")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["15", "0", "<= 396"]
    found = json.loads(path.read_text())
    assert [found[name]["longest file"] for name in arguments[:2]] == [15, 0]


def test_an_empty_checkout_has_no_figures(tmp_path):
    (tmp_path / "pyproject.toml").write_text(dedent(CONTRACT))
    found = structure.measure(tmp_path)
    assert set(found.values()) == {0, 4}  # 4 are the layers


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """The figures of this checkout."""
    return structure.measure(ROOT)


@pytest.mark.parametrize(
    ("figure", "goal"),
    {
        "longest file": 396,
        "longest line": 100,
        "lines over 100 columns": 0,
        "calls with 5+ positional arguments per 1,000 calls": 5,
        "deepest comprehension": 2,
        "modules and packages under genrec": 20,
        "layers in the import contract": 11,
        "private words": 0,
    }.items(),
)
def test_the_code_stays_readable(figure, goal, measured):
    assert structure.GOALS[figure] == goal
    assert measured[figure] <= goal


def test_no_chain_of_imports_is_longer_than_the_layers(measured):
    chain = measured["longest chain of imports between rooms"]
    assert chain <= measured["layers in the import contract"]
