"""`uniaudio codec`: encode, decode, reconstruct, words, info and convert; train and eval have files of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import codec_eval, codec_train
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import each, finish, is_terminal, note
from uniaudio_cli.cli.inputs import announce_conversion, find_inputs, refuse_missing
from uniaudio_cli.cli.output_paths import audio_targets, check_targets, mirrored, names_file
from uniaudio_cli.cli.words import chosen_levels, print_clips, print_level
from uniaudio_cli.codec.clip_codes import decode_codes, encode_file, encode_wav, read_codes, to_record
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import atomic, is_folder, show

if TYPE_CHECKING:
    from uniaudio_cli.codec.model import Codec

app = typer.Typer(help="The codec: audio to the LLM's words and back.", no_args_is_help=True)
app.command("eval")(codec_eval.evaluate)
app.command()(codec_train.train)
app.add_typer(codec_train.vocabulary, name="vocabulary")

AudioOutput = Annotated[Path, typer.Option("--output", "-o", help="Audio file for one input, else a folder.")]


@app.command()
@options.expand
def encode(
    files: options.Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="File .json for one input, else a folder.")],
    codec: options.CodecName = "uniaudio-small",
    device: options.Device = "auto",
    as_json: options.AsJSON = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Audio files to codes: one JSON file each."""
    found = find_inputs(files, quiet)
    targets = (
        {found[0]: output} if names_file(output, len(found), (".json",)) else mirrored(found, files, output, ".json")
    )
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)

    def work(file: Path) -> None:
        with atomic(targets[file], force) as temporary:
            temporary.write_text(json_line(to_record(encode_file(loaded, file), codec)) + "\n", encoding="utf-8")

    _write_each(targets, work, "encode", as_json, quiet)


@app.command()
@options.expand
def decode(
    files: Annotated[list[Path], typer.Argument(help="JSON files of `codec encode`, or folders of them.")],
    output: AudioOutput,
    codec: options.CodecName = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJSON = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Codes back to audio, at the level and length of the original."""
    from uniaudio_cli.audio.io import write_wav

    inside = [sorted(given.rglob("*.json")) if is_folder(given) else [given] for given in files]
    found = list(dict.fromkeys(file for some in inside for file in some))
    if not found:
        raise UsageError(f"{show(files[0])}: holds no .json of codes")
    refuse_missing(found)
    targets = {found[0]: output} if names_file(output, len(found)) else mirrored(found, files, output, ".wav")
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)

    def work(file: Path) -> None:
        write_wav(targets[file], decode_codes(loaded, read_codes(loaded, file), seed), loaded.sample_rate, force)

    _write_each(targets, work, "decode", as_json, quiet)


@app.command()
@options.expand
def reconstruct(
    files: options.Files,
    output: AudioOutput,
    codec: options.CodecName = "uniaudio-small",
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.AsJSON = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Encode and decode: what the codec keeps of a recording."""
    from uniaudio_cli.audio.io import write_wav

    found = find_inputs(files, quiet)
    targets = audio_targets(found, files, output)
    check_targets(targets.values(), force)
    loaded = open_codec(codec, device)
    announce_conversion(targets, loaded.sample_rate, quiet, written=True)

    def work(file: Path) -> None:
        write_wav(targets[file], decode_codes(loaded, encode_file(loaded, file), seed), loaded.sample_rate, force)

    _write_each(targets, work, "reconstruct", as_json, quiet)


@app.command()
@options.expand
def words(
    files: options.Files,
    codec: options.CodecName = "uniaudio-small",
    lm: Annotated[str | None, typer.Option("--lm", help="LLM that spells codes of published codecs.")] = None,
    levels: Annotated[
        str | None,
        typer.Option("--levels", help="tags, speech, sounds, prosody or numbers [default: tags,prosody,0]."),
    ] = None,
    as_json: options.AsJSON = False,
    align: Annotated[
        bool,
        typer.Option("--align", help="Level by level in columns of time, shared runs underlined."),
    ] = False,
) -> None:
    """Clips as words, one line a clip: the tags that stand out, pitch, loudness and rate, and the codec's levels.

    Records of --json have all levels of the codec.
    """
    from uniaudio_cli.api import load_spelling
    from uniaudio_cli.audio import prosody
    from uniaudio_cli.audio.io import read_wav
    from uniaudio_cli.audio.levels import PROSODY, level_name
    from uniaudio_cli.codec.frozen.levels import FrozenLevels
    from uniaudio_cli.inference.encoder import resampled
    from uniaudio_cli.models.registry import resolve_encoder

    loaded = open_codec(codec)
    encoders = FrozenLevels(resolve_encoder)
    found = find_inputs(files, quiet=False)
    spell = load_spelling(loaded.config, lm)
    shown = chosen_levels(levels, len(loaded.config.sizes), encoders)

    def work(file: Path) -> dict[int, list[str]]:
        wav = read_wav(file, loaded.sample_rate)
        plain = resampled(wav[0].numpy(), loaded.sample_rate)
        rows = {level: encoders.words(level, encoders[level](plain).codes) for level in shown if level < PROSODY}
        if PROSODY in shown:
            measured = prosody.prosody_codes(prosody.measure_prosody(wav, loaded.sample_rate))
            rows[PROSODY] = [prosody.WORDS[code] for code in measured]
        codes = encode_wav(loaded, wav).codes
        every = {level: [spell(level, code) for code in row[0].tolist()] for level, row in enumerate(codes)}
        return rows | {level: row for level, row in every.items() if as_json or level in shown}

    found_words = []
    for file, rows in each(found, work, "words", quiet=False):
        found_words.append((file, rows))
        if as_json:
            named = {level_name(level): row for level, row in rows.items() if level < 0}
            print(
                json_line({"file": str(file), **named, "levels": [rows[n] for n in sorted(rows) if n >= 0]}), flush=True
            )
    if found_words and align and not as_json:
        for level in found_words[0][1]:
            print_level(level, [(file, rows[level]) for file, rows in found_words])
    elif found_words and not as_json:
        print_clips(found_words)
    finish(len(found_words), len(found))


@app.command()
@options.expand
def info(
    codec: Annotated[str, typer.Argument(help="Preset or checkpoint.")] = "uniaudio-small",
    as_json: options.OneObject = False,
) -> None:
    """Architecture, rates, levels and parameters of a checkpoint."""
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
@options.expand
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Published .pth, or .safetensors.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File .safetensors to write; a .json goes beside it.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Published YAML [default: beside the checkpoint].")
    ] = None,
    words: Annotated[
        Path | None, typer.Option("--words", help="Published level-0 words, .npy [default: beside the checkpoint].")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in float16.")] = False,
    force: options.Force = False,
) -> None:
    """Write a checkpoint as safetensors + JSON with the codebooks projected: small, and quick to load and run."""
    import torch

    from uniaudio_cli.codec.checkpoint.loading import convert as convert_checkpoint

    dtype = torch.float16 if half else torch.float32
    print(show(convert_checkpoint(checkpoint, output, config, words, dtype=dtype, force=force)))


def open_codec(name: str, device: str = "auto") -> Codec:
    """A preset or a checkpoint, on a device by name."""
    from uniaudio_cli.codec.checkpoint.loading import load_codec
    from uniaudio_cli.core.device import choose_device
    from uniaudio_cli.models.registry import resolve_codec

    place = choose_device(device)
    files = resolve_codec(name)
    return load_codec(files.weights, files.config, files.words, device=place)


def _write_each(
    targets: Mapping[Path, Path], work: Callable[[Path], None], what: str, as_json: bool, quiet: bool
) -> None:
    """`work` for every file, with a record or a line for each that it wrote."""
    done = 0
    for file, _ in each(list(targets), work, what, quiet):
        done += 1
        if as_json:
            print(json_line({"file": str(file), "output": str(targets[file])}), flush=True)
        else:
            note(show(targets[file]), quiet)
    finish(done, len(targets))
