"""`uniaudio codec`: encode, decode, reconstruct, look at words, inspect, convert and train codecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import codec_eval, codec_train
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.codes import listen, read_codes, sound, stored
from uniaudio_cli.cli.console import each, finish, is_terminal, json_line
from uniaudio_cli.cli.output_paths import check_targets, mirrored
from uniaudio_cli.cli.words import print_level
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic, is_folder, show

if TYPE_CHECKING:
    from uniaudio_cli.codec.model import Codec

app = typer.Typer(help="The codec: audio to the LLM's words and back.", no_args_is_help=True)
app.command("eval")(codec_eval.evaluate)
app.command()(codec_train.train)
app.add_typer(codec_train.vocabulary, name="vocabulary")

Name = Annotated[
    str, typer.Option("--codec", help="A preset, or a checkpoint: .safetensors, folder, or published .pth.")
]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]


@app.command()
def encode(
    files: options.Files,
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Audio files to codes: one JSON file each."""
    from uniaudio_cli.audio.discovery import find_audio

    targets = mirrored(find_audio(files), files, output, ".json")
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)

    def work(file: Path) -> Path:
        with atomic(targets[file], force) as temporary:
            temporary.write_text(json_line(stored(listen(loaded, file), codec)) + "\n", encoding="utf-8")
        return targets[file]

    _write_each(list(targets), work, "encode", quiet)


@app.command()
def decode(
    files: Annotated[list[Path], typer.Argument(help="JSON files that `codec encode` wrote, or folders of them.")],
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Codes back to audio, at the level and length of the original."""
    from uniaudio_cli.audio.io import write_wav

    inside = [sorted(given.rglob("*.json")) if is_folder(given) else [given] for given in files]
    found = list(dict.fromkeys(file for some in inside for file in some))
    if not found:
        raise UsageError(f"{show(files[0])}: holds no .json of codes")
    targets = mirrored(found, files, output, ".wav")
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)

    def work(file: Path) -> Path:
        write_wav(targets[file], sound(loaded, read_codes(loaded, file), seed), loaded.sample_rate, force)
        return targets[file]

    _write_each(list(targets), work, "decode", quiet)


@app.command()
def reconstruct(
    files: options.Files,
    output: Folder,
    codec: Name = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Encode and decode: what is left of a sound after the codec."""
    from uniaudio_cli.audio.discovery import find_audio
    from uniaudio_cli.audio.io import write_wav

    targets = mirrored(find_audio(files), files, output)
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)

    def work(file: Path) -> Path:
        write_wav(targets[file], sound(loaded, listen(loaded, file), seed), loaded.sample_rate, force)
        return targets[file]

    _write_each(list(targets), work, "reconstruct", quiet)


@app.command()
def words(
    files: options.Files,
    codec: Name = "uniaudio-small",
    lm: Annotated[
        str | None, typer.Option("--lm", help="Whose spelling published acoustic codes get; needed for them only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a clip on stdout.")] = False,
    run: Annotated[
        int, typer.Option("--run", min=2, help="Mark runs of at least so many words that several clips share.")
    ] = 2,
) -> None:
    """Clips as the words the LLM sees, level by level; runs that several clips share are underlined.

    Prosody, the words for how a clip sounds, comes first: it is seen by tasks whose levels name it.
    """
    from uniaudio_cli.api import load_spelling
    from uniaudio_cli.audio import prosody
    from uniaudio_cli.audio.discovery import find_audio
    from uniaudio_cli.audio.io import read_wav

    found = find_audio(files)
    loaded = open_codec(codec)
    spell = load_spelling(loaded.config, lm)

    def work(file: Path) -> tuple[list[str], list[list[str]]]:
        codes = listen(loaded, file).codes
        measured = prosody.coded(prosody.measured(read_wav(file, loaded.sample_rate), loaded.sample_rate))
        levels = [[spell(level, code) for code in row[0].tolist()] for level, row in enumerate(codes)]
        return [prosody.WORDS[code] for code in measured], levels

    heard = []
    for file, (sounds, levels) in each(found, work, "words", quiet=False):
        heard.append((file, sounds, levels))
        if as_json:
            print(json_line({"file": str(file), prosody.NAME: sounds, "levels": levels}), flush=True)
    if heard and not as_json:
        print_level(prosody.PROSODY, [(file, sounds) for file, sounds, _ in heard], run)
    for level in range(0 if as_json or not heard else len(loaded.strides)):
        print_level(level, [(file, levels[level]) for file, _, levels in heard], run)
    finish(len(heard), len(found))


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
        "parameters": sum(p.numel() for network in loaded.networks() for p in network.parameters()),
    }
    if as_json:
        print(json_line(facts))
    elif is_terminal():
        table = Table(show_header=False)
        for name, value in facts.items():
            table.add_row(name, Text(str(value)))
        Console().print(table)
    else:
        print("\n".join(f"{name}\t{value}" for name, value in facts.items()))


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
    half: Annotated[bool, typer.Option("--half", help="The networks' weights in float16.")] = False,
    force: options.Force = False,
) -> None:
    """Write a checkpoint as safetensors + JSON with the codebooks projected: small, and quick to load and run."""
    import torch

    from uniaudio_cli.codec.checkpoint.own import convert as convert_checkpoint

    dtype = torch.float16 if half else torch.float32
    print(show(convert_checkpoint(checkpoint, output, config, words, dtype=dtype, force=force)))


def open_codec(name: str, device: str = "auto") -> Codec:
    """A preset or a checkpoint, on a device by name."""
    from uniaudio_cli.codec.checkpoint.own import load_codec
    from uniaudio_cli.core.device import choose_device
    from uniaudio_cli.models.registry import resolve_codec

    place = choose_device(device)
    files = resolve_codec(name)
    return load_codec(files.weights, files.config, files.words, device=place)


def _write_each(found: list[Path], work: Callable[[Path], Path], what: str, quiet: bool) -> None:
    """The files that `work` wrote, one a line on stdout."""
    done = 0
    for _, written in each(found, work, what, quiet):
        done += 1
        print(show(written), flush=True)
    finish(done, len(found))
