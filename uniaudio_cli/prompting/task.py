"""Tasks: a YAML file describes what a prompt contains and how its answer is made; read and checked here.

Longer than other files because every key carries its description, unit and example, from which docs are generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from uniaudio_cli.audio.levels import FROZEN_LEVELS, NAMED_LEVELS, PROSODY, SPEECH, TAGS, level_name
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder, show, suggest
from uniaudio_cli.core.schema import FROM_LIST, NOT_BLANK, Expected, Schema, load_yaml, refuse, require
from uniaudio_cli.prompting.kinds import KINDS, DemonstrationKind, KindRules, Selection, TaskKind, task_kind

_LEVELS = "a list of whole numbers from 0 up or speech, sounds or prosody"
_QA_EXAMPLES = "a mapping of questions to lists of answers, numbers in quotes"


def _levels(value: object) -> object:
    """Level numbers of a YAML list, where some are names; negative numbers stand for those in Python only."""
    if not isinstance(value, list):
        return value
    if any(type(each) is int and each < 0 for each in value):
        refuse(_LEVELS, value)
    return tuple(NAMED_LEVELS.get(each, each) if isinstance(each, str) else each for each in value)


def _qa_examples(value: object) -> object:
    """A mapping of questions to lists of answers as pairs."""
    if not isinstance(value, Mapping):
        return value
    return tuple((ask, tuple(answers) if isinstance(answers, list) else answers) for ask, answers in value.items())


Level = Annotated[
    int,
    Field(ge=SPEECH, le=31),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 31}, {"enum": list(NAMED_LEVELS)}]}),
]
Levels = Annotated[tuple[Level, ...], BeforeValidator(_levels), Field(min_length=1), Expected(_LEVELS)]
Offset = Annotated[int, Field(ge=0, le=10_000)]
QaExamples = Annotated[
    tuple[tuple[str, Annotated[tuple[str, ...], Field(min_length=1)]], ...],
    BeforeValidator(_qa_examples),
    Expected(_QA_EXAMPLES),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        }
    ),
]


class Clip(Schema):
    """How a clip is cut before it is encoded."""

    seconds: float = Field(
        default=1.0,
        ge=0.05,
        le=600,
        description="Longest clip; a longer one is cropped to it.",
        examples=[2.0],
        json_schema_extra={"unit": "s"},
    )
    crop: Literal["start", "loudest"] = Field(
        default="start",
        description="Which part of a longer clip is kept: its start, or the loudest stretch.",
        examples=["loudest"],
    )
    pad: bool = Field(
        default=True, description="Whether a shorter clip is padded with silence to `seconds`.", examples=[False]
    )
    time_offsets_ms: Annotated[
        tuple[Offset, ...],
        FROM_LIST,
        Field(min_length=1, max_length=32),
        Expected("a list of 1 to 32 whole numbers of milliseconds from 0 to 10000"),
    ] = Field(
        default=(0,),
        description="The clip is encoded once after each of these lengths of silence, and the likelihood readout "
        "averages the scores, so that they depend less on where the codec's frames fall.",
        examples=[[0, 30, 60, 90]],
        json_schema_extra={"unit": "ms"},
    )


class Generation(Schema):
    """How audio is generated."""

    length: Literal["input", "demonstrations", "free"] = Field(
        default="demonstrations",
        description="Length of the answer: that of the input, within the range of the demonstrations, or free until "
        "the LLM ends it.",
        examples=["input"],
    )
    max_seconds: float = Field(
        default=10.0,
        ge=0.05,
        le=600,
        description="Upper limit of the length of an answer.",
        examples=[2.0],
        json_schema_extra={"unit": "s"},
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="0 takes the likeliest token (greedy); above 0 the token is sampled.",
        examples=[1.0],
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Nucleus sampling: sample among the likeliest tokens that have this probability together.",
        examples=[0.9],
    )
    ngram_order: Annotated[int, Expected("0, or a whole number from 2 to 32")] = Field(
        default=0,
        ge=0,
        le=32,
        description="Order of an n-gram model of the demonstrations that is mixed with the LLM, each with half the "
        "weight; 0 for none.",
        examples=[4],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.ngram_order != 1, "ngram_order", "0, or a whole number from 2 to 32", self.ngram_order)
        return self


class Task(Schema):
    """What a prompt contains and how its answer is made.

    Raises:
        UsageError: a value is out of range or does not go with another; the message names the key.
    """

    name: str = Field(description="Name of the task.", pattern=NOT_BLANK, examples=["speech-command"])
    description: str = Field(
        description="One line for lists of tasks.", pattern=NOT_BLANK, examples=["Which command word is spoken"]
    )
    input: Literal["audio", "text"] = Field(description="What the query is.", examples=["audio"])
    output: Literal["label", "audio"] = Field(
        description="What the answer is. Audio to label classifies, text to audio speaks, audio to audio enhances.",
        examples=["label"],
    )
    instruction: str = Field(
        description="The first line of the prompt; empty for none. Where the output is a label, `{labels}` stands for "
        "the list of labels.",
        examples=["Output is one of [{labels}]"],
    )
    template: str = Field(
        default="plain",
        description="Prompt template: a shipped one (`plain`, `reference`) or the path of a .yaml file.",
        pattern=NOT_BLANK,
        examples=["reference"],
    )
    levels: Levels = Field(
        default_factory=lambda data: KINDS[task_kind(data["input"], data["output"]) or "enhance"].levels,
        description="Codec levels, coarsest (0) first. Before them, for labels only, `speech` and `sounds`: soft units "
        "of a frozen Whisper or YAMNet, for the similarity readout; and `prosody`: pitch, loudness and rate in words. "
        "The likelihood readout scores each level apart and leaves out those that the LLM has no tokens for.",
        examples=[[0, 1], ["sounds", 0]],
        json_schema_extra={"default_text": "[0] for labels, [0, 1, 2] for audio"},
    )
    layout: Literal["flattened", "interleaved", "auto"] = Field(
        default="flattened",
        description="Order of audio tokens where the output is audio: level after level (as published), frame by frame "
        "(can stream, and is easier for small LLMs), or `auto`: interleaved where the codec's words allow it.",
        examples=["auto"],
    )
    passthrough_levels: Annotated[tuple[Level, ...], BeforeValidator(_levels), Expected(_LEVELS)] = Field(
        default=(),
        description="Where audio becomes audio: the finest levels, copied from the input into the answer and not "
        "generated.",
        examples=[[1, 2]],
    )
    closed_vocabulary: bool = Field(
        default=False,
        description="Where the input is text: whether only the texts of the demonstrations are accepted.",
        examples=[True],
    )
    selection: Selection = Field(
        default="random",
        description="How demonstrations are chosen of those given: at random; of each text, those whose "
        "speech the codec keeps best or those that stay separable in it; of each label, the most representative.",
        examples=["representative"],
    )
    shots: int = Field(default=1, ge=1, le=1000, description="Demonstrations per label or text.", examples=[5])
    repeats: int = Field(
        default=1, ge=1, le=100, description="Copies of the demonstrations in the prompt.", examples=[4]
    )
    clip: Clip = Field(default_factory=Clip, description="How clips are cut.")
    readout: Literal["likelihood", "label", "similarity"] = Field(
        default="similarity",
        description="How labels are scored: by the likelihood of the query's audio after the demonstrations of each "
        "label, by the probability of the label after the whole prompt (as published), or, without the LLM, by the "
        "cosines between soft counts of the words of the clip and of each label's demonstrations.",
        examples=["label"],
    )
    level_weights: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...],
        FROM_LIST,
        Expected("a list of numbers above 0, one for each level"),
    ] = Field(
        default=(),
        description="Weights of the levels' cosines in the similarity readout.",
        examples=[[1.0, 0.25]],
        json_schema_extra={"default_text": "1 for speech and sounds, 0.5 for each level of the codec"},
    )
    label_names: bool = Field(
        default=False,
        description="Whether the labels' names count beside the demonstrations in the similarity readout: how far the "
        "clip's AudioSet classes speak for each name, by the LLM. The LLM is loaded for names that it has not scored "
        "before, and names that do not label the demonstrations right get no weight.",
        examples=[True],
    )
    abstain_below: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="No label is given, and no answer spoken, where the likeliest has a lower probability.",
        examples=[0.5],
    )
    doubtful_below: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Where the input is text: an answer of a lower probability is marked as not confident.",
        examples=[0.5],
    )
    unknown_below: Annotated[
        Literal["auto"] | Annotated[float, Field(ge=-1, le=1)] | None,
        Expected("auto, a number from -1 to 1, or null"),
    ] = Field(
        default=None,
        description="The label is `unknown` where the mean of two cosines, to the nearest label and to the nearest "
        "demonstration, is lower; `auto` learns the threshold from the demonstrations, each left out in turn. For the "
        "similarity readout.",
        examples=["auto"],
    )
    generation: Generation = Field(default_factory=Generation, description="How audio is generated.")
    qa_examples: QaExamples = Field(
        default=(),
        description="Where the input is text: questions with their accepted answers, of which the first that the "
        "demonstrations can say is shown. With them an LLM first answers in text, then the answer is spoken; without, "
        "the LLM writes audio at once, as published. `none` as an answer shows which questions get none.",
        examples=[{"1 + 4": ["5", "five"]}],
        json_schema_extra={"default_text": "{}"},
    )
    reasoning_examples: QaExamples = Field(
        default=(),
        description="Beside `qa_examples`: questions with a thought and an answer each, for `--think`: a short "
        "thought before an answer that would be below `doubtful_below`.",
        examples=[{"2, 3, 4, what is next?": ["The numbers grow by 1. 4 + 1 = 5.", "5"]}],
        json_schema_extra={"default_text": "{}"},
    )

    @property
    def kind(self) -> TaskKind:
        """Which of the three kinds of task this is."""
        kind = task_kind(self.input, self.output)
        assert kind is not None  # checked below
        return kind

    @property
    def rules(self) -> KindRules:
        """What follows from `kind`."""
        return KINDS[self.kind]

    @property
    def demonstration_kind(self) -> DemonstrationKind:
        """What each demonstration has beside its audio: a label, a text, or the clean recording of a pair."""
        return self.rules.demonstration_kind

    @property
    def generated_levels(self) -> tuple[int, ...]:
        """The levels of an answer that the LLM generates."""
        return tuple(level for level in self.levels if level not in self.passthrough_levels)

    @property
    def encoded_levels(self) -> tuple[int, ...]:
        """The levels that a clip is encoded on for the similarity readout."""
        return (TAGS, *self.levels) if self.label_names else self.levels

    @property
    def uses_lm(self) -> bool:
        """Whether clips are written in prompts; the similarity readout has none, and the LLM scores names at most."""
        return self.readout != "similarity"

    @property
    def uses_time_offsets(self) -> bool:
        """Whether a clip is encoded once for each of `clip.time_offsets_ms`."""
        return self.kind == "classify" and self.readout == "likelihood"

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = task_kind(self.input, self.output)
        require(kind is not None, "output", "audio where the input is text", self.output)
        rules, by_kind = self.rules, f"where demonstrations have a {self.demonstration_kind}"
        rising = all(a < b for a, b in zip((SPEECH - 1, *self.levels), self.levels, strict=False))
        order = f"in rising order, each once, {', '.join(NAMED_LEVELS)} first"
        require(rising, "levels", order, _by_name(self.levels))
        classifies = kind == "classify"
        for level in (*FROZEN_LEVELS, PROSODY):
            fits, name = classifies or level not in self.levels, level_name(level)
            require(fits, "levels", f"without {name} where the output is audio", name)
        self._check_readout()
        require(
            self.layout == "flattened" or not classifies,
            "layout",
            "flattened where the output is a label",
            self.layout,
        )
        if kind == "enhance":  # the two sides of a pair are cropped apart, so only the start keeps them aligned
            require(self.clip.crop == "start", "clip.crop", "start where audio becomes audio", self.clip.crop)
        self._check_passthrough()
        fits = self.selection in rules.selections
        require(fits, "selection", f"{' or '.join(rules.selections)} {by_kind}", self.selection)
        length, lengths = self.generation.length, " or ".join(rules.lengths)
        require(length in rules.lengths, "generation.length", f"{lengths} where the input is text", length)
        self._check_instruction()
        for ask, given in self.reasoning_examples:
            require(
                len(given) == 2, "reasoning_examples", "a thought and an answer for each question", {ask: list(given)}
            )
        return self

    def _check_readout(self) -> None:
        similarity = self.readout == "similarity"
        for level in self.levels:
            if level in FROZEN_LEVELS:
                require(similarity, "readout", f"similarity where levels hold {level_name(level)}", self.readout)
        require(similarity or not self.label_names, "label_names", "false but for readout similarity", self.label_names)
        require(
            not self.level_weights or (similarity and len(self.level_weights) == len(self.levels)),
            "level_weights",
            "one for each of the levels, and readout similarity",
            list(self.level_weights),
        )
        must = "null unless the readout is similarity"
        require(similarity or self.unknown_below is None, "unknown_below", must, self.unknown_below)

    def _check_passthrough(self) -> None:
        key, generated, given = "passthrough_levels", self.generated_levels, _by_name(self.passthrough_levels)
        require(bool(generated), key, "fewer than all levels", given)
        require(generated == self.levels[: len(generated)], key, "the last of the levels", given)
        applies = self.kind == "enhance" and self.layout == "flattened" and self.generation.length == "input"
        must = "empty unless audio becomes audio, with layout flattened and generation.length input"
        require(applies or not given, key, must, given)

    def _check_instruction(self) -> None:
        known = self.rules.placeholders
        try:
            names = [name for _, name, _, _ in Formatter().parse(self.instruction) if name is not None]
        except ValueError as error:
            raise ValueError(f"'instruction' has a brace that is not part of {{labels}}: {error}") from error
        for name in names:
            if name not in known:
                allowed = "only {labels} is filled in" if known else "nothing is filled in where the output is audio"
                raise ValueError(f"'instruction' holds {{{show(name)}}}, and {allowed}")


def task_names() -> list[str]:
    """Names of the shipped tasks, sorted."""
    return sorted(path.stem for path in data_folder("tasks").glob("*.yaml"))


def list_tasks() -> list[Task]:
    """The shipped tasks, by name."""
    return [load_task(name) for name in task_names()]


def load_task(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Task:
    """A shipped task by its name, or any task by the path of its .yaml file.

    `overrides`: values by dotted key in place of the file's, as `parse_settings` returns them.

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
    return load_yaml(path, Task, overrides)


def override_task(task: Task, **changes: Any) -> Task:
    """`task` with those of `changes` that are not None, checked as any task; keys may be dotted, as "clip.seconds".

    Raises:
        UsageError: a key is unknown or a value does not fit.
    """
    return task.replace(**{key: value for key, value in changes.items() if value is not None})


def _by_name(levels: tuple[int, ...]) -> list[int | str]:
    return [level_name(level) if level < 0 else level for level in levels]
