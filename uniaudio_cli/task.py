"""A task's YAML to a frozen `Task`, checked to the last key. Knows no audio and no prompt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from uniaudio_cli.errors import UsageError
from uniaudio_cli.files import data_folder, show, suggest

Wants = Literal["label", "text", "pair"]


@dataclass(frozen=True)
class Clip:
    """How a clip is cut before it is heard: the arguments of `audio.fit`."""

    seconds: float = 1.0
    crop: Literal["start", "loudest"] = "start"
    pad: bool = True

    def __post_init__(self) -> None:
        _check_choices(self, "clip.")
        _check(0 < self.seconds < math.inf, "clip.seconds", "more than 0", self.seconds)


@dataclass(frozen=True)
class Generation:
    """How audio is generated: as long as the input, as the demonstrations are, or until the LLM ends it."""

    length: Literal["input", "demonstrations", "free"] = "demonstrations"
    max_seconds: float = 10.0
    temperature: float = 0.0

    def __post_init__(self) -> None:
        _check_choices(self, "generation.")
        _check(0 < self.max_seconds < math.inf, "generation.max_seconds", "more than 0", self.max_seconds)
        _check(0 <= self.temperature < math.inf, "generation.temperature", "0 or more", self.temperature)


@dataclass(frozen=True)
class Task:
    """What is asked of the LLM, and how.

    `instruction` may hold {labels} where the output is a label; "" leaves the instruction out. `levels` are the
    codec levels that enter the prompt, 0 the coarsest: by default (0,) for labels, (0, 1, 2) for audio. `ways` is the
    most labels an episode takes, None for all. `readout` says how a label is scored and means nothing for audio.
    `worked` are questions with the answers that would do, for tasks whose answer is thought out as text first.

    Raises:
        UsageError: a value that is out of range or does not go with another; the message names the key.
    """

    name: str
    description: str
    input: Literal["audio", "text"]
    output: Literal["label", "audio"]
    instruction: str
    template: str = "plain"
    levels: tuple[int, ...] = ()
    shots: int = 1
    ways: int | None = None
    repeats: int = 1
    clip: Clip = field(default_factory=Clip)
    readout: Literal["likelihood", "label"] = "likelihood"
    generation: Generation = field(default_factory=Generation)
    worked: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        _check_choices(self)
        if not self.levels:
            object.__setattr__(self, "levels", (0,) if self.output == "label" else (0, 1, 2))
        rising = all(a < b for a, b in zip((-1, *self.levels), self.levels, strict=False))
        for key in ("name", "description", "template"):
            _check(bool(getattr(self, key).strip()), key, "more than blanks", getattr(self, key))
        _check(rising, "levels", "rising whole numbers from 0 up", list(self.levels))
        _check(self.shots >= 1, "shots", "1 or more", self.shots)
        _check(self.ways is None or self.ways >= 2, "ways", "2 or more", self.ways)
        _check(self.repeats >= 1, "repeats", "1 or more", self.repeats)
        _check(self.input == "audio" or self.output == "audio", "output", "audio where the input is text", self.output)
        if self.wants == "pair":  # the two sides of a pair are cut apart, so only the start keeps them aligned
            _check(self.clip.crop == "start", "clip.crop", "start where audio becomes audio", self.clip.crop)
        if self.input == "text":
            length = self.generation.length
            _check(length != "input", "generation.length", "demonstrations or free where the input is text", length)
        self._check_instruction()

    def _check_instruction(self) -> None:
        known = ("labels",) if self.output == "label" else ()
        try:
            names = [name for _, name, _, _ in Formatter().parse(self.instruction) if name is not None]
        except ValueError as error:
            raise UsageError(f"'instruction' has a brace that is not part of {{labels}}: {error}") from error
        for name in names:
            if name not in known:
                allowed = "only {labels} is filled in" if known else "nothing is filled in where the output is audio"
                raise UsageError(f"'instruction' holds {{{name}}}, and {allowed}")

    @property
    def wants(self) -> Wants:
        """What each demonstration must bring besides its audio."""
        if self.output == "label":
            return "label"
        return "text" if self.input == "text" else "pair"


def task_names() -> list[str]:
    """Names of the shipped tasks, sorted."""
    return sorted(path.stem for path in data_folder("tasks").glob("*.yaml"))


def list_tasks() -> list[Task]:
    """The shipped tasks, by name."""
    return [load_task(name) for name in task_names()]


def load_task(name_or_path: str | Path) -> Task:
    """A shipped task by name, or anyone's by the path of its .yaml file.

    Raises:
        UsageError: no such task or file, or a file that does not describe a task; the message names file and key.
    """
    path = Path(name_or_path)
    if path.suffix.lower() not in (".yaml", ".yml"):
        name, known = str(name_or_path), task_names()
        if name not in known:
            raise UsageError(
                f"unknown task '{show(name)}'{suggest(name, known)}; there are {', '.join(known)}, or give a .yaml file"
            )
        path = data_folder("tasks") / f"{name}.yaml"
    try:
        return _build(Task, yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{show(path)}: cannot be read ({error.strerror})") from error
    except UsageError as error:
        raise UsageError(f"{show(path)}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{show(path)}: {line}not YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        raise UsageError(f"{show(path)}: not YAML ({' '.join(str(error).split())})") from error


def changed(task: Task, **changes: Any) -> Task:
    """`task` with what is not None among `changes` in place of its own values, checked as any task is."""
    return dataclasses.replace(task, **{key: value for key, value in changes.items() if value is not None})


def _check(holds: bool, key: str, must: str, value: object) -> None:
    if not holds:
        raise UsageError(f"'{key}' must be {must}, not {value!r}")


def _check_choices(built: object, prefix: str = "") -> None:
    for key, hint in get_type_hints(type(built)).items():
        if get_origin(hint) is Literal:
            value, choices = getattr(built, key), get_args(hint)
            _check(value in choices, prefix + key, f"one of {', '.join(choices)}", value)


def _all(kind: type, values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is kind for value in values)


# What a YAML value must be for each annotation that the dataclasses above use, and what it is turned into.
_Kind = tuple[str, Callable[[Any], bool], Callable[[Any], Any]]
_KINDS: dict[object, _Kind] = {
    str: ("text", lambda value: isinstance(value, str), str),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    int: ("a whole number", lambda value: type(value) is int, int),
    float: ("a number", lambda value: type(value) in (int, float), float),
    int | None: ("a whole number or null", lambda value: value is None or type(value) is int, lambda value: value),
    tuple[int, ...]: ("a list of whole numbers", lambda value: _all(int, value), tuple),
    tuple[tuple[str, tuple[str, ...]], ...]: (
        "a mapping of questions to lists of answers, numbers in quotes",
        lambda value: isinstance(value, dict) and all(type(key) is str and _all(str, value[key]) for key in value),
        lambda value: tuple((question, tuple(answers)) for question, answers in value.items()),
    ),
}


def _build(kind: type, values: object, prefix: str = "") -> Any:
    """A dataclass from a YAML mapping; unknown, missing and mistyped keys are UsageErrors."""
    if not isinstance(values, dict):
        raise UsageError(f"{f'{prefix[:-1]!r}' if prefix else 'a task'} must be a mapping of keys to values")
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            known = [prefix + name for name in hints]
            raise UsageError(f"unknown key '{show(f'{prefix}{key}')}'{suggest(f'{prefix}{key}', known)}")
    for each in dataclasses.fields(kind):
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and each.name not in values:
            raise UsageError(f"missing key '{prefix}{each.name}'")
    return kind(**{key: _value(hints[key], value, prefix + key) for key, value in values.items()})


def _value(hint: Any, value: object, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{key}.")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        return value  # checked where the dataclass is made
    must, holds, convert = _KINDS[hint]
    _check(holds(value), key, must, value)
    return convert(value)
