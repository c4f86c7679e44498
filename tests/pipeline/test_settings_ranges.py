"""Every number of the settings is a number, and in a range in which it works."""

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


@pytest.mark.parametrize(("key", "kind", "chosen"), numeric_settings())
def test_every_number_is_a_number_in_its_range(key: str, kind: str, chosen: tuple[str, ...]):
    """Also those of components that have to be chosen first."""
    below = "0" if ">= 1" in kind or "> 0" in kind else "-1"
    if key in ("align.weight", "compare.highest"):
        below = ".nan" if key == "align.weight" else "0"
    for value in ("true", ".nan", ".inf", "-.inf", "abc", below):
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
        ("seed=4294967296", "setting seed is 4294967296: input should be less than 4294967296"),
        ("align.temperature=0.001", "(allowed: >= 0.01 and <= 100)"),
        ("student.heads=3", "student.hidden_size is 64, which is no multiple of the 3 heads"),
    ],
)
def test_values_that_cannot_work_are_refused(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        read_settings(None, [override])
    assert message in str(caught.value)


def test_a_mask_share_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"mask_share is 0: .* \(allowed: > 0 and <= 1\)"):
        read_settings(None, ["teacher.recipe=bert4rec", "teacher.objective.mask_share=0"])
