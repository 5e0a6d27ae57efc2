"""`uniaudio codec train` and `codec vocabulary`: train a codec, and choose the words of its levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import counted, note, stderr
from uniaudio_cli.cli.output_paths import check_targets
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic, show

if TYPE_CHECKING:
    from uniaudio_cli.training.loop import Progress as Trained

vocabulary = typer.Typer(help="The words a codec's levels use.", no_args_is_help=True)


@options.expand
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, such as recipes/small-cpu.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Recipe key: KEY=VALUE, such as steps=100.")
    ] = None,
    lm: Annotated[str | None, typer.Option("--lm", help="LLM whose words the codec uses.")] = None,
    device: options.Device = "auto",
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a codec; a run that was stopped at any moment continues with --resume.

    Several GPUs, or CPU cores: `torchrun --nproc_per_node N -m uniaudio_cli codec train ...`, or `accelerate launch`.
    """
    from uniaudio_cli.training.recipe import load_recipe
    from uniaudio_cli.training.run import train as run

    changes = [*(settings or ()), *([f"lm={lm}"] if lm else [])]

    def say(line: object) -> None:
        note(str(line), quiet)

    with _reporter(say, quiet) as report:
        print(show(run(load_recipe(recipe, changes), output, device, resume, offline, say, report)))


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
@options.expand
def build(
    output: Annotated[Path, typer.Option("--output", "-o", help="File .json to write, for a recipe's `vocabulary`.")],
    lm: Annotated[str, typer.Option("--lm", help="Preset, folder or hub name.")] = "smollm2-135m",
    sizes: Annotated[
        str, typer.Option("--sizes", help="Codes per level; the size of the LLM's vocabulary takes its ids.")
    ] = "256,1024,1024",
    level0: Annotated[
        Path | None, typer.Option("--level0", help="File of whole words, one a line [default: the LLM's own].")
    ] = None,
    max_ids: Annotated[int, typer.Option("--max-ids", min=1, help="Most ids of a level-0 word.")] = 1,
    seed: options.Seed = 0,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Choose each level's words: frequent whole words, well spread over the LLM's embeddings, in no two levels."""
    from uniaudio_cli.training.initialise import choose_levels, load_lexicon
    from uniaudio_cli.training.words import write_vocabulary

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
    write_vocabulary(output, lm, choose_levels(counts, level0, lexicon, seed, max_ids), force)
    print(show(output))


@vocabulary.command()
@options.expand
def name(
    clips: Annotated[Path, typer.Argument(help="Folder of clips, or one with a metadata.csv or .jsonl: kind, text.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File .json to write: the codec's, with the new words.")
    ],
    codec: options.CodecName = "uniaudio-small",
    lms: Annotated[
        str, typer.Option("--lm", help="LLMs, comma-separated: a word is one id in each.")
    ] = "smollm2-135m,qwen2.5-coder-0.5b",
    words: Annotated[
        Path | None, typer.Option("--words", help="File of the words to take, one a line [default: any].")
    ] = None,
    blocklist: Annotated[
        Path | None, typer.Option("--blocklist", help="File of words that no code gets, one a line.")
    ] = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Give each code of level 0 the word that it occurs with most, as written by YAMNet or a clip's text.

    Codes and sound stay as they are; only the words change.
    """
    from uniaudio_cli.codec.checkpoint import load_codec
    from uniaudio_cli.codec.config import write_description
    from uniaudio_cli.codec.frozen.yamnet import YAMNet
    from uniaudio_cli.data.manifest import listing
    from uniaudio_cli.llm.tokenizer import load_tokenizer
    from uniaudio_cli.models.registry import resolve_codec, resolve_lm, resolve_teacher
    from uniaudio_cli.training.naming import name_level0
    from uniaudio_cli.training.words import read_blocklist, read_word_list

    def say(line: str) -> None:
        note(line, quiet)

    check_targets([output], force)
    loaded = load_codec((files := resolve_codec(codec)).weights, files.config, files.words)
    allowed = read_word_list(words) if words else None
    blocked = read_blocklist(blocklist) if blocklist else lambda word: False
    tokenizers = [load_tokenizer(str(resolve_lm(lm.strip(), offline, say).folder)) for lm in lms.split(",")]
    rows = listing(clips)
    named = name_level0(
        loaded,
        counted(rows, len(rows), "clips", quiet),
        YAMNet(resolve_teacher("yamnet", offline, say)),
        tokenizers,
        lambda word: (allowed is None or word in allowed) and not blocked(word),
        say,
    )
    with atomic(output, force) as temporary:
        write_description(temporary, loaded.config.replace(words=(named, *loaded.config.words[1:])))
    print(show(output))
