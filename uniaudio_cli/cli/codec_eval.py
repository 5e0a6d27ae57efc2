"""`uniaudio codec eval`: what a codec keeps of clips, as a table, JSON and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, counted, finish
from uniaudio_cli.cli.inputs import refuse_missing
from uniaudio_cli.cli.report_page import pair_page
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.data.manifest import Row
    from uniaudio_cli.evaluation.reconstruction import Comparison

# Metrics by what people call them: of a page, and of the table of several codecs.
TITLES = {
    "stoi": "STOI", "pesq_wb": "PESQ wb", "pesq_nb": "PESQ nb", "dnsmos": "DNSMOS",
    "dnsmos_original": "DNSMOS, original", "si_sdr": "SI-SDR", "mel_l1": "mel L1", "stft": "STFT distance",
}  # fmt: skip
COMPARED = ("stoi", "pesq_wb", "dnsmos", "mel_l1")


@options.expand
def evaluate(
    files: options.Files,
    codec: options.CodecName = "uniaudio-small",
    split: Annotated[str | None, typer.Option("--split", help="Only clips of this split in metadata.jsonl.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only clips of this kind (speech, sound, music).")] = None,
    group_regex: Annotated[
        str | None, typer.Option("--group-regex", help="Regex; its bracket matches the speaker in a file's name.")
    ] = None,
    max_segments: Annotated[
        int, typer.Option("--max-segments", min=2, help="Most segments of 3 s, drawn evenly over groups.")
    ] = 200,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Folder for spectrograms.")] = None,
    report: options.PairReport = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="Codecs beside it: encodec, dac, mimi; NAME=FOLDER for weights on this disk."),
    ] = None,
    force: options.Force = False,
    as_json: options.OneObject = False,
    device: options.Device = "auto",
    offline: options.Offline = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> None:
    """How much of speech or sound a codec keeps, over segments of at least 3 s of one speaker.

    Short clips are joined, since STOI means nothing on half a second. STOI, PESQ and DNSMOS are measured where pystoi,
    pesq and speechmos are installed. --compare measures other codecs on the same segments, by the same code.
    """
    from uniaudio_cli.cli.codec import open_codec
    from uniaudio_cli.codec import quality
    from uniaudio_cli.evaluation.codec_peers import parse_compared
    from uniaudio_cli.evaluation.reconstruction import Comparison, spread

    peers = parse_compared(compare)
    rows = find_rows(files, split, kind, group_regex)
    page = pair_page(report, "uniaudio codec eval", force, "Original and decoded")
    loaded = open_codec(codec, device)
    comparison = Comparison.load(loaded, peers, offline, seed)
    rows = spread(rows, max_segments)
    unread: list[Path] = []

    def leave_out(row: Row, problem: UniAudioError) -> None:
        unread.append(row.path)
        complain(problem, show(row.path))

    found = counted(comparison.measure(rows, max_segments, leave_out), max_segments, "eval", quiet)
    for number, wavs in enumerate(found):
        if page is not None:
            others = [f"{row.name}: {_numbers(row.measured[-1].metrics)}" for row in comparison.beside]
            titled = _titled(comparison.measured[-1].metrics, TITLES)
            page.add(f"segment {number}", wavs, loaded.sample_rate, titled, others)
        if pictures is not None:
            quality.spectrograms(pictures / f"{number:03d}.png", wavs, loaded.sample_rate)
    if len(unread) == len(rows) > 0:
        finish(0, len(rows))
    result = {"codec": codec, "groups": len({row.group for row in rows}), **as_record(comparison)}
    if page is not None and report is not None:
        segments = len(comparison.measured)
        page.write(report, f"{segments} segments by {codec}", f"{result['bits_per_second']} bits a second.")
    if as_json:
        print(json_line(result))
    else:
        print_summary(result)
    finish(len(rows) - len(unread), len(rows))


def find_rows(files: Sequence[Path], split: str | None, kind: str | None, group_regex: str | None) -> list[Row]:
    """The clips of a split and a kind; `group_regex` finds the group in a file's name, and drops names without one."""
    from uniaudio_cli.data.manifest import listing

    try:
        named = re.compile(group_regex) if group_regex is not None else None
    except re.error as problem:
        raise UsageError(f"--group-regex {group_regex}: not a regular expression ({problem})") from problem
    refuse_missing(files)
    rows = [row for source in files for row in listing(source)]
    rows = [row for row in rows if split in (None, row.split) and kind in (None, row.kind)]
    if named is None:
        return rows
    found = [(row, named.search(row.path.name)) for row in rows]
    return [replace(row, group=match.group(match.lastindex or 0)) for row, match in found if match]


def print_summary(result: dict[str, Any]) -> None:
    """The summary as a table for people."""
    print(
        f"{result['segments']} segments, {result['seconds']} s, {result['groups']} groups; "
        f"{result['codes_per_second']} codes and {result['bits_per_second']} bits a second "
        f"({result['bits_per_second_by_use']} by use)"
    )
    table = Table("metric", "mean", "95 % interval", "segments")
    for name, value in result["metrics"].items():
        table.add_row(name, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}", str(value["n"]))
    for level, row in enumerate(result["usage"]):
        table.add_row(f"level {level}", f"{row['used']} of {row['codes']}", f"perplexity {row['perplexity']}", "")
    Console().print(table)
    if result.get("compared"):
        print_compared({result["codec"]: result, **result["compared"]})


def print_compared(results: Mapping[str, dict[str, Any]]) -> None:
    """Codecs side by side: rates, and the means of what is measured of speech."""
    measured = {name for each in results.values() for name in each["metrics"]}
    shown = {name: TITLES[name] for name in COMPARED if name in measured}
    table = Table("codec", "bits/s", "codes/s", *shown.values())
    for name, each in results.items():
        means = [f"{each['metrics'][key]['value']:.3f}" if key in each["metrics"] else "-" for key in shown]
        table.add_row(name, str(each["bits_per_second"]), str(each["codes_per_second"]), *means)
    Console().print(table)


def _titled(metrics: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """Of `metrics` those of these names, by title."""
    return {TITLES[name]: metrics[name] for name in names if name in metrics}


def _numbers(metrics: Mapping[str, float]) -> str:
    """What codecs are compared by, on one line."""
    return "; ".join(f"{title} {value:.3f}" for title, value in _titled(metrics, COMPARED).items())


def as_record(comparison: Comparison) -> dict[str, Any]:
    """What is measured, as JSON has it; codecs beside the first under "compared"."""
    compared = {name: each.model_dump(mode="json") for name, each in comparison.compared().items()}
    return comparison.summary().model_dump(mode="json") | ({"compared": compared} if compared else {})
