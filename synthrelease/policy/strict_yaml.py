"""YAML read strictly, with the place of every value.

Plain YAML 1.1 is dangerous in a privacy policy: ``1e-5`` loads as text, a key given twice silently wins, ``no`` is
False and ``12:30`` is 750. Here only null, true/false, decimal integers and decimal floats (with exponent) are more
than text, a repeated key is a problem, and anchors, tags and merges are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$")
_CONSTANTS = {"null": None, "~": None, "": None, "true": True, "false": False}


@dataclass(frozen=True)
class Place:
    """Where a value stands in its file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong, and where.

    >>> str(Problem(3, 5, "privacy.delta", "required setting is missing"))
    '3:5: privacy.delta: required setting is missing'
    """

    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


@dataclass
class Document:
    """A YAML file as plain values, with the place of each and the problems met while reading."""

    value: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """The place of ``path`` or of its nearest ancestor."""
        while path:
            places = self.keys if key else self.values
            if path in places:
                return places[path]
            path = path[:-1]
            key = True
        return self.values.get((), Place(1, 1))


def dotted(path: Path) -> str:
    """``("roles", "approvers", 0)`` as ``roles.approvers[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read_yaml(text: str) -> Document:
    """Parse one YAML document.

    Args:
        text: The file's content.

    Returns:
        The document; ``problems`` is empty when all went well. A syntax error is a problem, not an exception.
    """
    document = Document()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.problems.append(Problem(line, column, "", f"not valid YAML: {error.problem or error.context}"))
        return document
    except yaml.YAMLError:
        document.problems.append(Problem(1, 1, "", "not valid YAML: a character that YAML does not allow"))
        return document
    if root is None:
        document.problems.append(Problem(1, 1, "", "the file is empty"))
        return document
    document.value = _Reader(document).read(root, ())
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()

    def read(self, node: yaml.Node, path: Path) -> Any:
        place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
        self._document.values[path] = place
        if id(node) in self._seen:
            self._problem(place, path, "an alias; write the value out instead")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        return dict(self._items(node, path))

    def _items(self, node: yaml.Node, path: Path) -> Iterator[tuple[str, Any]]:
        first: dict[str, Place] = {}
        for key_node, value_node in node.value:
            place = Place(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, path, "a key must be a word")
                continue
            key = key_node.value
            below: Path = (*path, key)
            if key in first:
                self._problem(place, below, f"given twice (first on line {first[key].line})")
                continue
            if key == "<<":
                self._problem(place, path, "a merge; write the values out instead")
                continue
            first[key] = place
            self._document.keys[below] = place
            yield key, self.read(value_node, below)

    def _scalar(self, node: yaml.ScalarNode, path: Path, place: Place) -> Any:
        if node.tag not in _PLAIN_TAGS:
            self._problem(place, path, f"the tag {node.tag} is not allowed here")
            return None
        text: str = node.value
        if node.style is not None:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.match(text):
            return int(text)
        return float(text) if _FLOAT.match(text) else text

    def _problem(self, place: Place, path: Path, message: str) -> None:
        self._document.problems.append(Problem(place.line, place.column, dotted(path), message))


_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}
