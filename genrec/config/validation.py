"""Validation errors of settings as messages that name the key, the value and the choices."""

import contextlib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from genrec.config.choices import CHOICE, Choice, choice_of
from genrec.config.errors import ConfigError
from genrec.config.model import Config
from genrec.config.trust import reading_data

T = TypeVar("T")
HUGE = 1_000_000_000  # from here on, the end of a range is a matter of memory
OWN_MESSAGE = "value_error"  # of a validator of genrec's, which says everything itself
MOST_PROBLEMS = 20  # of one message
LONGEST = 200  # characters of a key or a value in a message


def validated(
    adapter: TypeAdapter[T],
    content: Any,
    *,
    where: str = "",
    moved: Mapping[str, str] | None = None,
    named: bool = False,
) -> T:
    """The content as a validated config.

    Args:
        adapter: of the config.
        content: mappings, names and numbers, for instance from YAML.
        where: dotted key of the content, for messages.
        moved: former dotted keys and what they are called now.
        named: whether the user's own program gives the content, so that code that it names may run;
            what comes from files is data.

    Raises:
        ConfigError: one line per problem.
    """
    try:
        with contextlib.nullcontext() if named else reading_data():
            return adapter.validate_python(content)
    except ValidationError as error:
        root = adapter._type
        problems = error.errors()
        lines = [_line(each, root, where, moved or {}) for each in problems[:MOST_PROBLEMS]]
        if left := len(problems) - len(lines):
            lines.append(f"and {left} more")
        raise ConfigError("\n".join(lines)) from None


def _line(problem: ErrorDetails, root: Any, where: str, moved: Mapping[str, str]) -> str:
    location = problem["loc"]
    keys = [str(key) for key in location if not is_tag(key)]
    dotted = _short(".".join([*([where] if where else []), *keys]))
    if problem["type"] == "extra_forbidden":
        return _unknown(dotted, location, root, moved)
    if problem["type"] == OWN_MESSAGE:
        return problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"setting {dotted} is missing: {_meaning(location, root)}"
    if problem["type"] == CHOICE:
        return _choice(problem, dotted)
    allowed = _range_of(location, root)
    found = _short(repr(problem["input"]))
    return f"setting {dotted} is {found}: {_lower(problem['msg'])}{allowed}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _range_of(location: tuple[int | str, ...], root: Any) -> str:
    """What a number may be, where more than one end of its range is fixed."""
    model, _ = model_at(root, location[:-1])
    field = model.model_fields.get(str(location[-1])) if model and location else None
    found = bounds(field.metadata) if field else []
    if field is not None and not found:  # of numbers that may be left out
        found = [bound for part in get_args(field.annotation) for bound in _annotated_bounds(part)]
    return f" (allowed: {' and '.join(found)})" if len(found) > 1 else ""


def _annotated_bounds(annotation: Any) -> list[str]:
    return bounds(list(getattr(annotation, "__metadata__", ())))


def bounds(metadata: list[Any]) -> list[str]:
    """The ends of the range of a number, such as ">= 1".

    Those of what machines can hold are left out: they say nothing about the setting.
    """
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = []
    for constraint in metadata:
        for part in getattr(constraint, "metadata", [constraint]):
            found += [
                f"{sign} {getattr(part, name):,}"
                for name, sign in signs.items()
                if getattr(part, name, None) is not None and getattr(part, name) < HUGE
            ]
    return found


def _choice(problem: ErrorDetails, dotted: str) -> str:
    """A component that cannot be chosen: the key that names it, the name, and the choices."""
    facts = problem["ctx"]
    if "found" not in facts:
        return f"setting {dotted} is {_short(repr(problem['input']))}: {problem['msg']}"
    named = dotted if facts["key"] == "name" else f"{dotted}.{facts['key']}"
    return f"setting {named} is {_short(facts['found'])}: {problem['msg']}"


def _unknown(
    dotted: str, location: tuple[int | str, ...], root: Any, moved: Mapping[str, str]
) -> str:
    if dotted in moved:
        return f"setting {dotted} is now called {moved[dotted]}"
    key = str(location[-1])
    model, choice = model_at(root, location[:-1])
    valid = sorted(model.model_fields) if model else []
    close = get_close_matches(key, valid, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    line = f"unknown setting {dotted}{hint} Valid here: {', '.join(valid)}"
    if choice is not None and model is not None:
        others = [name for name, config in choice.members.items() if key in config.model_fields]
        here = str(location[-2]).strip("<>")
        line = f"unknown setting {dotted} of {here}{hint} Valid here: {', '.join(valid)}"
        if others:
            line += f". {key} is a setting of {', '.join(others)}"
    return line


def _meaning(location: tuple[int | str, ...], root: Any) -> str:
    model, _ = model_at(root, location[:-1])
    field = model.model_fields.get(str(location[-1])) if model else None
    return (field.description or "give a value") if field else "give a value"


def _lower(message: str) -> str:
    """The message with a small first letter, unless it begins with a quotation."""
    return message[:1].lower() + message[1:]


def is_tag(key: int | str) -> bool:
    """Whether an element of a location is the mark of a chosen member, and no key."""
    return isinstance(key, str) and key.startswith("<")


def model_at(
    root: Any, location: tuple[int | str, ...]
) -> tuple[type[BaseModel] | None, Choice | None]:
    """The model at a place of the settings, and the choice that it is a member of."""
    annotation, metadata = root, list[Any]()
    model, choice = None, None
    for key in (None, *location):
        if key is not None and is_tag(key):
            assert choice is not None
            model = choice.config_of(str(key).strip("<>"))
            continue
        if key is not None:
            if model is None or str(key) not in model.model_fields:
                return None, None
            field = model.model_fields[str(key)]
            annotation, metadata = field.annotation, field.metadata
        choice = choice_of(annotation, metadata)
        inner = next(_models(annotation), None)
        model = None if choice is not None else inner
    return model, choice


def _models(annotation: Any) -> Iterator[type[Config]]:
    """The configs in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
