"""Every number of the settings is a number, and in a range in which it works."""

import re

import pytest

from genrec.config.errors import ConfigError
from genrec.pipeline.settings import describe, read_settings


def numeric_settings() -> list[tuple[str, str, tuple[str, ...]]]:
    """Key, type and the overrides that choose its component, of every setting that is a number."""
    found = []
    for setting in describe():
        if setting.type.startswith(("integer", "number")):
            chosen = [each.partition("|")[0] for each in setting.used_with[:1]]
            found.append((setting.key, setting.type, tuple(chosen)))
    return found


def beyond(kind: str) -> list[str]:
    """The values just outside of both ends of a range, such as "number > 0, <= 1"."""
    whole = kind.startswith("integer")
    values = []
    for sign, end in re.findall(r"([<>]=?) (-?[\d.,e-]*\d)", kind):
        number = float(end.replace(",", ""))
        step = 1 if whole else 1e-9 * max(1, abs(number))
        outside = {">=": number - step, ">": number, "<=": number + step, "<": number}[sign]
        values.append(str(int(outside)) if whole else repr(outside))
    return values


def test_what_lies_outside_of_a_range():
    assert beyond("integer >= 2, <= 10,000") == ["1", "10001"]
    assert beyond("number > 0, < 1 or null") == ["0.0", "1.0"]


@pytest.mark.parametrize(("key", "kind", "chosen"), numeric_settings())
def test_every_number_is_a_number_in_its_range(key: str, kind: str, chosen: tuple[str, ...]):
    """Also those of components that have to be chosen first."""
    outside = beyond(kind)
    assert outside
    for value in ("true", "false", ".nan", ".inf", "-.inf", "abc", "1" + "0" * 30, *outside):
        with pytest.raises(ConfigError) as caught:
            read_settings(None, [*chosen, f"{key}={value}"])
        assert f"setting {key} is" in str(caught.value), value
    with pytest.raises(ConfigError, match="would be read as"):
        read_settings(None, [*chosen, f"{key}=1:30"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "teacher.dropout=1",
            "setting teacher.dropout is 1: input should be less than 1",
        ),
        ("student.dropout=1.0", "setting student.dropout is 1.0: input should be less than 1"),
        ("teacher.epochs=true", "setting teacher.epochs is True: give a number, not true or false"),
        (
            "teacher.epochs=1e99",
            "setting teacher.epochs is '1e99': input should be a valid",
        ),
        (
            "teacher.epochs=1000000000000",
            "setting teacher.epochs is 1000000000000: input",
        ),
        ("dataset=''", "setting dataset is '': string should have at least 1 character"),
        ("teacher.learning_rate=1.5", "(allowed: > 0 and <= 1)"),
        ("teacher.hidden_size=1000000000", "(allowed: >= 1 and <= 16,384)"),
        ("student.blocks=1000000000", "(allowed: >= 1 and <= 256)"),
        ("k=1000000000", "setting k is 1000000000: input should be less than or equal to 10000"),
        ("seed=4294967296", "setting seed is 4294967296: input should be less than 4294967296"),
        ("align.temperature=0.001", "(allowed: >= 0.01 and <= 100)"),
        ("student.heads=3", "student.hidden_size is 64, which is no multiple of the 3 heads"),
    ],
)
def test_values_that_cannot_work_are_refused(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [override])
    assert message in str(caught.value)


def test_long_values_and_many_problems_are_cut():
    many = "{" + ", ".join(f"a{i}: 1" for i in range(3000)) + "}"
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [f"seed=[{'1, ' * 3000}]"])
    assert len(str(caught.value)) < 400
    with pytest.raises(ConfigError, match=r"unknown setting read\.a19[^\n]*\nand 2980 more\Z"):
        read_settings(None, [f"read={many}"])


def test_a_mask_share_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"mask_share is 0: .* \(allowed: > 0 and <= 1\)"):
        read_settings(None, ["teacher.recipe=bert4rec", "teacher.objective.mask_share=0"])
