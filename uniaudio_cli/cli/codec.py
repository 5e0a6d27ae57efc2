"""`uniaudio codec`: encode, decode, reconstruct, look at words, inspect, convert and train codecs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import options
from uniaudio_cli.cli.answer import Files, mirrored
from uniaudio_cli.cli.options import each, finish, note
from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.files import atomic, show

if TYPE_CHECKING:
    from uniaudio_cli.codec.model import Codec

app = typer.Typer(help="The codec: audio to the LLM's words and back.", no_args_is_help=True)

Name = Annotated[
    str, typer.Option("--codec", help="A preset, or a checkpoint: .safetensors, folder, or published .pth.")
]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
COLOURS = ("cyan", "yellow", "magenta", "green")


def open_codec(name: str, device: str = "auto", offline: bool = False) -> Codec:
    from uniaudio_cli.codec.checkpoint import load_codec
    from uniaudio_cli.device import choose_device
    from uniaudio_cli.models import resolve_codec

    files = resolve_codec(name, offline)
    return load_codec(files.weights, files.config, files.words, device=choose_device(device))


@app.command()
def encode(
    files: Files,
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Audio files to codes: one JSON file each."""
    _convert_all(files, output, codec, device, quiet, force, ".json")


@app.command()
def reconstruct(
    files: Files,
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Encode and decode: what is left of a sound after the codec."""
    _convert_all(files, output, codec, device, quiet, force, ".wav", seed)


def _convert_all(
    files: list[Path], output: Path, codec: str, device: str, quiet: bool, force: bool, suffix: str, seed: int = 0
) -> None:
    from uniaudio_cli.audio import find_audio, level_db, normalise_level, read_wav, write_wav

    found = find_audio(files)
    targets = {f: t.with_suffix(suffix) for f, t in zip(found, mirrored(found, files, output), strict=True)}
    for target in targets.values():
        if target.exists() and not force:
            raise UsageError(f"{show(target)}: exists already; use --force to overwrite it")
    loaded = open_codec(codec, device)
    wanted, rate = loaded.config.level_db, loaded.sample_rate

    def work(file: Path) -> Path:
        wav = read_wav(file, rate)
        level = level_db(wav, rate)
        codes = loaded.encode((wav if wanted is None else normalise_level(wav, wanted, rate))[None])
        if suffix == ".json":
            rows = {
                "codec": codec,
                "samples": wav.shape[-1],
                "level_db": None if level == float("-inf") else round(level, 2),
            }
            with atomic(targets[file], force) as temporary:
                temporary.write_text(
                    json.dumps({**rows, "codes": [c[0].tolist() for c in codes]}) + "\n", encoding="utf-8"
                )
        else:
            made = loaded.decode(codes, seed=seed)[0, :, : wav.shape[-1]].cpu()
            if wanted is not None:
                made = made * 10 ** ((level - wanted) / 20)
            write_wav(targets[file], made, rate, force)
        return targets[file]

    failed = 0
    for _, written in each(found, work, "encode" if suffix == ".json" else "reconstruct", quiet):
        failed += written is None
        if written is not None:
            print(show(written))
    finish(failed, len(found))


@app.command()
def decode(
    files: Annotated[list[Path], typer.Argument(help="JSON files that `codec encode` wrote.")],
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Codes back to audio, at the level and length of the original."""
    import torch

    from uniaudio_cli.audio import write_wav

    loaded = open_codec(codec, device)

    def work(file: Path) -> Path:
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            codes = [torch.tensor([row], dtype=torch.int64) for row in stored["codes"]]
            wav = loaded.decode(codes, seed=seed)[0, :, : int(stored["samples"])].cpu()
            level, wanted = stored.get("level_db"), loaded.config.level_db
        except OSError as problem:
            raise UniAudioError(f"{show(file)}: cannot be read ({problem.strerror})") from problem
        except (ValueError, KeyError, TypeError, RuntimeError) as problem:
            raise UniAudioError(f"{show(file)}: not codes of this codec ({problem})") from problem
        if wanted is not None:
            wav = wav * (0.0 if level is None else 10 ** ((level - wanted) / 20))
        target = output / f"{file.stem}.wav"
        write_wav(target, wav, loaded.sample_rate, force)
        return target

    failed = 0
    for _, target in each(files, work, "decode", quiet):
        failed += target is None
        if target is not None:
            print(show(target))
    finish(failed, len(files))


@app.command()
def words(
    files: Files,
    codec: Name = "uniaudio-small",
    lm: Annotated[
        str, typer.Option("--lm", help="Whose spelling published acoustic codes get; needed for them only.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a clip on stdout.")] = False,
    run: Annotated[
        int, typer.Option("--run", min=2, help="Mark runs of at least so many words that several clips share.")
    ] = 2,
) -> None:
    """Clips as the words the LLM sees, level by level; runs that several clips share are underlined."""
    from uniaudio_cli.api import load_spelling
    from uniaudio_cli.audio import find_audio, normalise_level, read_wav

    found = find_audio(files)
    loaded = open_codec(codec)
    spell = load_spelling(loaded.config, lm or None)
    rate, wanted = loaded.sample_rate, loaded.config.level_db

    def work(file: Path) -> list[list[str]]:
        wav = read_wav(file, rate)
        codes = loaded.encode((wav if wanted is None else normalise_level(wav, wanted, rate))[None])
        return [[spell(k, code) for code in level[0].tolist()] for k, level in enumerate(codes)]

    heard = [(file, levels) for file, levels in each(found, work, "words", quiet=False) if levels is not None]
    if as_json:
        for file, levels in heard:
            print(json.dumps({"file": show(file), "levels": levels}, ensure_ascii=False))
    else:
        for level in range(len(loaded.strides)):
            _print_level(level, [(file, levels[level]) for file, levels in heard], run)
    finish(len(found) - len(heard), len(found))


def _print_level(level: int, rows: list[tuple[Path, list[str]]], run: int) -> None:
    """One level of all clips, words in columns, so that frame t of every clip stands in one column."""
    common = shared_runs([words for _, words in rows], run)
    width = max((len(word) for _, words in rows for word in words), default=1)
    per_line = max(1, (Console().width - 2) // (width + 1))
    Console().print(Text(f"level {level}", style="bold"))
    for (file, words), marks in zip(rows, common, strict=True):
        Console().print(Text(f"  {show(file)}", style="dim"), soft_wrap=True)
        for start in range(0, len(words), per_line):
            line = Text("  ")
            for word, marked in list(zip(words, marks, strict=True))[start : start + per_line]:
                line.append(word, style=f"{COLOURS[level % len(COLOURS)]}{' underline bold' if marked else ''}")
                line.append(" " * (width + 1 - len(word)))
            Console().print(line, soft_wrap=True)


def shared_runs(rows: list[list[str]], run: int) -> list[list[bool]]:
    """For every word of every row, whether it lies in a run of `run` words that another row has too.

    >>> shared_runs([["a", "b", "c"], ["x", "a", "b"]], 2)
    [[True, True, False], [False, True, True]]
    """
    homes: dict[tuple[str, ...], set[int]] = {}
    for number, row in enumerate(rows):
        for start in range(len(row) - run + 1):
            homes.setdefault(tuple(row[start : start + run]), set()).add(number)
    marks = [[False] * len(row) for row in rows]
    for row, marked in zip(rows, marks, strict=True):
        for start in range(len(row) - run + 1):
            if len(homes[tuple(row[start : start + run])]) > 1:
                marked[start : start + run] = [True] * run
    return marks


@app.command()
def info(
    codec: Annotated[str, typer.Argument(help="A preset or a checkpoint.")] = "uniaudio-small",
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """What a checkpoint holds: architecture, rates, levels, parameters."""
    loaded = open_codec(codec, "cpu")
    config = loaded.config
    rates = [config.sample_rate / config.hop_length / stride for stride in config.strides]
    facts = {
        "codec": codec,
        "architecture": config.architecture,
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "strides": list(config.strides),
        "codes": list(config.sizes),
        "codes_per_second": round(sum(rates), 2),
        "llm": config.llm,
        "level_words": [None if w is None else list(w[:5]) for w in config.words],
        "parameters": sum(p.numel() for p in (*loaded.encoder.parameters(), *loaded.decoder.parameters())),
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name, Text(str(value)))
    Console().print(table)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A published .pth or our own .safetensors.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .safetensors to write; its .json goes beside it.")
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="The published YAML [default: the one beside].")
    ] = None,
    words: Annotated[
        Path | None, typer.Option("--words", help="The published level-0 words, .npy [default: beside].")
    ] = None,
    force: options.Force = False,
) -> None:
    """Write a checkpoint as safetensors + JSON with the codebooks projected: small, and quick to load and run."""
    from uniaudio_cli.codec.checkpoint import convert as convert_checkpoint

    print(show(convert_checkpoint(checkpoint, output, config, words, force=force)))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/small-cpu.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE instead of the recipe's, such as steps=100.")
    ] = None,
    device: options.Device = "auto",
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a codec; a run killed at any moment goes on with --resume."""
    from uniaudio_cli.codec.training.recipe import load_recipe
    from uniaudio_cli.codec.training.run import train_recipe

    def say(line: object) -> None:
        note(str(line), quiet)

    print(show(train_recipe(load_recipe(recipe, set_ or ()), output, device, resume, offline, say, say)))
