"""The walks of docs/architecture.md: every function exists, and no call goes back up the arrows."""

import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^( *)- `(genrec\.[\w.]+)`: ", re.MULTILINE)
# Called through an interface, a partial or a choice, not by name.
HANDED_ON = {"step", "marginal", "training_step", "gbce", "with_preset", "GBCEConfig"}
HEADINGS = ("How a history becomes", "How a reward becomes", "How one setting reaches")


def layers() -> dict[str, int]:
    """Room -> its layer, 0 the uppermost, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    found = settings["contracts"][0]["layers"]
    return {room: i for i, layer in enumerate(found) for room in layer.split(" | ")}


def walk(heading: str) -> list[tuple[int, str]]:
    """Depth and name of each function of a walk."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    (body,) = re.findall(rf"\*\*{heading}.*?\n\n(.*?)\n\n(?=\*\*|## )", text, flags=re.DOTALL)
    return [(len(indent) // 2, name) for indent, name in STEP.findall(body)]


def find(name: str) -> object:
    """The object of a dotted name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            value = getattr(value, attribute)
        return value
    raise AssertionError(f"{name} is not in genrec")


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_step_is_a_function_or_class(heading: str):
    steps = walk(heading)
    assert len(steps) >= 9
    for _, name in steps:
        found = find(name)
        assert inspect.isroutine(found) or inspect.isclass(found), name


@pytest.mark.parametrize("heading", HEADINGS)
def test_no_call_goes_up(heading: str):
    layer_of, above = layers(), {}
    for depth, name in walk(heading):
        layer = layer_of[name.split(".")[1]]
        assert depth == 0 or depth - 1 in above, f"{name} is indented too far"
        assert depth == 0 or layer >= above[depth - 1], f"{name} is above its caller"
        above = {d: each for d, each in above.items() if d < depth} | {depth: layer}


@pytest.mark.parametrize("heading", HEADINGS)
def test_callers_call(heading: str):
    """The source of a caller mentions what it calls, by its own name."""
    above: dict[int, str] = {}
    for depth, name in walk(heading):
        own = name.rpartition(".")[2]
        if depth and own not in HANDED_ON:
            source = inspect.getsource(inspect.unwrap(find(above[depth - 1])))  # type: ignore[arg-type]
            assert re.search(rf"\b{own}\b", source), f"{above[depth - 1]} does not call {own}"
        above[depth] = name
