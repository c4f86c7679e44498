"""The list of settings: meaning, type, default, choices, and what each is used with."""

import pytest
from pydantic import BaseModel

from genrec.config.errors import ConfigError
from genrec.pipeline.settings import CompareConfig, Settings, StudentConfig, describe, read_settings
from genrec.recipes import PRESETS, recipe


def test_every_setting_is_described():
    assert [setting.key for setting in describe() if not setting.meaning] == []


def test_the_description_covers_every_field_of_every_component():
    known = {setting.key for setting in describe()}
    for section, model in (("student", StudentConfig), ("compare", CompareConfig)):
        assert {f"{section}.{name}" for name in model.model_fields} <= known
    for name in PRESETS:
        dumped = recipe(name).model_dump()
        assert {f"teacher.{key}" for key in dumped} <= known
        nested = {f"teacher.{key}.{below}" for key in dumped for below in _keys(dumped[key])}
        assert nested - {f"teacher.{key}.name" for key in dumped} <= known
    for agent in ("ppo", "sb3", "grpo"):
        align = read_settings(None, [f"align.agent={agent}"]).align
        assert {f"align.{key}" for key in align.model_dump()} <= known


def _keys(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def test_the_description_says_what_a_setting_is_used_with():
    found = {setting.key: setting for setting in describe("teacher.loss")}
    assert found["teacher.loss.t"].used_with == ("teacher.loss=gbce",)
    assert found["teacher.loss.t"].type == "number >= 0, <= 1"
    assert found["teacher.loss.t"].default == 0.75
    assert found["teacher.loss"].choices[:2] == ("bce", "gbce")
    assert {setting.key: setting.used_with for setting in describe("align.clip")} == {
        "align.clip": ()
    }


def test_a_section_that_does_not_exist():
    with pytest.raises(ConfigError, match=r"no section 'teachr' of settings; there are dataset, "):
        describe("teachr")


def test_defaults_of_the_description_are_those_of_the_settings():
    default = Settings()
    for setting in describe():
        value: object = default
        for key in setting.key.split("."):
            value = getattr(value, key, None) if isinstance(value, BaseModel) else None
        if not setting.used_with and value is not None and not isinstance(value, BaseModel):
            shown = list(value) if isinstance(value, tuple) else value
            assert setting.default == shown, setting.key
