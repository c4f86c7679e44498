"""Components of any kind are found by name, entry point, module and file."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from genrec.config import components
from genrec.config.components import Registry, absolute_target, load_object, source_file
from genrec.config.errors import GenrecError
from genrec.config.trust import name_code

FILE = """
import os

print("loud")
with open("executions.txt", "a") as log:
    log.write("x")


def double(value):
    return 2 * value


class Cube:
    pass


SIZE = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name_code("./mine.py:SIZE", "mine:SIZE", "./absent.py:x", "absent:x")
    yield tmp_path
    sys.modules.pop("mine", None)


def as_size(found: object, name: str, place: str) -> int:
    if not isinstance(found, int):
        raise GenrecError(f"{place} is not a size")
    return found


def sizes() -> Registry[int]:
    built_in: dict[str, int | str] = {"small": 1, "maximum": "sys:maxsize"}
    return Registry("size", "genrec.sizes", built_in=built_in, convert=as_size)


@pytest.fixture
def plugged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [
        ("broken", "mine:Cube"),
        ("of-plugin", "mine:SIZE"),
        ("of-plugin", "mine:double"),
        ("small", "mine:SIZE"),
    ]
    points = [EntryPoint(name, target, "genrec.sizes") for name, target in targets]
    monkeypatch.setattr(
        components, "entry_points", lambda group: [each for each in points if each.group == group]
    )


@pytest.mark.parametrize("place", ["./mine.py", "mine"])
def test_objects_by_place(folder: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_object(f"{place}:SIZE") == 3
    assert capsys.readouterr().out == ""


def test_a_file_is_executed_anew_unless_its_module_is_kept(folder: Path) -> None:
    modules: components.Modules = {}
    log = folder / "executions.txt"
    assert load_object("./mine.py:SIZE", modules=modules) == 3
    assert load_object(f"{folder}/mine.py:SIZE", modules=modules) == 3
    assert (log.read_text(), list(modules)) == ("x", [folder / "mine.py"])
    load_object("./mine.py:SIZE")
    load_object("./mine.py:SIZE")
    assert log.read_text() == "xxx"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("./mine.py:other", r"./mine.py has no size 'other'; give one of double, Cube as ./mine"),
        ("./mine.py", "has no size ''"),
        ("./absent.py:x", r"size file absent.py does not exist \(looked in"),
        ("absent:x", "size 'absent:x': cannot import 'absent': ModuleNotFoundError"),
    ],
)
def test_what_is_missing_is_named(folder: Path, target: str, message: str) -> None:
    with pytest.raises(GenrecError, match=message):
        load_object(target, "size")


def test_a_registry_by_name(plugged: None) -> None:
    assert sizes().names() == ["broken", "maximum", "of-plugin", "small"]
    assert [sizes().resolve(name) for name in ("small", "maximum", "of-plugin", "mine:SIZE")] == [
        1,
        sys.maxsize,
        3,
        3,
    ]
    message = r"unknown size 'smallish'. Did you mean 'small'\? Known: br"
    with pytest.raises(GenrecError, match=message):
        sizes().resolve("smallish")
    with pytest.raises(GenrecError, match="mine:double is not a size"):
        sizes().resolve("mine:double")


def test_a_registry_lists_what_cannot_be_used(plugged: None) -> None:
    rows = [(row.name, row.value, row.error) for row in sizes().available()]
    assert rows == [
        ("small", 1, None),
        ("maximum", sys.maxsize, None),
        ("broken", None, "mine:Cube is not a size"),
        ("of-plugin", 3, None),
        ("of-plugin", None, "the name is taken by mine:SIZE"),
        ("small", None, "the name is taken by built-in"),
    ]


def test_a_plugin_without_a_registry(plugged: None) -> None:
    found = load_object("broken", "size", group="genrec.sizes")
    assert found.__name__ == "Cube"  # type: ignore[attr-defined]
    with pytest.raises(GenrecError, match=r"unknown size 'x'. Installed plugins: broken, of-plug"):
        load_object("x", "size", group="genrec.sizes")


def test_targets_of_files_become_absolute(folder: Path) -> None:
    assert absolute_target("./mine.py:SIZE") == f"{folder}/mine.py:SIZE"
    assert [absolute_target(each) for each in ("small", "mine:SIZE")] == ["small", "mine:SIZE"]
    assert source_file("mine:SIZE") is None
    assert source_file("./mine.py:SIZE") == source_file(f"{folder}/mine.py:double")
