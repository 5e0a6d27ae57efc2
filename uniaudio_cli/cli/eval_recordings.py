"""Suites of what is made, as `uniaudio eval suite` runs them: clips by a codec, and sounds from their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli import params
from uniaudio_cli.cli.codec_eval import print_summary
from uniaudio_cli.cli.console import counted, note
from uniaudio_cli.cli.eval_run import print_table
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.core.errors import UniAudioError
    from uniaudio_cli.data.episodes import Item
    from uniaudio_cli.evaluation.made_sounds import Judge, SoundResults
    from uniaudio_cli.evaluation.suite import ReconstructionSuite, SoundSuite

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
    results.write(report / RESULTS, force=True)
    written = results.model_dump(mode="json")
    if as_json:
        print(json_line(written))
        return
    product = written["codecs"].pop(title)
    print_summary({"codec": title, "groups": groups, "compared": written["codecs"], **product})
    over = "groups" if any(rate.clusters for rate in results.codecs[title].metrics.values()) else "segments"
    note(f"{show(report)}: {RESULTS}; intervals over {over}", quiet)


def make_sounds(
    suite: SoundSuite,
    data: Path,
    report: Path,
    models: params.ModelOptions,
    seed: int = 0,
    as_json: bool = False,
    quiet: bool = False,
    force: bool = False,
) -> None:
    """Make sounds of a corpus's labels and judge them; results go into the report's folder and to stdout.

    Sounds are kept in a log, so that a stopped run continues.

    Raises:
        UsageError: the folder has another layout or too few clips, or the task makes no audio from text.
        UniAudioError: weights are missing, or a clip cannot be read.
    """
    from uniaudio_cli.evaluation.layouts import LAYOUTS
    from uniaudio_cli.evaluation.made_sounds import SoundTest
    from uniaudio_cli.evaluation.runner import open_log, versions
    from uniaudio_cli.models.registry import resolve_model
    from uniaudio_cli.prompting.task import load_task

    task, items = load_task(suite.task, suite.settings), LAYOUTS[suite.layout](data)
    judge, kit = yamnet_judge(models.offline, quiet), models.load_to_speak(quiet, task.levels)
    test = SoundTest(kit, task, items, judge, suite.draws, seed)
    settings = {
        "data": data.resolve().name,
        "clips": [f"{item.label}/{item.path.name}" for item in items],
        "model": models.model,
        "lm": models.lm or resolve_model(models.model).lm,
        "dtype": models.dtype,
        "seed": seed,
        "task": task.model_dump(mode="json"),
    }
    with open_log(report, settings, force) as log:
        rows = list(counted(test.run(log), suite.draws * len(test.labels), "eval", quiet))
    results = test.summarise(rows, suite.name, data.resolve().name, versions())
    results.write(report / RESULTS, force=True)
    if as_json:
        print(json_line(results.model_dump(mode="json")))
        return
    print_sounds(results)
    note(f"{show(report)}: {RESULTS}, episodes.jsonl; intervals over demonstrations", quiet)


def print_sounds(results: SoundResults) -> None:
    """The rows as a table."""
    rows = [
        (
            name,
            str(row.right.n),
            f"{100 * row.right.value:.1f} [{100 * row.right.low:.1f}, {100 * row.right.high:.1f}]",
            f"{row.kl.value:.2f} [{row.kl.low:.2f}, {row.kl.high:.2f}]",
            f"{row.frechet:.1f}",
        )
        for name, row in results.rows.items()
    ]
    print_table(("sounds", "n", "right, %", "KL", "Frechet distance"), rows)
    print(
        f"chance {100 * results.chance:.1f} %; {results.clips} real clips judge; of the LLM's codes "
        f"{100 * results.copied.value:.0f} % are the demonstration's at the same place"
    )


def yamnet_judge(offline: bool, quiet: bool) -> Judge:
    """YAMNet, downloaded where needed. Raises MissingWeightsError."""
    from uniaudio_cli.evaluation.judges import YAMNetJudge
    from uniaudio_cli.models.registry import resolve_encoder

    return YAMNetJudge(resolve_encoder("yamnet", offline, lambda line: note(line, quiet)))
