"""Suites without labels, as `uniaudio eval suite` runs them: what a codec keeps of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli import params
from uniaudio_cli.cli.codec_eval import as_record, print_summary
from uniaudio_cli.cli.console import counted, note
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import atomic, show

if TYPE_CHECKING:
    from uniaudio_cli.core.errors import UniAudioError
    from uniaudio_cli.data.episodes import Item
    from uniaudio_cli.evaluation.suite import ReconstructionSuite

RESULTS = "results.json"


def reconstruct(
    suite: ReconstructionSuite,
    data: Path,
    report: Path,
    models: params.ModelOptions,
    peers: str | None,
    seed: int = 0,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a codec, and codecs beside it, on a corpus; results go into the report's folder and to stdout.

    Args:
        peers: codecs beside it, as `codec eval --compare`.

    Raises:
        UsageError: the folder has another layout, or a peer is wrong.
        UniAudioError: there are fewer than two segments, or weights are missing.
    """
    from uniaudio_cli.cli.codec import open_codec
    from uniaudio_cli.evaluation.codec_peers import parse_compared
    from uniaudio_cli.evaluation.layouts import RECORDING_LAYOUTS
    from uniaudio_cli.evaluation.reconstruction import Comparison, ReconstructionResults, spread
    from uniaudio_cli.evaluation.runner import versions
    from uniaudio_cli.models.registry import resolve_model

    beside = parse_compared(peers, "--peers")
    clips = spread(RECORDING_LAYOUTS[suite.layout](data), suite.segments)
    name = models.codec or resolve_model(models.model).codec
    comparison = Comparison.load(open_codec(str(name), models.device), beside, models.offline, seed)
    left_out: list[str] = []

    def leave_out(clip: Item, problem: UniAudioError) -> None:
        left_out.append(clip.path.name)
        note(f"note: left out: {problem}", quiet)

    for _ in counted(comparison.measure(clips, suite.segments, leave_out), suite.segments, "eval", quiet):
        pass
    title, groups = Path(name).name, len(set(comparison.groups))
    results = ReconstructionResults(
        suite=suite.name,
        data=data.resolve().name,
        seed=seed,
        groups=groups,
        codecs={title: comparison.summary(), **comparison.compared()},
        left_out=tuple(left_out),
        versions=versions(),
    )
    written = results.model_dump(mode="json")
    with atomic(report / RESULTS, force=True) as temporary:
        temporary.write_text(json_line(written) + "\n", encoding="utf-8")
    if as_json:
        print(json_line(written))
        return
    print_summary({"codec": title, "groups": groups, **as_record(comparison)})
    over = "groups" if groups == max(rate.clusters for rate in comparison.summary().metrics.values()) else "segments"
    note(f"{show(report)}: {RESULTS}; intervals over {over}", quiet)
