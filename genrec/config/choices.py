"""Fields whose value is one of several components, chosen by name.

``loss: gbce`` and ``loss: {name: gbce, t: 0.5}`` mean the same kind of component; which further
keys are allowed depends on the name. A component of the user's own is named ``module:attr`` or
``file.py:attr``; its other keys are passed on as they are.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from genrec.config.components import absolute_target
from genrec.config.model import Config
from genrec.config.trust import name_code


def _target(value: str) -> str:
    """The target with an absolute path, so that its file is found again from any directory.

    In a config that a program makes itself, it is named by the user; in data it is not.
    """
    target = absolute_target(value)
    name_code(target)
    return target


Target = Annotated[str, AfterValidator(_target)]
EXTERNAL = "external"
CHOICE = "choice"  # type of the validation errors of a choice


class External(Config):
    """A component of the user's own: ``module:attr``, ``file.py:attr`` or an entry point's name.

    Nothing is imported before the component is built. Further keys are its own arguments.
    """

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the component."""
        return dict(self.model_extra or {})


class ExternalComponent(External):
    """A component of the user's own, by name."""

    name: Target
    """Where the component is found."""


class Choice:
    """Annotation of a union of configs: the member is chosen by the value of one key.

    Each member declares that key as a ``Literal`` of its names. The short form, a name alone, is
    expanded to a mapping. ``Annotated[A | B | ExternalComponent, Choice("genrec.losses")]``
    also takes components of the user's own.

    Args:
        group: entry point group of components of the user's own; None where there are none.
        key: the key that names the component.
        default: name where a mapping has none.
        prepare: changes a mapping before it is validated, for instance fills in a preset.
    """

    def __init__(
        self,
        group: str | None = None,
        *,
        key: str = "name",
        default: str | None = None,
        prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.group = group
        self.key = key
        self.default = default
        self.prepare = prepare
        self.members: dict[str, type[Config]] = {}
        self.takes_external = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Pydantic's hook: a tagged union behind the expansion of short forms."""
        configs = get_args(source) or (source,)
        choices: dict[str, CoreSchema] = {}
        for config in configs:
            schema = handler.generate_schema(config)
            if issubclass(config, External):
                self.takes_external = True
                choices[tag(EXTERNAL)] = schema
                continue
            for name in names_of(config, self.key):
                self.members[name] = config
                choices[tag(name)] = schema
        union = core_schema.tagged_union_schema(choices, discriminator=self._tag_of)
        return core_schema.no_info_before_validator_function(self._expand, union)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Pydantic's hook: the JSON schema of the members."""
        return handler(schema)

    @property
    def names(self) -> list[str]:
        """The names of the built-in members."""
        return list(self.members)

    def config_of(self, name: str) -> type[Config]:
        """The config that a component of that name is validated by."""
        return self.members.get(name, External)

    def is_external(self, name: str) -> bool:
        """Whether a name means a component of the user's own."""
        if not self.takes_external or name in self.members:
            return False
        return ":" in name or name in self._entry_points()

    def _entry_points(self) -> list[str]:
        if self.group is None:
            return []
        return sorted({point.name for point in entry_points(group=self.group)})

    def _tag_of(self, value: Any) -> str:
        name = value[self.key] if isinstance(value, Mapping) else getattr(value, self.key)
        return tag(EXTERNAL if isinstance(value, External) or self.is_external(name) else name)

    def _expand(self, value: Any) -> Any:
        """A name, a mapping or a config as something that has the key."""
        if isinstance(value, Config):
            return value
        if isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                CHOICE, "give one of {names}, or a mapping with the key {key}", self._facts()
            )
        content = dict(value)
        if self.default is not None:
            content.setdefault(self.key, self.default)
        name = content.get(self.key)
        if not isinstance(name, str) or not (name in self.members or self.is_external(name)):
            raise self._unknown(name)
        return self.prepare(content) if self.prepare else content

    def _unknown(self, name: object) -> PydanticCustomError:
        if name is None:
            return PydanticCustomError(CHOICE, "needs the key {key}: {names}{own}", self._facts())
        close = get_close_matches(str(name), self.names, n=1)
        hint = f"; did you mean {close[0]!r}? Choose" if close else "; choose"
        facts = self._facts() | {"hint": hint, "found": repr(name)}
        return PydanticCustomError(CHOICE, "unknown{hint} one of {names}{own}", facts)

    def _facts(self) -> dict[str, str]:
        own = ", or a component of your own as module:attribute or file.py:attribute"
        return {
            "key": self.key,
            "names": ", ".join([*self.names, *self._entry_points()]),
            "own": own if self.takes_external else "",
        }


def tag(name: str) -> str:
    """The mark of a member in the location of a validation error, which no key looks like."""
    return f"<{name}>"


def names_of(config: type[Config], key: str) -> list[str]:
    """The names that a member of a choice declares as the ``Literal`` of its key."""
    return [str(name) for name in get_args(config.model_fields[key].annotation)]


def choice_of(annotation: Any, metadata: list[Any]) -> Choice | None:
    """The choice of a field, None where it is none."""
    found = [each for each in (*metadata, *get_args(annotation)) if isinstance(each, Choice)]
    return found[0] if found else None
