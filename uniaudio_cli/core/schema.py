"""Settings as frozen pydantic models: strict types, no unknown keys, and one-line errors with the key and a hint."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show, suggest
from uniaudio_cli.core.strict_yaml import NotYamlError, parse_yaml

Model = TypeVar("Model", bound="Schema")

# A YAML list where a model has a tuple, and a text where it has a path.
FROM_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
FROM_TEXT = BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)
FilePath = Annotated[Path, FROM_TEXT]

# The pattern of a text that says something.
NOT_BLANK = r"\S"


class Expected:
    """Beside a type in `Annotated`: how errors and docs describe its values, where the type does not say it."""

    def __init__(self, text: str) -> None:
        self.text = text


class Schema(BaseModel):
    """Base of all settings. Frozen; of unknown keys, wrong types and infinite numbers it makes a `UsageError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(explain(error, type(self), values)) from None

    # Without this mark, pydantic calls `__init__` for nested values too, and the error loses their outer keys.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`, checked as any other; a key may be dotted: `replace(**{"clip.seconds": 2.0})`.

        Raises:
            UsageError: a key is unknown or a value does not fit.
        """
        values: dict[str, Any] = self._values()
        for key, value in changes.items():
            _set(values, key, value)
        return build(type(self), values)

    __replace__ = replace

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


def load_yaml(path: Path, model: type[Model], overrides: Mapping[str, Any] | None = None) -> Model:
    """A model from a YAML file; `overrides` ("clip.seconds": 2.0) replace values of the file.

    Raises:
        UsageError: the file cannot be read, is not YAML, or has a key that is unknown, missing, given twice or of a
            wrong value; one line that names the file and the key.
    """
    try:
        values = parse_yaml(path.read_bytes().decode("utf-8"))
        if overrides:
            _mapping(values)
        for key, value in (overrides or {}).items():
            _set(values, key, value)
        return build(model, values)
    except OSError as error:
        raise UsageError(f"{show(path)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{show(path)}: not YAML (not UTF-8 at byte {error.start})") from error
    except ValueError as error:  # NotYamlError, or a path that no file can have
        raise UsageError(f"{show(path)}: {error}") from error
    except UsageError as error:
        raise UsageError(f"{show(path)}: {error}") from error


def build(model: type[Model], values: object) -> Model:
    """A model from a mapping of keys to values.

    Raises:
        UsageError: a key is unknown or missing, or a value does not fit.
    """
    _mapping(values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, model, values)) from None


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Settings of the command line: ["clip.seconds=2", "levels=[0, 1]"] -> {"clip.seconds": 2, "levels": [0, 1]}.

    A value is written as in YAML; of a key given twice, the last value counts.

    Raises:
        UsageError: a setting is not KEY=VALUE, or its value is not YAML.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {show(setting)}: write KEY=VALUE")
        try:
            found[key.strip()] = parse_yaml(value)
        except NotYamlError as error:
            raise UsageError(f"--set {show(setting)}: {error}") from error
    return found


def json_schema(model: type[Schema]) -> dict[str, Any]:
    """The JSON Schema of a model's files, with which editors complete and check keys."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(mode="validation")}


def refuse(must: str, value: object, key: str = "") -> NoReturn:
    """In a validator: refuse `value`. `key`: which key of the model is to blame, where the validator is the model's."""
    # Pydantic fills a template of braces in, so the message itself is made in `explain`.
    raise PydanticCustomError("must_be", "must be", {"key": key, "must": must, "value": value})


def require(holds: bool, key: str, must: str, value: object) -> None:
    """In a model's validator: refuse `value` of `key`, unless it `holds`."""
    if not holds:
        refuse(must, value, key)


def explain(error: ValidationError, model: type[Schema], values: object) -> str:
    """The first error of a validation on one line: the dotted key, what it must be and what was given."""
    rank = {"extra_forbidden": 0, "invalid_key": 0, "missing": 1}
    first = min(error.errors(include_url=False), key=lambda each: rank.get(each["type"], 2))
    keys, field, within, value = _locate(first["loc"], model, values)
    prefix = ".".join(keys)
    if first["type"] in ("extra_forbidden", "invalid_key"):
        name = ".".join([*keys, str(first["loc"][len(keys)])])
        known = [".".join([*keys, each]) for each in within.model_fields] if within else []
        return f"unknown key '{show(name)}'{suggest(name, known)}"
    if first["type"] == "missing":
        return f"missing key '{prefix}'"
    context = first.get("ctx", {})
    if first["type"] == "must_be":
        prefix = ".".join(each for each in (prefix, context["key"]) if each)
        return f"'{prefix}' must be {context['must']}, not {brief(context['value'])}"
    if first["type"] == "value_error":
        return f"'{prefix}': {context['error']}" if prefix else str(context["error"])
    must = describe(field) if field else "a mapping of keys to values"
    return f"'{prefix}' must be {must}, not {brief(value)}" if prefix else f"the file must be {must}"


def describe(field: FieldInfo) -> str:
    """What a field's values must be: "a whole number from 1 to 1000", "one of start, loudest"."""
    return _describe(field.annotation, field.metadata)


def nested(field: FieldInfo) -> type[Schema] | None:
    """The model of a field whose value is a section of its own keys; None where it is a plain value."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Schema):
            return kind
    return None


def brief(value: object) -> str:
    """A value as an error shows it: on one line, cut where it is long, `null`, `true` and `false` as in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    short.maxlist, short.maxdict, short.maxlevel = 8, 4, 3
    text = short.repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 120 else f"{text[:80]} ... {text[-20:]}"


def _locate(
    loc: tuple[int | str, ...], model: type[Schema], values: object
) -> tuple[list[str], FieldInfo | None, type[Schema] | None, object]:
    """The keys of an error's place, the field they lead to, the model they lead to or into, and the value there."""
    keys: list[str] = []
    field: FieldInfo | None = None
    within: type[Schema] | None = model
    for part in loc:
        if within is None or part not in within.model_fields:
            break
        keys.append(str(part))
        field = within.model_fields[str(part)]
        values = values.get(part) if isinstance(values, Mapping) else getattr(values, str(part), None)
        within = nested(field)
    return keys, field, within, values


def _describe(kind: Any, metadata: Sequence[Any] = ()) -> str:
    for each in metadata:
        if isinstance(each, Expected):
            return each.text
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _describe(args[0], [*args[1].metadata, *args[1:]] if isinstance(args[1], FieldInfo) else args[1:])
    if origin in (Union, UnionType):
        return f"{_describe(next(each for each in args if each is not type(None)), metadata)} or null"
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        return f"a list of {_plural(_describe(args[0]))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping of names to {_plural(_describe(args[1]))}"
    if isinstance(kind, type) and issubclass(kind, Schema):
        return "a mapping of keys to values"
    if kind is str and any(getattr(each, "pattern", None) == NOT_BLANK for each in metadata):
        return "text that is not blank"
    return _KINDS.get(kind, "a value") + _bounds(metadata)


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "a path": "paths", "a value": "values"}


def _plural(phrase: str) -> str:
    return next((many + phrase[len(one) :] for one, many in _PLURALS.items() if phrase.startswith(one)), phrase)


def _bounds(metadata: Sequence[Any]) -> str:
    """ " from 1 to 1000", " above 0, at most 1"."""
    low, high = "", ""
    for each in metadata:
        if isinstance(each, Ge):
            low = f" from {each.ge}"
        elif isinstance(each, Gt):
            low = f" above {each.gt}"
        elif isinstance(each, Le):
            high = f"{each.le}"
        elif isinstance(each, Lt):
            high = f"below {each.lt}"
    if not high:
        return f"{low} up" if low.startswith(" from") else low
    if high.startswith("below"):
        return f"{low} to {high}" if low else f" {high}"
    return f"{low} to {high}" if low.startswith(" from") else f"{low}, at most {high}" if low else f" of at most {high}"


def _mapping(values: object) -> None:
    if not isinstance(values, Mapping):
        raise UsageError("the file must be a mapping of keys to values")


def _set(values: Any, key: str, value: Any) -> None:
    """Put `value` at a dotted key; sections on the way become mappings of their own, so that no model changes."""
    *sections, last = key.split(".")
    for section in sections:
        inner = values.get(section) or {}
        inner = inner._values() if isinstance(inner, Schema) else inner
        if not isinstance(inner, dict):
            raise UsageError(f"'{show(key)}' cannot be set: '{show(section)}' is no mapping of keys to values")
        values[section] = dict(inner)
        values = values[section]
    values[last] = value
