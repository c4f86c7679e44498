"""YAML says what people mean by it, or is refused with the place and the remedy."""

from pathlib import Path

import pytest
import yaml

from genrec.config.errors import ConfigError
from genrec.config.files import override, read_yaml
from genrec.config.strict_yaml import parse_yaml

# ten values, ten times ten, ...: 10^9 in nine lines
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x: 31", 31),
        ("x: -3", -3),
        ("x: 0", 0),
        ("x: 0x1F", 31),
        ("x: 0.5", 0.5),
        ("x: 1.0e-3", 0.001),
        ("x: '010'", "010"),
        ("x: yes", True),
        ("x: null", None),
        ("x: [1, {a: b}]", [1, {"a": "b"}]),
        ("x: &a 1\ny: *a", 1),
        ("x: -0.5", -0.5),
        ("x: 2020-01-31", "2020-01-31"),  # such as the name of a folder
        ("x: 2020-99-99", "2020-99-99"),
        ("base: &b {x: 1}\n<<: *b\nx: 2", 2),
    ],
)
def test_what_everybody_reads_alike_is_read(text: str, value: object):
    assert parse_yaml(text)["x"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nk: 5\nseed: 2", r"the key 'seed' comes twice: remove .*\n.*line 3, column 1"),
        ("teacher:\n  {epochs: 1, epochs: 2}", r"the key 'epochs' comes twice"),
        ("seed: 010", r"010 would be read as an octal number: leave the leading zeros out"),
        ("seed: -007", "-007 would be read as an octal number"),
        ("seed: 1:30", r"1:30 would be read as a number of base 60: write a plain number"),
        ("seed: 20:30:15", "20:30:15 would be read as a number of base 60"),
        ("seed: 1_000", "1_000 would be read as a number with underscores: leave them out"),
        ("seed: 1_0.5E+3", r"1_0.5E\+3 would be read as a number with underscores"),
        ("seed: 0x1_0", "0x1_0 would be read as a number with underscores"),
        ("seed: 08", "08 would be read as an octal number: leave the leading zeros out"),
        ("seed: !!int ''", r"'' cannot be read as int\n.*line 1, column 7"),
        ("seed: !!bool maybe", r"'maybe' cannot be read as bool\n.*line 1, column 7"),
        ("seed: !!float many", r"'many' cannot be read as float\n.*line 1, column 7"),
        ("seed: " + "9" * 5000, r"'9{40}\.\.\.' cannot be read as int"),  # Python reads 4,300
        ("seed: !!binary MTI=", "!!binary is no value of a setting: write a text, a number"),
        ("seed: !!set {a}", "!!set is no value of a setting"),
        ("x: " + "[" * 200 + "]" * 200, "it is nested more than 50 levels deep"),
        ("x: " + "[" * 5000, "it is nested more than 50 levels deep"),
        ("- " * 3000, "it is nested more than 50 levels deep"),
        (BOMB, r"it has more than 10,000 values, aliases written out\n.*line \d, column \d"),
        ("x: &a [*a]", "more than 10,000 values"),
        ("x: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_surprises_are_refused_with_their_place(text: str, message: str, tmp_path: Path):
    with pytest.raises(yaml.YAMLError, match=message):
        parse_yaml(text)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml is not valid YAML"):
        read_yaml(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", r"mine\.yaml is not UTF-8 text"),
        (b"a: \x00", r"mine\.yaml is not valid YAML: unacceptable character"),
        (b"a:\n\t- 1", r"mine\.yaml is not valid YAML"),
        (b"", r"mine\.yaml must hold keys and values"),
        (b"- 1", r"mine\.yaml must hold keys and values"),
        (b"x: " + b"a" * 1_000_000, r"mine\.yaml has more than 1,000,000 bytes"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "mine.yaml")


def test_a_directory_is_no_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="is a directory: give a YAML file"):
        read_yaml(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device")
def test_a_file_without_an_end_is_not_read_to_its_end():
    with pytest.raises(ConfigError, match=r"/dev/zero has more than 1,000,000 bytes"):
        read_yaml(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["seed=010", "seed=1:30", "seed=[1", "seed={a: 1, a: 2}"])
def test_overrides_are_read_as_strictly(text: str):
    with pytest.raises(ConfigError, match=r"--set seed="):
        override({}, [text], lambda keys: None)
