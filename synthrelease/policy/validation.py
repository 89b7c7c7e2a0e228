"""A document against a pydantic model: every problem at once, each with its place and a suggestion."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synthrelease.policy.strict_yaml import Document, Path, Problem, dotted

Model = TypeVar("Model", bound=BaseModel)
Teach = Callable[[Path, Any], str | None]
"""(path, value that the schema does not take) -> a better message, or None."""


def validate(
    model: type[Model], document: Document, teach: Teach = lambda path, value: None
) -> tuple[Model | None, list[Problem]]:
    """Check ``document`` against ``model``.

    Args:
        model: The schema; validated strictly in JSON mode (lists are tuples, 8 is 8.0, "8" is not 8).
        document: What :func:`synthrelease.policy.strict_yaml.read_yaml` returned.
        teach: Says more of a setting that is refused for a reason.

    Returns:
        The model, or None where it cannot be built, and all problems sorted by place. A model comes with no problem.
    """
    problems = list(document.problems)
    built: Model | None = None
    if document.value is not None:
        try:
            built = model.model_validate_json(json.dumps(document.value))
        except ValidationError as error:
            problems += [_problem(model, document, detail, teach) for detail in error.errors()]
        except ValueError as error:
            problems.append(Problem(1, 1, "", f"a number is out of range: {error}"))
    problems.sort()
    return (None, problems) if problems else (built, [])


def closest(word: str, candidates: Iterable[str]) -> str:
    """`` ; did you mean 'x'?`` for a near miss, else the empty string."""
    near = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def _problem(model: type[BaseModel], document: Document, detail: ErrorDetails, teach: Teach) -> Problem:
    path = _path_in(document.value, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    given = detail["input"]
    at_key = False
    if kind == "missing":
        message = "required setting is missing"
        place = document.place(path[:-1])
        return Problem(place.line, place.column, dotted(path), message)
    if kind == "extra_forbidden":
        at_key = True
        message = "unknown setting" + closest(str(path[-1]), _names_at(model, document.value, path[:-1]))
    elif kind == "literal_error":
        expected = str(context.get("expected", ""))
        words = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
        message = f"expected {expected}, got {given!r}" + closest(str(given), words)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, "name")
        expected = str(context.get("expected_tags", "a name"))
        tag = context.get("tag")
        message = f"expected {expected}" + (f", got {tag!r}" + closest(str(tag), _words(expected)) if tag else "")
    elif kind.endswith(("_type", "_parsing")):
        message = f"{detail['msg'].removeprefix('Input should be ').replace('a valid ', '')}"
        message = f"expected {message}, got {_shown(given)}"
    elif kind == "string_pattern_mismatch":
        message = f"{_shown(given)} does not match {context.get('pattern')}"
    else:
        message = f"{detail['msg'].replace('Input should', 'should')}, got {_shown(given)}"
    place = document.place(path, key=at_key)
    return Problem(place.line, place.column, dotted(path), teach(path, given) or message)


def _words(text: str) -> list[str]:
    return [word.strip("' ") for word in text.split(",")]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _path_in(value: Any, location: tuple[int | str, ...]) -> Path:
    """pydantic's location without the union tags, which stand in no document."""
    path: list[int | str] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(value, dict) and part not in value and not last and value.get("name") == part:
            continue
        path.append(part)
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None
    if path and path[-1] == "[key]":
        path.pop()
    return tuple(path)


def _names_at(model: type[BaseModel], value: Any, path: Path) -> list[str]:
    """Names of the settings allowed at ``path``."""
    current: type[BaseModel] | None = model
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
        current = _model_of(current, str(part), value) if current else None
    if current is None:
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _model_of(model: type[BaseModel], name: str, value: Any) -> type[BaseModel] | None:
    info = model.model_fields.get(name)
    if info is None:
        return None
    candidates = [a for a in (info.annotation, *typing.get_args(info.annotation)) if isinstance(a, type)]
    models = [a for a in candidates if issubclass(a, BaseModel)]
    tag = value.get("name") if isinstance(value, dict) else None
    for candidate in models:
        field = candidate.model_fields.get("name")
        if field is not None and tag in typing.get_args(field.annotation):
            return candidate
    return models[0] if models else None
