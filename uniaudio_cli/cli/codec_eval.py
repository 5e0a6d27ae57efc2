"""`uniaudio codec eval`: what a codec keeps of clips, as a table, JSON and pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, counted, finish, json_line
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.data.audio_listing import Row


def evaluate(
    files: options.Files,
    codec: Annotated[str, typer.Option("--codec", help="A preset or a checkpoint.")] = "uniaudio-small",
    split: Annotated[str | None, typer.Option("--split", help="Only clips that metadata.jsonl puts there.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only clips of this kind (speech, sound, music).")] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="A regex whose bracket catches a clip's speaker in its name.")
    ] = None,
    limit: Annotated[int, typer.Option("--pieces", min=2, help="At most so many pieces, drawn evenly.")] = 200,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="A folder for spectrograms.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """How much of speech or sound a codec keeps, over pieces of at least 3 s of one speaker.

    Short clips are joined, since STOI means nothing on half a second. STOI, PESQ and DNSMOS are measured where pystoi,
    pesq and speechmos are installed.
    """
    from uniaudio_cli.cli.codec import open_codec
    from uniaudio_cli.codec import quality
    from uniaudio_cli.data.audio_listing import listing

    try:
        named = re.compile(by) if by is not None else None
    except re.error as problem:
        raise UsageError(f"--by {by}: not a regular expression ({problem})") from problem
    rows = [row for source in files for row in listing(source)]
    rows = [row for row in rows if split in (None, row.split) and kind in (None, row.kind)]
    if named is not None:
        found = [(row, named.search(row.path.name)) for row in rows]
        rows = [replace(row, group=match.group(match.lastindex or 0)) for row, match in found if match]
    loaded = open_codec(codec, device)
    # Evenly over all groups, so that a few pieces still have every speaker.
    rows = sorted(rows, key=lambda row: (row.group, row.path))
    rows = rows[:: max(1, len(rows) // (8 * limit))]
    measured: list[quality.Quality] = []
    unread: list[Path] = []

    def leave_out(row: Row, problem: UniAudioError) -> None:
        unread.append(row.path)
        complain(problem, show(row.path))

    wanted = islice(quality.pieces(rows, loaded.sample_rate, leave_out), limit)
    for number, each in enumerate(counted(quality.measured(loaded, wanted, seed), limit, "eval", quiet)):
        measured.append(each)
        if pictures is not None:
            wavs = {"original": each.original, "decoded": each.made}
            quality.spectrograms(pictures / f"{number:03d}.png", wavs, loaded.sample_rate)
    if len(unread) == len(rows) > 0:
        finish(0, len(rows))
    if len(measured) < 2:
        raise UniAudioError("fewer than two pieces of 3 s: there is nothing to take a mean of")
    usage = quality.usage([piece.codes for piece in measured], loaded.config.sizes)
    plain, entropy = quality.bits_per_second(loaded, [level["perplexity"] for level in usage])
    rates = [loaded.sample_rate / loaded.hop_length / stride for stride in loaded.strides]
    result: dict[str, Any] = {
        "codec": codec,
        "pieces": len(measured),
        "groups": len({row.group for row in rows}),
        "seconds": round(sum(piece.original.shape[-1] for piece in measured) / loaded.sample_rate, 1),
        "codes_per_second": round(sum(rates), 2),
        "bits_per_second": round(plain),
        "bits_per_second_by_use": round(entropy),
        "measures": {
            name: _mean([piece.measures[name] for piece in measured if name in piece.measures])
            for name in dict.fromkeys(name for piece in measured for name in piece.measures)
        },
        "usage": usage,
    }
    if as_json:
        print(json_line(result))
        finish(len(rows) - len(unread), len(rows))
        return
    print(
        f"{result['pieces']} pieces, {result['seconds']} s, {result['groups']} groups; "
        f"{result['codes_per_second']} codes and {round(plain)} bits a second ({round(entropy)} by use)"
    )
    table = Table("measure", "mean", "95 % interval", "pieces")
    for name, value in result["measures"].items():
        reach = f"+- {value['reach']:.3f}"
        table.add_row(name, f"{value['mean']:.3f}", reach, str(value["n"]))
    for level, row in enumerate(usage):
        table.add_row(f"level {level}", f"{row['used']} of {row['codes']}", f"perplexity {row['perplexity']}", "")
    Console().print(table)
    finish(len(rows) - len(unread), len(rows))


def _mean(values: list[float]) -> dict[str, float]:
    """`reach`: half the 95 % interval of the mean over pieces."""
    from uniaudio_cli.evaluation.metrics import mean

    middle, reach = mean(values)
    return {"mean": round(middle, 4), "reach": round(reach, 4), "n": len(values)}
