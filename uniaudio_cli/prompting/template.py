"""Prompt templates: a YAML file describes how demonstrations and a query are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder, suggest
from uniaudio_cli.core.schema import NOT_BLANK, Schema, load_yaml

Kind = Literal["text", "audio"]


@dataclass(frozen=True)
class Slot:
    """A placeholder, {name} in the text."""

    name: str


class Labels(Schema):
    """How {labels} is written in a task's instruction."""

    quote: str = Field(default="'", description="Put before and after each label.", examples=['"'])
    join: str = Field(default=" or ", description="Put between two labels.", examples=[", "])

    def render(self, labels: Iterable[str]) -> str:
        """The labels sorted, each once: 'dog' or 'mouse click'."""
        return self.join.join(f"{self.quote}{label}{self.quote}" for label in sorted(set(labels)))


class Template(Schema):
    """How a prompt is written. In every text {name} stands for a value; a brace of the text itself is doubled.

    Raises:
        UsageError: a placeholder is unknown, missing or out of place.
    """

    name: str = Field(description="Name of the template.", pattern=NOT_BLANK, examples=["plain"])
    description: str = Field(default="", description="What the template is for.")
    demonstration: str = Field(
        description="A demonstration: {input}, then {output}. Without {output}, the input is what is scored.",
        examples=["Input:{input}\nOutput:{output}\n"],
    )
    query: str = Field(
        description="The query: {input}. Where `demonstration` has no {output}, the text before the input and nothing "
        "else.",
        examples=["Input:{input}\nOutput:"],
    )
    audio: str = Field(description="An audio value: what is around {audio}.", examples=[" <{audio} >"])
    text: str = Field(default="{text}", description="A text value: what is around {text}.", examples=[" {text}"])
    instruction: str = Field(
        default="{instruction}\n",
        description="What is around the task's {instruction}; empty leaves out the instruction of every task.",
    )
    tokenise: Literal["pieces", "joined"] = Field(
        default="joined",
        description="`pieces` tokenises every value, and the text between two values, by itself, as the published "
        "scripts do; `joined` tokenises all text between two audios together.",
    )
    bos: bool = Field(default=False, description="Whether the prompt begins with the LLM's first token, if it has one.")
    labels: Labels = Field(default_factory=Labels, description="How {labels} is written.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        demonstration = _expect("demonstration", self.demonstration, ["input", "output"], ["input"])
        _expect("query", self.query, ["input"] if "output" in demonstration else [])
        _expect("audio", self.audio, ["audio"])
        _expect("text", self.text, ["text"])
        _expect("instruction", self.instruction, ["instruction"] if self.instruction else [])
        return self

    @property
    def shows_output(self) -> bool:
        """Whether demonstrations have an {output}; if not, the query's input is what follows the prompt."""
        return Slot("output") in split(self.demonstration)

    def around(self, kind: Kind) -> tuple[str, str]:
        """The text before and after a value of this kind: ("< ", " >") for the published audio."""
        parts = split(self.audio if kind == "audio" else self.text)
        place = parts.index(Slot(kind))
        return _text(parts[:place]), _text(parts[place + 1 :])

    def after_answer(self, answer: Kind, input: Kind) -> str:
        """The text between an answer and the next value.

        The published format has none between a label and the next demonstration: it is that one's "###\\nInput: < ".
        """
        parts = split(self.demonstration)
        after = self.around(answer)[1] + _text(parts[parts.index(Slot("output" if self.shows_output else "input")) :])
        return after or _text(parts[: parts.index(Slot("input"))]) + self.around(input)[0]


def split(text: str) -> list[str | Slot]:
    """The parts of a text with placeholders: "Input:{input}\\n" is "Input:", Slot("input"), "\\n".

    Raises:
        UsageError: a brace has no partner, or there is more than a name between two.
    """
    parts: list[str | Slot] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            # The parser returns a doubled brace by itself.
            if literal and parts and isinstance(parts[-1], str):
                parts[-1] += literal
            elif literal:
                parts.append(literal)
            if name is not None:
                if spec or conversion or not name.isidentifier():
                    raise ValueError("only a name is allowed between braces")
                parts.append(Slot(name))
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}; a brace of the text itself is doubled") from error
    return parts


def load_template(name_or_path: str | Path) -> Template:
    """A template by its name among the shipped ones, or by the path of a YAML file.

    Raises:
        UsageError: there is no such template or file, or the file is not a template; the message names file and key.
    """
    path, folder = Path(name_or_path), data_folder("prompts")
    if path.suffix.lower() not in (".yaml", ".yml"):
        name, names = str(name_or_path), sorted(file.stem for file in folder.glob("*.yaml"))
        if name not in names:
            raise UsageError(
                f"unknown prompt template {name!r}{suggest(name, names)}; there are {', '.join(names)}, "
                f"or give the path of a .yaml file"
            )
        return _shipped(folder / f"{name}.yaml")
    return load_yaml(path, Template)


@cache
def _shipped(path: Path) -> Template:
    """Read once: the likelihood readout asks for the same template with every label."""
    return load_yaml(path, Template)


def _expect(key: str, text: str, *allowed: list[str]) -> list[str]:
    """The placeholders of `text`, which must be one of the `allowed` lists."""
    try:
        names = [part.name for part in split(text) if isinstance(part, Slot)]
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from error
    for name in names:
        if not any(name in one for one in allowed):
            raise ValueError(f"{key}: unknown placeholder {name!r}{suggest(name, allowed[0])}")
    if names not in allowed:
        wanted = " or ".join(_braced(one) for one in allowed)
        raise ValueError(f"{key}: the placeholders must be {wanted}, in this order, not {_braced(names)}")
    return names


def _braced(names: list[str]) -> str:
    return " ".join(f"{{{name}}}" for name in names) or "none"


def _text(parts: Iterable[str | Slot]) -> str:
    return "".join(part for part in parts if isinstance(part, str))
