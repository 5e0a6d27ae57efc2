"""`uniaudio codec train` and `codec vocabulary`: a recipe to a codec, an LLM to the words of its levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note, stderr
from uniaudio_cli.cli.output_paths import check_targets
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.codec.training.loop import Progress as Trained

vocabulary = typer.Typer(help="The words a codec's levels use.", no_args_is_help=True)


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/small-cpu.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE instead of the recipe's, such as steps=100.")
    ] = None,
    lm: Annotated[str | None, typer.Option("--lm", help="The LLM whose words the codec will speak.")] = None,
    device: options.Device = "auto",
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a codec; a run killed at any moment goes on with --resume.

    Several GPUs, or CPU cores: `torchrun --nproc_per_node N -m uniaudio_cli codec train ...`, or `accelerate launch`.
    """
    from uniaudio_cli.codec.training.recipe import load_recipe
    from uniaudio_cli.codec.training.run import train as run

    settings = [*(set_ or ()), *([f"lm={lm}"] if lm else [])]

    def say(line: object) -> None:
        note(str(line), quiet)

    with _reporter(say, quiet) as report:
        print(show(run(load_recipe(recipe, settings), output, device, resume, offline, say, report)))


@contextmanager
def _reporter(say: Callable[[object], None], quiet: bool) -> Iterator[Callable[[Trained], None]]:
    """What to call with each report: a bar with the time left and the losses on a terminal, a line elsewhere."""
    console = stderr(quiet)
    if quiet or not console.is_terminal:
        yield say
        return
    columns = (
        TextColumn("train"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("train", losses="", total=None)

        def report(trained: Trained) -> None:
            losses = "  ".join(f"{name} {value:.3f}" for name, value in trained.losses.items())
            bar.update(task, total=trained.steps, completed=trained.step, losses=losses)

        yield report


@vocabulary.command()
def build(
    output: Annotated[Path, typer.Option("--output", "-o", help="The .json to write; a recipe's `vocabulary`.")],
    lm: Annotated[str, typer.Option("--lm", help="A preset, folder or hub name.")] = "smollm2-135m",
    sizes: Annotated[
        str, typer.Option("--sizes", help="Codes per level; a level as large as the LLM's vocabulary takes its ids.")
    ] = "256,1024,1024",
    level0: Annotated[
        Path | None, typer.Option("--level0", help="A file of whole words, one a line [default: the LLM's own].")
    ] = None,
    pieces: Annotated[int, typer.Option("--pieces", min=1, help="Most ids a level-0 word may have.")] = 1,
    seed: options.Seed = 0,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Choose each level's words: frequent whole words, well spread over the LLM's embeddings, in no two levels."""
    from uniaudio_cli.codec.training.initialise import chosen, load_lexicon
    from uniaudio_cli.codec.training.words import write_vocabulary

    try:
        counts = tuple(int(part) for part in sizes.split(","))
    except ValueError as problem:
        raise UsageError(
            f"--sizes {sizes}: write whole numbers with commas between, such as 256,1024,1024"
        ) from problem
    if min(counts) < 1:
        raise UsageError(f"--sizes {sizes}: every level needs a code")
    check_targets([output], force)
    lexicon = load_lexicon(lm, offline, lambda line: note(line, quiet))
    write_vocabulary(output, lm, chosen(counts, level0, lexicon, seed, pieces), force)
    print(show(output))
