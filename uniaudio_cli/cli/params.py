"""The flags that commands share, and `ModelOptions`: the models they name. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniaudio_cli.cli.console import note, stderr

if TYPE_CHECKING:
    from uniaudio_cli.inference.pipeline import Kit


def _seed(number: int) -> int:
    if not 0 <= number < 1 << 63:
        raise typer.BadParameter("a seed is a number from 0 to 9223372036854775807")
    return number


Model = Annotated[
    str, typer.Option("--model", "-m", help="Model preset: an LLM and its codec (`uniaudio models list`).")
]
LM = Annotated[
    str | None, typer.Option("--lm", help="LLM instead of the preset's: a preset, folder, .gguf file or hub name.")
]
CodecName = Annotated[
    str | None, typer.Option("--codec", help="Codec instead of the preset's: a preset or a checkpoint.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
DType = Annotated[str, typer.Option("--dtype", help="Of the LLM's weights: auto, float32, bfloat16 or float16.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Load the LLM in 4 or 8 bits (needs bitsandbytes and a GPU).")]
Offline = Annotated[bool, typer.Option("--offline", help="Never fetch anything.")]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", callback=_seed, help="Of the choice of demonstrations, of sampling and of the decoder's noise."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite outputs that exist.")]
Files = Annotated[list[Path], typer.Argument(help="Audio files, folders, globs, or .txt/.scp lists.")]
Demos = Annotated[
    Path,
    typer.Option(
        "--demos", "-d", help="Folder of demonstrations: LABEL/clip.wav, metadata.csv|jsonl, or noisy/ + clean/."
    ),
]
Shots = Annotated[
    int | None, typer.Option("--shots", "-k", min=1, help="Demonstrations per label or text (default: the task's).")
]
Labels = Annotated[str | None, typer.Option("--labels", help="Only these labels, comma-separated.")]
Levels = Annotated[
    str | None,
    typer.Option("--levels", help="Levels the LLM sees: the codec's, coarsest 0, e.g. 0,1; for labels also prosody,0."),
]
Repeats = Annotated[int | None, typer.Option("--repeats", min=1, help="Copies of the demonstrations in the prompt.")]
NoInstruction = Annotated[
    bool, typer.Option("--no-instruction", help="Leave the task's instruction out of the prompt.")
]
ShowPrompt = Annotated[
    bool, typer.Option("--show-prompt", help="Print the prompt with token counts instead of answering.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON object per answer on stdout.")]


@dataclass(frozen=True)
class ModelOptions:
    """Which models a command was asked to use, and how."""

    model: str
    lm: str | None
    codec: str | None
    device: str
    dtype: str
    bits: int | None
    offline: bool


def load_kit(which: ModelOptions, quiet: bool) -> Kit:
    """The models, loaded once, with a spinner on a terminal."""
    from uniaudio_cli.api import load

    # Off a terminal the spinner would be one line of text.
    with stderr(quiet or not stderr().is_terminal).status(f"loading {which.lm or which.model}"):
        return load(
            which.model,
            lm=which.lm,
            codec=which.codec,
            device=which.device,
            dtype=which.dtype,
            bits=which.bits,
            offline=which.offline,
            progress=lambda line: note(line, quiet),
        )
