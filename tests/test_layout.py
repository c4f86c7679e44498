"""The house stands: packages, links, names, imports, and what may not be loaded."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKS = ("agents", "configs", "envs")
FORBIDDEN_NAMES = {"utils", "util", "common", "base", "helpers", "helper", "misc", "core"}
SOURCES = sorted(
    path
    for folder in ("genrec", "tests", "examples", "benchmarks", *LINKS)
    for path in (ROOT / folder).rglob("*.py")
)


def packages_on_disk(root: Path) -> set[str]:
    """Dotted names of all folders with an __init__.py, those behind the links included."""
    found = {"genrec"}
    for folder, package in (("genrec", "genrec"), *((link, f"genrec.{link}") for link in LINKS)):
        for init in (root / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(root / folder).parts
            found.add(".".join((package, *inside)))
    return found


def bare_imports(source: str) -> list[str]:
    """Modules imported as envs..., agents... or configs..., or relatively."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in LINKS]
        elif isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").split(".")[0] in LINKS
        ):
            found.append("." * node.level + (node.module or ""))
    return found


def test_every_subpackage_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == packages_on_disk(ROOT)
    assert settings["package-dir"] == {
        "genrec": "genrec",
        **{f"genrec.{link}": link for link in LINKS},
    }


def test_a_forgotten_subpackage_is_noticed(tmp_path):
    for folder in ("genrec/data", "genrec/new", "envs/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    assert packages_on_disk(tmp_path) == {"genrec", "genrec.data", "genrec.new", "genrec.envs.deep"}


@pytest.mark.parametrize("link", LINKS)
def test_links_are_links(link):
    assert (ROOT / "genrec" / link).is_symlink(), (
        f"genrec/{link} became a copy: ln -s ../{link} genrec/{link}"
    )
    assert (ROOT / "genrec" / link).readlink() == Path("..") / link


def test_configs_hold_no_code():
    assert [path.name for path in (ROOT / "configs").rglob("*.py")] == ["__init__.py"]


def test_imports_are_absolute():
    offenders = {str(path.relative_to(ROOT)): bare_imports(path.read_text()) for path in SOURCES}
    assert {path: names for path, names in offenders.items() if names} == {}


def test_bare_imports_are_noticed():
    source = (
        "import envs.vector\nfrom agents import ppo\nfrom . import x\n"
        "import genrec.envs\nfrom genrec.agents import y"
    )
    assert bare_imports(source) == ["envs.vector", "agents", "."]


def test_modules_are_named_after_their_subject():
    assert [path for path in SOURCES if {path.stem, path.parent.name} & FORBIDDEN_NAMES] == []


def test_files_can_be_read_in_one_sitting():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > 396} == {}


@pytest.mark.parametrize("module", ["genrec.cli", "genrec.report"])
def test_starting_is_light(module):
    """``genrec --help`` answers without loading torch, the report never loads it."""
    heavy = "{'torch', 'transformers', 'gymnasium', 'scipy', 'pandas'}"
    code = f"import sys, {module}; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
