"""``genrec settings``: every setting with its type, default, choices and meaning."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.errors import reports_errors
from genrec.cli.options import Changes, Config, Json
from genrec.config.text import printable

if TYPE_CHECKING:
    from genrec.pipeline.settings import Setting


@reports_errors
def settings(
    section: Annotated[
        str, typer.Argument(help="Only this section, such as teacher, teacher.loss or align.")
    ] = "",
    config: Config = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Print every setting with its type, default, choices and meaning.

    With --config or --set it prints what differs from the defaults instead.

    \b
    Examples:
      genrec settings
      genrec settings teacher.loss
      genrec settings --config demo.yaml
      genrec settings align --json
    """  # noqa: D301
    from genrec.pipeline.settings import describe, read_settings

    if config is not None or changes:
        chosen = read_settings(config, changes or [])
        _print_differences(_differences(chosen.model_dump(mode="json")), section, as_json)
        return
    found = describe(section)
    if as_json:
        typer.echo(json.dumps([setting.as_dict() for setting in found], indent=2))
    elif sys.stdout.isatty():
        _print_paragraphs(found)
    else:
        _print_lines(found)


def _print_paragraphs(found: Iterable["Setting"]) -> None:
    """Two lines per setting, for reading."""
    import textwrap

    for setting in found:
        facts = [setting.type, f"default {_yaml(setting.default)}"]
        if setting.choices:
            facts[0] = f"one of {', '.join(setting.choices)}"
        if setting.used_with:
            facts.append(f"with {' or '.join(setting.used_with)}")
        typer.secho(setting.key, bold=True, nl=False)
        typer.echo(f"  {'; '.join(facts)}")
        typer.echo(textwrap.indent(textwrap.fill(setting.meaning, 76), "    "))


def _print_lines(found: Iterable["Setting"]) -> None:
    """One line per setting, its columns separated by tabs."""
    typer.echo("key\ttype\tdefault\tchoices\tused with\tmeaning")
    for setting in found:
        cells = (
            setting.key,
            setting.type,
            _yaml(setting.default),
            ",".join(setting.choices),
            " or ".join(setting.used_with),
            setting.meaning,
        )
        typer.echo("\t".join(cells))


def _differences(chosen: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value, default), where they differ."""
    from genrec.pipeline.settings import Settings, settings_of

    default = Settings().model_dump(mode="json")
    for section, key in (("teacher", "recipe"), ("align", "agent")):
        # the defaults of another recipe or agent are those that it starts from
        name = chosen[section][key]
        if name != default[section][key] and ":" not in name:
            same_kind = settings_of({section: {key: name}})
            filled = same_kind.model_dump(mode="json")[section]
            default[section] = {**filled, key: default[section][key]}
    ours, theirs = dict(_flat(chosen)), dict(_flat(default))
    return {
        key: (value, theirs.get(key)) for key, value in ours.items() if theirs.get(key) != value
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _print_differences(differs: Mapping[str, tuple[Any, Any]], section: str, as_json: bool) -> None:
    shown = {
        key: values
        for key, values in differs.items()
        if not section or f"{key}.".startswith(f"{section}.")
    }
    if as_json:
        content = {key: {"value": value, "default": old} for key, (value, old) in shown.items()}
        typer.echo(json.dumps(content, indent=2))
        return
    for key, (value, old) in shown.items():
        shown_value = printable(_yaml(value), kept="")
        typer.echo(f"{key}={shown_value}\t(default {_yaml(old)})")


def _yaml(value: Any) -> str:
    """A value as YAML writes it."""
    return value if isinstance(value, str) else json.dumps(value)
