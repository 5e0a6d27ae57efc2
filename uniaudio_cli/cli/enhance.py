"""`uniaudio enhance`: noise filtered out of recordings, from a few (noisy, clean) pairs or without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.audio_output import choose_targets, write_each
from uniaudio_cli.cli.console import note, stderr
from uniaudio_cli.cli.output_paths import is_stdout
from uniaudio_cli.cli.report_page import pair_page
from uniaudio_cli.core.errors import UsageError

if TYPE_CHECKING:
    from uniaudio_cli.inference.enhance import Enhancer

Pairs = Annotated[
    Path | None, typer.Option("--demos", "-d", help="Folder of pairs: noisy/ and clean/, or metadata.csv|jsonl.")
]
Shots = Annotated[int, typer.Option("--shots", "-k", min=1, help="Pairs that are learnt from, at most.")]


@options.expand
def enhance(
    files: options.Files,
    *,
    demos: Pairs = None,
    shots: Shots = 8,
    output: options.Output = None,
    strength: options.Strength = 1.0,
    report: options.PairReport = None,
    seed: options.Seed = 0,
    as_json: options.AsJSON = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
) -> None:
    """Filter noise out of recordings, at their own rate and channels; better with a few pairs (--demos)."""
    found = inputs.find_inputs(files, quiet)
    if output is None:
        raise UsageError("enhance makes audio: say where with --output")
    targets = choose_targets(found, files, output, force)
    if report is not None and is_stdout(output):
        raise UsageError("--report: shows files; name one with --output")
    page = pair_page(report, "uniaudio enhance", force)
    enhancer = _learn(demos, shots, seed, quiet)

    def work(file: Path, target: Path) -> float:
        from uniaudio_cli.audio.blocks import stream_blocks, write_blocks

        with enhancer.open(file, strength) as recording:
            if is_stdout(target):
                count = stream_blocks(sys.stdout.buffer, recording.blocks, recording.sample_rate, recording.channels)
            else:
                count = write_blocks(target, recording.blocks, recording.sample_rate, recording.channels, force)
        if page is not None:
            page.add(str(file), {"input": file, "enhanced": target}, recording.sample_rate)
        return count / recording.sample_rate

    try:
        write_each(targets, work, "enhance", options.RunOptions(as_json=as_json, quiet=quiet, force=force))
    finally:  # where some inputs failed, the page shows the others
        if page is not None and report is not None and page.total:
            learnt = "without pairs" if demos is None else f"after pairs of {demos.name}"
            page.write(report, f"{page.total} enhanced recordings", f"Noise filtered {learnt}, strength {strength:g}.")


def _learn(demos: Path | None, shots: int, seed: int, quiet: bool) -> Enhancer:
    """The filter, with what it learns from pairs."""
    from uniaudio_cli.data.demonstrations import choose, load_demonstrations
    from uniaudio_cli.inference.enhance import Enhancer

    if demos is None:
        return Enhancer()
    pairs = load_demonstrations(demos, "pair", note=lambda line: note(line, quiet))
    chosen = choose(pairs, shots, seed)
    if len(chosen) < len(pairs):
        note(f"note: {len(chosen)} of {len(pairs)} pairs are used (--shots)", quiet)
    with stderr(quiet or not stderr().is_terminal).status(f"learning from {len(chosen)} pairs"):
        return Enhancer(chosen)
