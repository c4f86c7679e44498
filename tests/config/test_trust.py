"""Code that data names does not run; what the user names does, and is remembered by its content."""

import json
import sys
from pathlib import Path

import pytest

from genrec.config import trust
from genrec.config.components import load_object
from genrec.config.trust import (
    Trust,
    UntrustedCodeError,
    current_trust,
    module_file,
    name_code,
    name_code_in,
    place_of,
    reading_data,
    set_trust,
    trust_everything,
    trust_of_command,
)
from genrec.recipes import ExternalTeacher, recipe
from genrec.rewards import load_objectives, parse_rewards

FILE = """
from pathlib import Path

Path("executed.txt").write_text("x")


def fresh(slates, context):
    return slates * {factor}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(FILE.format(factor=1.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def executed(folder: Path) -> bool:
    found = (folder / "executed.txt").exists()
    (folder / "executed.txt").unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("place", ["./mine.py", "mine"])
def test_what_nobody_has_named_does_not_run(folder: Path, place: str):
    with pytest.raises(UntrustedCodeError, match="was not named by you: it is code, and was not"):
        load_object(f"{place}:fresh", "reward")
    with pytest.raises(UntrustedCodeError):
        load_objectives([[f"{place}:fresh=0.5"]])
    assert not executed(folder)


@pytest.mark.parametrize("place", ["./mine.py", "mine"])
def test_what_is_named_runs_in_this_process_only(folder: Path, place: str):
    name_code(f"{place}:fresh")
    assert load_objectives([[f"{place}:fresh=0.5"]])[0].specs[0].endswith(":fresh=0.5")
    assert executed(folder)
    set_trust(Trust())  # another process
    sys.modules.pop("mine", None)
    with pytest.raises(UntrustedCodeError):
        load_objectives([[f"{place}:fresh=0.5"]])
    assert not executed(folder)


@pytest.mark.parametrize("place", ["./mine.py", "mine"])
def test_a_later_command_knows_what_an_earlier_one_named(folder: Path, place: str):
    target = f"{place}:fresh"
    with trust_of_command():
        parse_rewards([target])
    assert executed(folder)
    sys.modules.pop("mine", None)
    with trust_of_command():
        load_objectives([[f"{target}=1"]])
    assert executed(folder)
    (folder / "mine.py").write_text(FILE.format(factor=2.0))
    sys.modules.pop("mine", None)
    with (
        trust_of_command(),
        pytest.raises(UntrustedCodeError, match="has changed since you named it"),
    ):
        load_objectives([[f"{target}=1"]])
    assert not executed(folder)
    (folder / "other").mkdir()
    (folder / "other" / "mine.py").write_text(FILE.format(factor=1.0))
    with trust_of_command(), pytest.raises(UntrustedCodeError):  # the same name elsewhere
        load_object("./other/mine.py:fresh")


def test_everything_is_trusted_for_one_command(folder: Path):
    with trust_of_command():
        trust_everything()
        load_object("./mine.py:fresh")
        assert current_trust().everything
    assert executed(folder)
    with trust_of_command(), pytest.raises(UntrustedCodeError):
        load_object("./mine.py:fresh")


def test_a_damaged_memory_trusts_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    memory = trust.configuration_folder() / "trusted.json"
    memory.parent.mkdir(exist_ok=True)
    for content in ("", "[]", '{"a": ', '["mine"]'):
        memory.write_text(content)
        with trust_of_command(), pytest.raises(UntrustedCodeError):
            load_object("mine:fresh")
    monkeypatch.setenv("GENREC_CONFIG", str(folder / "mine.py" / "is-a-file"))
    with trust_of_command():
        load_object_named("./mine.py:fresh")  # a warning, and it runs


def load_object_named(target: str) -> None:
    name_code(target)
    load_object(target)


def test_compiled_files_beside_the_source_are_not_run(folder: Path):
    """A .pyc that claims to belong to the file could hold any other code."""
    import py_compile

    (folder / "evil.py").write_text("from pathlib import Path\nPath('evil.txt').write_text('x')\n")
    compiled = Path(py_compile.compile(str(folder / "mine.py")))
    evil = Path(py_compile.compile(str(folder / "evil.py"))).read_bytes()
    compiled.write_bytes(compiled.read_bytes()[:16] + evil[16:])
    name_code("./mine.py")
    assert load_object("./mine.py:fresh") is not None
    assert not (folder / "evil.txt").exists()


def test_modules_are_found_without_running_their_packages(folder: Path):
    (folder / "package").mkdir()
    loud = "from pathlib import Path\nPath('executed.txt').write_text('x')\n"
    (folder / "package" / "__init__.py").write_text(loud)
    (folder / "package" / "inner.py").write_text(loud)
    assert module_file("package.inner") == folder / "package" / "inner.py"
    assert module_file("package") == folder / "package" / "__init__.py"
    assert module_file("package.absent") is None
    assert module_file("absent.inner") is None
    assert not executed(folder)


def test_a_program_names_what_it_writes_and_data_does_not(folder: Path):
    made = recipe("./mine.py:Teacher", depth=3)
    assert place_of(made.recipe) in current_trust().places
    set_trust(Trust())
    ExternalTeacher(recipe="mine:Teacher")
    assert current_trust().places == {"mine"}
    set_trust(Trust())
    with reading_data():
        ExternalTeacher(recipe="mine:Teacher")
    assert current_trust().places == set()


def test_names_are_found_inside_settings():
    name_code_in({"a": ["plain", {"b": "pack.age:x"}], "c": 3, "d": "/tmp/own.py:y", "e": None})
    assert current_trust().places == {"pack.age", str(Path("/tmp/own.py").resolve())}


def test_the_memory_holds_hashes_of_places(folder: Path):
    with trust_of_command():
        name_code("./mine.py:fresh", "mine:fresh", "diversity", "absent.module:x", "./absent.py:y")
    content = json.loads((trust.configuration_folder() / "trusted.json").read_text())
    assert set(content) == {str(folder / "mine.py"), "mine"}
    assert len(set(content.values())) == 1
