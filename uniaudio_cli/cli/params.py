"""The flags that commands share, and dataclasses that stand for groups of them. Imports nothing heavy."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from uniaudio_cli.cli.console import note, silenced, stderr
from uniaudio_cli.core.errors import AudioWarning, UsageError
from uniaudio_cli.models.choice import ModelChoice
from uniaudio_cli.models.presets import DEFAULT_MODEL

if TYPE_CHECKING:
    from uniaudio_cli.api import Kit


def _seed(number: int) -> int:
    if not 0 <= number < 1 << 63:
        raise typer.BadParameter("a seed is a number from 0 to 9223372036854775807")
    return number


# The section of --help for the models' flags.
MODELS = "Models"

Files = Annotated[list[Path], typer.Argument(help="Audio files, folders, patterns, or .txt/.scp lists.")]
TaskName = Annotated[str, typer.Option("--task", "-t", help="Shipped task or .yaml file (`uniaudio tasks list`).")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Audio file for one input, else a folder.")]
LabelOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="File of labels to write: .jsonl, .csv or .json.")
]
LabelReport = Annotated[
    Path | None, typer.Option("--report", help="HTML page to write: every clip with player, spectrogram and scores.")
]
PairReport = Annotated[
    Path | None, typer.Option("--report", help="HTML page to write: players and spectrograms before and after.")
]
SpokenReport = Annotated[
    Path | None, typer.Option("--report", help="HTML page to write: players, and what Whisper recognises.")
]
Labels = Annotated[str | None, typer.Option("--labels", help="Only these labels, comma-separated.")]
NamedLabels = Annotated[
    str | None,
    typer.Option("--labels", help="Labels, comma-separated: some of --demos, or without --demos any names."),
]
Descriptions = Annotated[
    Path | None,
    typer.Option("--descriptions", help="Without --demos: .yaml, .json or .csv of label and sentence."),
]
OptionalDemos = Annotated[
    Path | None,
    typer.Option("--demos", "-d", help="Folder: LABEL/clip.wav or metadata.csv|jsonl; without it, --labels by name."),
]
Select = Annotated[
    str | None,
    typer.Option("--select", help="How demonstrations are chosen: random, or representative of their label."),
]
Readout = Annotated[
    str | None, typer.Option("--readout", help="How labels are scored: likelihood, label (as published), similarity.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the .jsonl of --output; skip clips it has.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Report the tokens that demonstrations take; load no LLM.")]
Strength = Annotated[
    float, typer.Option("--strength", min=0.0, max=1.0, help="How much is done: 0 leaves the input as it is.")
]
AbstainBelow = Annotated[
    float | None,
    typer.Option(
        "--abstain-below", min=0.0, max=1.0, help="Make no audio of an answer of a lower probability; exit 3."
    ),
]
Think = Annotated[
    bool,
    typer.Option("--think/--no-think", help="Whether a short thought comes before an unsure answer to a sum."),
]
Voice = Annotated[
    str | None, typer.Option("--voice", help="Only demonstrations by this speaker: `group` of the metadata.")
]
Stream = Annotated[bool, typer.Option("--stream", help="Write audio while it is generated: .wav, or - for stdout.")]
Device = Annotated[str, typer.Option("--device", rich_help_panel=MODELS, help="auto, cpu, cuda, cuda:N or mps.")]
Seed = Annotated[
    int, typer.Option("--seed", callback=_seed, help="Seed of demonstration choice, sampling and decoder.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print records to stdout, one JSON object a line.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Task key: KEY=VALUE, such as clip.seconds=2.")]
CodecName = Annotated[
    str, typer.Option("--codec", help="Preset or checkpoint: .safetensors, folder, or published .pth.")
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model", "-m", rich_help_panel=MODELS, help="Preset of an LLM and a codec (`uniaudio models list`)."
    ),
]
LM = Annotated[
    str | None,
    typer.Option(
        "--lm", rich_help_panel=MODELS, help="Other LLM than the preset's: preset, folder, .gguf or hub name."
    ),
]
OtherCodec = Annotated[
    str | None,
    typer.Option("--codec", rich_help_panel=MODELS, help="Other codec than the preset's: preset or checkpoint."),
]
DType = Annotated[
    str,
    typer.Option("--dtype", rich_help_panel=MODELS, help="LLM weights: auto, float32, bfloat16 or float16."),
]
Bits = Annotated[
    int | None, typer.Option("--bits", rich_help_panel=MODELS, help="Quantise the LLM to 4 or 8 bits (needs a GPU).")
]
OneObject = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Offline = Annotated[bool, typer.Option("--offline", rich_help_panel=MODELS, help="Never download anything.")]


@dataclass(frozen=True)
class ModelOptions(ModelChoice):
    """The models that a command loads, and how."""

    model: ModelName = DEFAULT_MODEL
    lm: LM = None
    codec: OtherCodec = None
    device: Device = "auto"
    dtype: DType = "auto"
    bits: Bits = None
    offline: Offline = False

    def load(self, quiet: bool, defer_lm: bool = False, answer_lm: str | None = None) -> Kit:
        """The models, with a spinner on a terminal. `defer_lm`, `answer_lm`: as `api.load`."""
        from uniaudio_cli.api import load

        # Off a terminal the spinner would be one line of text.
        with stderr(quiet or not stderr().is_terminal).status(f"loading {self.lm or self.model}"):
            return load(
                **self.arguments, answer_lm=answer_lm, defer_lm=defer_lm, progress=lambda line: note(line, quiet)
            )

    def load_to_speak(self, quiet: bool, levels: Sequence[int]) -> Kit:
        """The models of spoken answers: --lm answers in text, and writes the audio where it has the codec's words."""
        try:
            kit = self.load(quiet)
            if self.lm is None or self.codec is not None or set(levels) <= set(kit.vocabulary.levels):
                return kit
        except UsageError:
            if self.lm is None or self.codec is not None:
                raise
        kit = replace(self, lm=None).load(quiet, answer_lm=self.lm)
        note(f"note: {self.lm} answers in text and {kit.lm.name} writes the audio: the codec is in its words", quiet)
        return kit


@dataclass(frozen=True)
class DemoSettings:
    """How demonstrations are used, and changes to the task."""

    shots: Annotated[
        int | None, typer.Option("--shots", "-k", min=1, help="Demonstrations per label or text (default: the task's).")
    ] = None
    levels: Annotated[
        str | None, typer.Option("--levels", help="Codec levels in the prompt, coarsest 0: 0,1; labels: sounds,0.")
    ] = None
    settings: Settings = None
    seed: Seed = 0


@dataclass(frozen=True)
class DemoOptions(DemoSettings):
    """The demonstrations of a command, and changes to its task."""

    demos: Annotated[
        Path, typer.Option("--demos", "-d", help="Folder: LABEL/clip.wav, metadata.csv|jsonl, or noisy/ + clean/.")
    ] = field(kw_only=True)


@dataclass(frozen=True)
class LabelOutputs:
    """What a run of labels writes and names beside its records."""

    output: LabelOutput = None
    resume: Resume = False
    copy_to: Annotated[
        Path | None, typer.Option("--copy-to", help="Copy each clip to FOLDER/LABEL.", show_default=False)
    ] = None
    link_to: Annotated[
        Path | None, typer.Option("--link-to", help="Link each clip from FOLDER/LABEL.", show_default=False)
    ] = None
    embed: Annotated[
        Path | None, typer.Option("--embed", help="Write clip features: .npy, .csv or .parquet.", show_default=False)
    ] = None
    report: LabelReport = None
    suggest: Annotated[
        int, typer.Option("--suggest", min=0, max=100, help="Name this many clips that are most worth labelling next.")
    ] = 0


@dataclass(frozen=True)
class OpenSetOptions:
    """Clips that are none of the labels."""

    unknown: Annotated[
        bool, typer.Option("--unknown", help='Label "unknown" what is far from all demonstrations; threshold learnt.')
    ] = False
    unknown_below: Annotated[
        float | None, typer.Option("--unknown-below", min=-1.0, max=1.0, help="As --unknown, below this similarity.")
    ] = None

    @property
    def value(self) -> float | str | None:
        """The task's `unknown_below`; None leaves it as it is."""
        return self.unknown_below if self.unknown_below is not None else ("auto" if self.unknown else None)


@dataclass(frozen=True)
class LongOptions:
    """Recordings that hold more than one label."""

    segments: Annotated[
        bool, typer.Option("--segments", help="Find labels in long recordings: -o .jsonl, .csv or .txt (Audacity).")
    ] = False
    stream: Annotated[
        bool, typer.Option("--stream", help="Label raw 16-kHz 16-bit mono samples on stdin (-), a window at a time.")
    ] = False
    window: Annotated[
        float | None, typer.Option("--window", help="Of --segments, --stream: seconds a window (default: 2 at most).")
    ] = None
    min_seconds: Annotated[
        float, typer.Option("--min-seconds", min=0.0, help="Of --segments: leave out what is shorter.")
    ] = 0.0
    window_scores: Annotated[
        Path | None, typer.Option("--window-scores", help="Of --segments: write every window's scores, .jsonl or .csv.")
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """What a command prints and overwrites."""

    as_json: AsJSON = False
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the first input's prompt and token counts, then stop.")
    ] = False
    quiet: Quiet = False
    force: Force = False


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """`command` for typer: a parameter annotated with a dataclass becomes one flag per field of it.

    With --quiet, warnings and what C libraries write to file descriptor 2 are discarded while it runs.
    """
    plain: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if not is_dataclass(parameter.annotation):
            plain.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = parameter.annotation
        hints = get_type_hints(parameter.annotation, include_extras=True)
        for each in fields(parameter.annotation):
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            keyword = inspect.Parameter.KEYWORD_ONLY
            plain.append(inspect.Parameter(each.name, keyword, default=default, annotation=hints[each.name]))

    def call(**given: Any) -> None:
        quiet = bool(given.get("quiet"))
        for name, kind in groups.items():
            given[name] = kind(**{each.name: given.pop(each.name) for each in fields(kind)})
        with silenced(quiet), warnings.catch_warnings():
            if quiet:
                warnings.simplefilter("ignore", AudioWarning)
            command(**given)

    call.__name__, call.__doc__, call.__module__ = command.__name__, command.__doc__, command.__module__
    call.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in plain}
    return call
