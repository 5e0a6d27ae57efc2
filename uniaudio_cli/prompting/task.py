"""A task's YAML to a frozen `Task`, checked to the last key. Knows no audio and no prompt."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from uniaudio_cli.audio.prosody import NAME, PROSODY
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder, show, suggest
from uniaudio_cli.core.schema import Named, check, check_choices, load_settings

DemonstrationKind = Literal["label", "text", "pair"]

# How levels are given: numbers from 0 up, and prosody by its name.
LEVELS = Named(((NAME, PROSODY),))


@dataclass(frozen=True)
class Clip:
    """How a clip is cut before it is heard: the arguments of `audio.fit`.

    `time_offsets_ms`: milliseconds of silence to hear it after, once for each; the likelihood readout adds up what it makes of
    them, since where a clip falls among the codec's frames should not decide what it is.
    """

    seconds: float = 1.0
    crop: Literal["start", "loudest"] = "start"
    pad: bool = True
    time_offsets_ms: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        check_choices(self, "clip.")
        check(0 < self.seconds < math.inf, "clip.seconds", "more than 0", self.seconds)
        fine = len(self.time_offsets_ms) > 0 and min(self.time_offsets_ms) >= 0
        check(fine, "clip.time_offsets_ms", "whole numbers of milliseconds from 0 up", list(self.time_offsets_ms))


@dataclass(frozen=True)
class Generation:
    """How audio is generated: as long as the input, as the demonstrations are, or until the LLM ends it.

    `temperature`: 0 takes the likeliest id, more draws one; `top_p`: from the likeliest ids that have this share.
    `cache`: the n of an n-gram cache of the demonstrations in the prompt, which has as much of a say in every id as the
    LLM; 0 for none.
    """

    length: Literal["input", "demonstrations", "free"] = "demonstrations"
    max_seconds: float = 10.0
    temperature: float = 0.0
    top_p: float = 1.0
    cache: int = 0

    def __post_init__(self) -> None:
        check_choices(self, "generation.")
        check(0 < self.max_seconds < math.inf, "generation.max_seconds", "more than 0", self.max_seconds)
        check(0 <= self.temperature < math.inf, "generation.temperature", "0 or more", self.temperature)
        check(self.cache == 0 or self.cache >= 2, "generation.cache", "0, or 2 or more", self.cache)
        check(0 < self.top_p <= 1, "generation.top_p", "more than 0, at most 1", self.top_p)


@dataclass(frozen=True)
class Task:
    """What is asked of the LLM, and how.

    `instruction` may hold {labels} where the output is a label; "" leaves the instruction out. `levels` are the codec
    levels that enter the prompt, 0 the coarsest: by default (0,) for labels, (0, 1, 2) for audio; the likelihood
    readout asks of each apart and leaves out those the LLM has no words for. Before them, where the output is a label,
    may stand `PROSODY` ("prosody" in YAML): what is measured of how a clip sounds. `order`: where the output is audio,
    whether audio is written level after level, as published, or frame by frame, which can stream and is easier for a
    small LLM; "auto": frame by frame where the codec's words allow it. `kept`: where audio becomes audio, the finest
    levels, which the answer keeps as they were heard in the input. `texts`: where the input is text, whether any will
    do or only those of the demonstrations. `pick`: whether the demonstrations are drawn, or of a text those that the
    codec carries best or that stay distinct in it, or of a label those that are typical of it. `ways` is the most
    labels an episode takes, None for all. `readout` says how a label is scored, and `abstain_below` how probable the
    likeliest must be to be given; both mean nothing for audio. `worked` are questions with the answers that would do,
    for tasks whose answer is thought out as text first.

    Raises:
        UsageError: a value that is out of range or does not go with another; the message names the key.
    """

    name: str
    description: str
    input: Literal["audio", "text"]
    output: Literal["label", "audio"]
    instruction: str
    template: str = "plain"
    levels: Annotated[tuple[int, ...], LEVELS] = ()
    order: Literal["levels", "frames", "auto"] = "levels"
    kept: tuple[int, ...] = ()
    texts: Literal["any", "demonstrated"] = "any"
    pick: Literal["drawn", "carried", "distinct", "typical"] = "drawn"
    shots: int = 1
    ways: int | None = None
    repeats: int = 1
    clip: Clip = field(default_factory=Clip)
    readout: Literal["likelihood", "label"] = "likelihood"
    abstain_below: float = 0.0
    generation: Generation = field(default_factory=Generation)
    qa_examples: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.levels:
            object.__setattr__(self, "levels", (0,) if self.output == "label" else (0, 1, 2))
        rising = all(a < b for a, b in zip((PROSODY - 1, *self.levels), self.levels, strict=False))
        for key in ("name", "description", "template"):
            check(bool(getattr(self, key).strip()), key, "more than blanks", getattr(self, key))
        check(
            self.order == "levels" or self.output == "audio", "order", "levels where the output is a label", self.order
        )
        check(rising, "levels", "rising whole numbers from 0 up", list(self.levels))
        heard = self.output == "label" or PROSODY not in self.levels
        check(heard, "levels", "without prosody where the output is audio, which has to be made of codes", NAME)
        check(self.shots >= 1, "shots", "1 or more", self.shots)
        check(self.ways is None or self.ways >= 2, "ways", "2 or more", self.ways)
        check(0 <= self.abstain_below <= 1, "abstain_below", "a probability, 0 to 1", self.abstain_below)
        check(self.repeats >= 1, "repeats", "1 or more", self.repeats)
        check(self.input == "audio" or self.output == "audio", "output", "audio where the input is text", self.output)
        if (
            self.demonstration_kind == "pair"
        ):  # the two sides of a pair are cut apart, so only the start keeps them aligned
            check(self.clip.crop == "start", "clip.crop", "start where audio becomes audio", self.clip.crop)
        self._check_kept()
        pick = self.pick
        allowed = {"text": ("drawn", "carried", "distinct"), "label": ("drawn", "typical")}.get(
            self.demonstration_kind, ("drawn",)
        )
        check(
            pick in allowed,
            "pick",
            f"{' or '.join(allowed)} where demonstrations have a {self.demonstration_kind}",
            pick,
        )
        if self.input == "text":
            length = self.generation.length
            check(length != "input", "generation.length", "demonstrations or free where the input is text", length)
        self._check_instruction()

    def _check_kept(self) -> None:
        written, kept = self.written, list(self.kept)
        check(bool(written), "kept", "fewer than all levels", kept)
        check(written == self.levels[: len(written)], "kept", "the last of the levels", kept)
        fine = self.demonstration_kind == "pair" and self.order == "levels" and self.generation.length == "input"
        check(fine or not kept, "kept", "empty unless audio becomes audio as long, level after level", kept)

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
    def written(self) -> tuple[int, ...]:
        """The levels of an answer that the LLM writes."""
        return tuple(level for level in self.levels if level not in self.kept)

    @property
    def demonstration_kind(self) -> DemonstrationKind:
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
    return load_settings(path, Task)


def override_task(task: Task, **changes: Any) -> Task:
    """`task` with what is not None among `changes` in place of its own values, checked as any task is."""
    return dataclasses.replace(task, **{key: value for key, value in changes.items() if value is not None})
