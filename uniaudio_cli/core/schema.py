"""A YAML file to a frozen dataclass, refused key by key where it does not fit. Never knows what the settings mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show, suggest

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Named:
    """Of a field `Annotated[tuple[int, ...], Named(...)]`: a list of whole numbers from 0 up, or names for others."""

    names: tuple[tuple[str, int], ...]

    def numbers(self, value: object) -> tuple[int, ...] | None:
        """The numbers a list stands for; None where it is no such list."""
        known = dict(self.names)
        if not isinstance(value, list) or not value:
            return None
        found = [known.get(each) if isinstance(each, str) else each for each in value]
        fine = all(type(n) is int and (n >= 0 or name in known) for name, n in zip(value, found, strict=True))
        return tuple(int(n) for n in found if n is not None) if fine else None


def load_settings(path: Path, kind: type[Settings], overrides: Mapping[str, Any] | None = None) -> Settings:
    """The dataclass `kind` from a YAML mapping; `overrides` ("clip.seconds": 2) stand in place of the file's values.

    Raises:
        UsageError: the file cannot be read, is not YAML, or has a key that is unknown, missing or of a wrong type or
            value; one line that names the file and the key.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in (overrides or {}).items():
            _override(values, key.split("."), value)
        return build(kind, values)
    except OSError as error:
        raise UsageError(f"{show(path)}: cannot be read ({error.strerror})") from error
    except UsageError as error:
        raise UsageError(f"{show(path)}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{show(path)}: {line}not YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise UsageError(f"{show(path)}: not YAML ({' '.join(str(error).split())})") from error


def check(holds: bool, key: str, must: str, value: object) -> None:
    """Raise a UsageError that says what `key` must be, unless it `holds`."""
    if not holds:
        raise UsageError(f"'{key}' must be {must}, not {value!r}")


def check_choices(built: object, prefix: str = "") -> None:
    """Every field annotated Literal holds one of its choices; for values that did not come from YAML."""
    for key, hint in get_type_hints(type(built)).items():
        if get_origin(hint) is Literal:
            value, choices = getattr(built, key), get_args(hint)
            check(value in choices, prefix + key, f"one of {', '.join(choices)}", value)


def build(kind: type[Settings], values: object, prefix: str = "") -> Settings:
    """A dataclass from a mapping; nested dataclasses from nested mappings."""
    if not isinstance(values, dict):
        raise UsageError(f"{f'{prefix[:-1]!r}' if prefix else 'the file'} must be a mapping of keys to values")
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            known = [prefix + name for name in hints]
            raise UsageError(f"unknown key '{show(f'{prefix}{key}')}'{suggest(f'{prefix}{key}', known)}")
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and each.name not in values:
            raise UsageError(f"missing key '{prefix}{each.name}'")
    return kind(**{key: _value(hints[key], value, prefix + key) for key, value in values.items()})


def _all(kind: type, values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is kind for value in values)


def _numbers(value: object) -> bool:
    return isinstance(value, dict) and all(type(k) is str and type(v) in (int, float) for k, v in value.items())


# What a YAML value must be for each annotation that settings use, and what it is turned into.
_Kind = tuple[str, Callable[[Any], bool], Callable[[Any], Any]]
_KINDS: dict[object, _Kind] = {
    str: ("text", lambda value: isinstance(value, str), str),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    int: ("a whole number", lambda value: type(value) is int, int),
    float: ("a number", lambda value: type(value) in (int, float), float),
    Path: ("a path", lambda value: isinstance(value, str), Path),
    tuple[int, ...]: ("a list of whole numbers", lambda value: _all(int, value), tuple),
    tuple[Path, ...]: ("a list of paths", lambda value: _all(str, value), lambda value: tuple(map(Path, value))),
    Mapping[str, float]: ("a mapping of names to numbers", _numbers, dict),
    Mapping[str, Any]: ("a mapping", lambda value: isinstance(value, dict), dict),
    tuple[tuple[str, tuple[str, ...]], ...]: (
        "a mapping of questions to lists of answers, numbers in quotes",
        lambda value: isinstance(value, dict) and all(type(key) is str and _all(str, value[key]) for key in value),
        lambda value: tuple((question, tuple(answers)) for question, answers in value.items()),
    ),
}


def _value(hint: Any, value: object, key: str) -> Any:
    if get_origin(hint) is Literal:
        check(value in get_args(hint), key, f"one of {', '.join(get_args(hint))}", value)
        return value
    if get_origin(hint) is Annotated:
        _, extra = get_args(hint)
        numbers = extra.numbers(value)
        names = " or ".join(name for name, _ in extra.names)
        check(numbers is not None, key, f"a list of whole numbers from 0 up or {names}", value)
        return numbers
    optional = [each for each in get_args(hint) if each is not type(None)]
    if type(None) in get_args(hint):
        if value is None:
            return None
        hint = optional[0]
    if dataclasses.is_dataclass(hint):
        return build(hint, value, f"{key}.")  # type: ignore[arg-type]
    must, holds, convert = _KINDS[hint]
    check(holds(value), key, must if not optional or hint not in optional else f"{must} or null", value)
    return convert(value)


def _override(values: Any, key: list[str], value: Any) -> None:
    for part in key[:-1]:
        values = values.setdefault(part, {}) if isinstance(values, dict) else None
    if not isinstance(values, dict):
        raise UsageError(f"{'.'.join(key)!r} cannot be set: it lies in no mapping")
    values[key[-1]] = value
