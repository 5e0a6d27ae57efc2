"""A YAML file to a `Template`: how demonstrations and a query are written. Never knows tokens, tasks or codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Literal

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder, suggest
from uniaudio_cli.core.schema import check_choices, load_settings

Kind = Literal["text", "audio"]


@dataclass(frozen=True)
class Slot:
    """A placeholder, {name} in the text."""

    name: str


@dataclass(frozen=True)
class Labels:
    """How {labels} is written in a task's instruction."""

    quote: str = "'"
    join: str = " or "

    def write(self, labels: Iterable[str]) -> str:
        """The labels sorted, each once: 'dog' or 'mouse click'."""
        return self.join.join(f"{self.quote}{label}{self.quote}" for label in sorted(set(labels)))


@dataclass(frozen=True)
class Template:
    """How a prompt is written. In every text {name} stands for a value; a brace of the text itself is doubled.

    `demonstration`: has {input} and then {output}, and `query` {input}. Where the input itself is what will be scored,
    `demonstration` has no {output} and `query` no {input}: it stops where the query would begin.
    `audio`, `text`: what stands around {audio} and {text}; it joins the text beside it.
    `instruction`: what stands around the task's {instruction}; "" for none, whatever the task says.
    `tokenise`: "pieces" encodes every value, and the text between two values, by itself, as the published scripts do;
    "joined" encodes all text between two audios in one go.
    `bos`: begin with the LLM's first token, if it has one.

    Raises:
        UsageError: a placeholder is unknown, missing or out of place.
    """

    name: str
    demonstration: str
    query: str
    audio: str
    text: str = "{text}"
    instruction: str = "{instruction}\n"
    tokenise: Literal["pieces", "joined"] = "joined"
    bos: bool = False
    labels: Labels = field(default_factory=Labels)
    description: str = ""

    def __post_init__(self) -> None:
        demonstration = _expect("demonstration", self.demonstration, ["input", "output"], ["input"])
        _expect("query", self.query, ["input"] if "output" in demonstration else [])
        _expect("audio", self.audio, ["audio"])
        _expect("text", self.text, ["text"])
        _expect("instruction", self.instruction, ["instruction"] if self.instruction else [])
        check_choices(self)

    @property
    def shows_output(self) -> bool:
        """Whether demonstrations have an {output}; if not, it is the query's input that is continued with."""
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
    """The parts of a written template: "Input:{input}\\n" is "Input:", Slot("input"), "\\n".

    Raises:
        UsageError: a brace stands alone, or more than a name stands between two.
    """
    parts: list[str | Slot] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            # The parser hands a doubled brace out by itself.
            if literal and parts and isinstance(parts[-1], str):
                parts[-1] += literal
            elif literal:
                parts.append(literal)
            if name is not None:
                if spec or conversion or not name.isidentifier():
                    raise ValueError("only a name may stand between braces")
                parts.append(Slot(name))
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}; a brace of the text itself is doubled") from error
    return parts


def load_template(name_or_path: str | Path) -> Template:
    """A template by its name among the shipped ones, or by the path of a YAML file.

    Raises:
        UsageError: there is none, or the file is not a template; says where and what.
    """
    path, folder = Path(name_or_path), data_folder("prompts")
    if path.suffix.lower() not in (".yaml", ".yml"):
        name, names = str(name_or_path), sorted(file.stem for file in folder.glob("*.yaml"))
        if name not in names:
            raise UsageError(
                f"no prompt template {name!r}{suggest(name, names)}; there are {', '.join(names)}, "
                f"or give the path of a .yaml file"
            )
        path = folder / f"{name}.yaml"
    return load_settings(path, Template)


def _expect(key: str, text: str, *allowed: list[str]) -> list[str]:
    """The placeholders of `text`, which must be one of the `allowed` lists."""
    try:
        names = [part.name for part in split(text) if isinstance(part, Slot)]
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from error
    for name in names:
        if not any(name in one for one in allowed):
            raise UsageError(f"{key}: unknown placeholder {name!r}{suggest(name, allowed[0])}")
    if names not in allowed:
        wanted = " or ".join(_braced(one) for one in allowed)
        raise UsageError(f"{key}: the placeholders are to be {wanted}, in this order, not {_braced(names)}")
    return names


def _braced(names: list[str]) -> str:
    return " ".join(f"{{{name}}}" for name in names) or "none"


def _text(parts: Iterable[str | Slot]) -> str:
    return "".join(part for part in parts if isinstance(part, str))
