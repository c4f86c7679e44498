"""YAML as people mean it: what its first version reads in a surprising way is refused.

PyYAML reads YAML 1.1, where 010 is eight, 1:30 is ninety, the last of two equal keys counts, and a
few lines of aliases can ask for any amount of memory.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

MOST_NODES = 10_000  # of a document, with every alias written out
DEEPEST = 50  # levels of nesting
LONGEST = 40  # characters of a value in a message
OCTAL = re.compile(r"[-+]?0[0-9_]+")
SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
UNDERSCORES = re.compile(r".*_.*")
TAG = "tag:yaml.org,2002:"
NO_SETTINGS = ("binary", "omap", "pairs", "set")  # kinds of values that no setting has


class StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses what is likely to be a mistake, or meant to do harm."""

    def construct_document(self, node: yaml.Node) -> Any:
        """The value of a document.

        Raises:
            ConstructorError: for too many nodes, or too deep ones.
        """
        _count(node, {}, 0)
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node.

        Raises:
            ConstructorError: for a text that its tag does not fit, such as ``!!int many``, and for
                a number with more digits than Python reads.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):
            if not isinstance(node, yaml.ScalarNode):
                raise
            shown = node.value if len(node.value) < LONGEST else f"{node.value[:LONGEST]}..."
            kind = node.tag.removeprefix(TAG)
            raise _refused(node, f"{shown!r} cannot be read as {kind}") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys differ.

        Raises:
            ConstructorError: for a key that comes twice.
        """
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag.endswith(":merge"):  # whose keys may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):  # refused below
                continue
            if key in seen:
                raise _refused(key_node, f"the key {key!r} comes twice: remove one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, name: str = "the text") -> Any:
    """The value of a YAML text.

    Args:
        text: one document.
        name: of the text, for messages.

    Raises:
        YAMLError: if it is not valid, or says something that YAML 1.1 reads in a surprising way.

    >>> parse_yaml("a: {b: 1e-3, c: [2, yes]}")
    {'a': {'b': '1e-3', 'c': [2, True]}}
    """
    loader = StrictLoader(text)
    loader.name = name
    try:
        return loader.get_single_data()
    except RecursionError:  # while nodes are read, before they are counted
        raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep") from None
    finally:
        loader.dispose()


def _number(loader: StrictLoader, node: yaml.ScalarNode) -> int | float:
    """A number that is written as everybody writes it."""
    text = node.value
    for pattern, name, remedy in (
        (OCTAL, "an octal number", "leave the leading zeros out, or quote it if it is a text"),
        (SIXTIES, "a number of base 60", "write a plain number, or quote it if it is a text"),
        (UNDERSCORES, "a number with underscores", "leave them out, or quote it if it is a text"),
    ):
        if pattern.fullmatch(text):
            raise _refused(node, f"{text} would be read as {name}: {remedy}")
    if node.tag.endswith(":int"):
        return loader.construct_yaml_int(node)
    return loader.construct_yaml_float(node)


def _text(loader: StrictLoader, node: yaml.ScalarNode) -> str:
    """A date as a text, for instance the name of a folder."""
    return str(loader.construct_scalar(node))


def _unwanted(loader: StrictLoader, node: yaml.Node) -> None:
    """No setting has such a value."""
    kind = node.tag.removeprefix(TAG)
    raise _refused(node, f"!!{kind} is no value of a setting: write a text, a number or a list")


for numbers in ("int", "float"):
    StrictLoader.add_constructor(f"{TAG}{numbers}", _number)
for unwanted in NO_SETTINGS:
    StrictLoader.add_constructor(f"{TAG}{unwanted}", _unwanted)
StrictLoader.add_constructor(f"{TAG}timestamp", _text)
StrictLoader.add_implicit_resolver(f"{TAG}int", OCTAL, list("-+0"))  # 08 too, which is no octal


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Number of nodes below a node, itself included; an alias counts as what it stands for."""
    if depth > DEEPEST:
        raise _refused(node, f"it is nested more than {DEEPEST} levels deep")
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_NODES + 1  # of an alias inside of what it stands for
    total = 1
    for child in _children(node):
        total += _count(child, known, depth + 1)
        if total > MOST_NODES:
            raise _refused(node, f"it has more than {MOST_NODES:,} values, aliases written out")
    known[id(node)] = total
    return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refused(node: yaml.Node, message: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)
