"""The three kinds of task, and what follows from a task's kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DemonstrationKind = Literal["label", "text", "pair"]
TaskKind = Literal["classify", "speak", "enhance"]
Selection = Literal["random", "clearest_speech", "separable", "representative"]


@dataclass(frozen=True)
class KindRules:
    """What follows from a task's input and output.

    `demonstration_kind`: what each demonstration has beside its audio. `placeholders`: those of the instruction.
    `levels`: the default. `selections`: the strategies that apply. `lengths`: those of `generation.length`.
    """

    input: Literal["audio", "text"]
    output: Literal["label", "audio"]
    demonstration_kind: DemonstrationKind
    levels: tuple[int, ...]
    selections: tuple[Selection, ...]
    placeholders: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ("input", "demonstrations", "free")


# The one table of task kinds.
KINDS: dict[TaskKind, KindRules] = {
    "classify": KindRules("audio", "label", "label", (0,), ("random", "representative"), ("labels",)),
    "speak": KindRules(
        "text",
        "audio",
        "text",
        (0, 1, 2),
        ("random", "clearest_speech", "separable"),
        lengths=("demonstrations", "free"),
    ),
    "enhance": KindRules("audio", "audio", "pair", (0, 1, 2), ("random",)),
}


def task_kind(input: str, output: str) -> TaskKind | None:
    """The kind of task with this input and output; None where there is none."""
    return next((kind for kind, rules in KINDS.items() if (rules.input, rules.output) == (input, output)), None)
