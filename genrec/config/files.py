"""Settings from YAML files and ``key=value`` overrides, before they are validated."""

from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from genrec.config.errors import ConfigError
from genrec.config.strict_yaml import parse_yaml

LARGEST = 1_000_000  # bytes of a file of settings


def find_config(name: Path) -> Path:
    """The file itself, or the shipped configuration of that name.

    Raises:
        ConfigError: listing the shipped ones.
    """
    if name.exists():
        return name
    shipped = Path(str(resources.files("genrec.configs")))
    if (shipped / name).exists():
        return shipped / name
    names = sorted(str(path.relative_to(shipped)) for path in shipped.rglob("*.yaml"))
    raise ConfigError(
        f"no configuration {name}; give a path or one of the shipped {', '.join(names)}"
    )


def read_yaml(file: Path) -> dict[str, Any]:
    """The content of a YAML file, or of the shipped configuration of that name.

    Raises:
        ConfigError: if there is no such file, or it holds something else than keys and values.
    """
    path = find_config(file)
    if path.is_dir():
        raise ConfigError(f"{path} is a directory: give a YAML file")
    with path.open("rb") as opened:  # at most so much: a device may have no end
        found = opened.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise ConfigError(f"{path} has more than {LARGEST:,} bytes: is it a file of settings?")
    try:
        content = parse_yaml(found.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, for instance dataset: demo")
    return content


def override(
    content: Mapping[str, Any],
    overrides: Iterable[str],
    name_key: Callable[[list[str]], str | None],
) -> dict[str, Any]:
    """The content with ``key=value`` overrides; values are read as YAML.

    Args:
        content: nested mappings; not changed.
        overrides: such as ``teacher.epochs=5`` or ``teacher.loss.t=0.5``.
        name_key: dotted key, as a list -> the key that a short form there stands for, for instance
            "name" for ``loss: gbce``; None where a plain value belongs.

    Raises:
        ConfigError: for a text without ``=``, a value that is not YAML, or a key below a value.
    """
    changed = dict(content)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write key=value, for instance teacher.epochs=5")
        try:
            parsed = parse_yaml(value, text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: the value is not valid YAML: {error}") from None
        changed = _placed(changed, key.strip().split("."), parsed, name_key)
    return changed


def _placed(
    content: Mapping[str, Any],
    keys: list[str],
    value: Any,
    name_key: Callable[[list[str]], str | None],
) -> dict[str, Any]:
    """The content with a value at a nested key."""
    changed = dict(content)
    node = changed
    for depth, key in enumerate(keys[:-1], start=1):
        below = node.get(key, {})
        short = name_key(keys[:depth])
        if isinstance(below, str) and short is not None:
            below = {short: below}
        if not isinstance(below, Mapping):
            raise ConfigError(f"--set {'.'.join(keys)}: {key} is not a group of settings")
        node[key] = dict(below)
        node = node[key]
    node[keys[-1]] = value
    return changed
