"""`uniaudio eval`: accuracy on a folder of labelled clips, with controls; replayed and compared."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from uniaudio_cli.cli import eval_pairs, eval_suite, params
from uniaudio_cli.cli.console import note, stderr
from uniaudio_cli.cli.eval_answers import answers
from uniaudio_cli.cli.eval_run import EvalOptions, choose_task, model_names, print_results, print_table, run_job
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import is_file, is_folder, show
from uniaudio_cli.evaluation.systems import PRODUCT

DEFAULT = "run"
EPISODES = 300  # where episodes are drawn and their number is not given


class DefaultCommand(TyperGroup):
    """`uniaudio eval FOLDER` is `uniaudio eval run FOLDER`; a folder named as a command is written ./compare."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] == ["--suite"]:
            args = ["suite", *args[1:]]
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultCommand,
    help="Measure accuracy on your own labelled clips. `uniaudio eval FOLDER` is `uniaudio eval run FOLDER`.",
    no_args_is_help=True,
)
app.command()(answers)


app.command("suite")(eval_suite.suite)


app.command()(params.expand(eval_pairs.pairs))


class Rule(str, Enum):
    """Which groups may demonstrate to which query."""

    auto = "auto"
    any = "any"
    same = "same"
    other = "other"


class Half(str, Enum):
    """Which clips are used."""

    all = "all"
    development = "development"
    test = "test"


@app.command(DEFAULT)
@params.expand
def run(
    folder: Annotated[Path, typer.Argument(help="Folder of labelled clips, or its metadata.csv or .jsonl.")],
    evaluation: EvalOptions,
    models: params.ModelOptions,
    ways: Annotated[
        str, typer.Option("--ways", help="Labels in an episode: all, or a number, which takes --episodes.")
    ] = "all",
    shots: Annotated[str, typer.Option("--shots", "-k", help="Demonstrations per label, comma-separated.")] = "1,3,5",
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="Most parts of the cross-validation; without --episodes.")
    ] = 5,
    episodes: Annotated[
        int | None, typer.Option("--episodes", min=1, help="Draw so many episodes instead of a cross-validation.")
    ] = None,
    rule: Annotated[Rule, typer.Option("--rule", help="Groups that demonstrate: any, the query's own, or others.")] = (
        Rule.auto
    ),
    group_regex: Annotated[
        str | None, typer.Option("--group-regex", help="Regex with (?P<group>...): the speaker or recording.")
    ] = None,
    groups: Annotated[str | None, typer.Option("--groups", help="Only these groups, comma-separated.")] = None,
    labels: params.Labels = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="No demonstrations: labels by their folders' names.")
    ] = False,
    half: Annotated[Half, typer.Option("--half", help="Clips to use: all, or one fixed half.")] = Half.all,
    seed: params.Seed = 0,
) -> None:
    """How often labels are right on a folder of labelled clips, with 95 % intervals and beside controls.

    Cross-validates: every clip is labelled by demonstrations of the other folds. Clips of one speaker or recording stay
    together: a `group` column of the metadata, --group-regex, or known file names.
    """
    from uniaudio_cli.evaluation.folds import plan_folds
    from uniaudio_cli.evaluation.job import Job
    from uniaudio_cli.evaluation.manifest import Selection, plan
    from uniaudio_cli.evaluation.peers import parse_peers

    if not is_folder(folder) and not is_file(folder):
        raise UsageError(f"{show(folder)}: no such folder or metadata file")
    task, peers = choose_task(evaluation), parse_peers(evaluation.peers)
    chosen = Selection(folder, half.value, group_regex, _names(groups), _names(labels))
    numbers = [0] if zero_shot else [_number(each, "--shots", 1) for each in shots.split(",")]
    wanted = None if ways == "all" else _number(ways, "--ways", 2)
    notes: list[str] = []
    drawing: dict[str, Any] = {
        "shots": numbers, "seed": seed, "rule": None if rule is Rule.auto else rule.value, "note": notes.append
    }  # fmt: skip
    with stderr(evaluation.quiet or not stderr().is_terminal).status("reading clips"):
        if episodes is None and wanted is None and rule is not Rule.same:
            manifest = plan_folds(chosen, folds=folds, **drawing)
        else:
            manifest = plan(chosen, ways=wanted, count=episodes or EPISODES, **drawing)
    for line in notes:
        note(line, evaluation.quiet)
    job = Job(manifest, chosen.folder, task, model_names(models), evaluation.controls.value, peers=peers)
    print_results(run_job(job, evaluation, models, notes), evaluation)


@app.command()
@params.expand
def replay(
    manifest: Annotated[Path, typer.Argument(help="manifest.json of an earlier run.")],
    folder: Annotated[Path, typer.Argument(help="Folder that the clips lie in.")],
    evaluation: EvalOptions,
    models: params.ModelOptions,
) -> None:
    """Run the same episodes again, with another model or task."""
    from uniaudio_cli.evaluation.job import Job
    from uniaudio_cli.evaluation.manifest import check_contents, check_leaks, read_manifest
    from uniaudio_cli.evaluation.peers import parse_peers

    task, peers = choose_task(evaluation), parse_peers(evaluation.peers)
    episodes = read_manifest(manifest)
    if is_file(folder):
        folder = folder.parent
    check_contents(episodes, folder)
    check_leaks(episodes)
    job = Job(episodes, folder, task, model_names(models), evaluation.controls.value, peers=peers)
    print_results(run_job(job, evaluation, models), evaluation)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Report folder of the reference run.")],
    second: Annotated[Path, typer.Argument(help="Report folder of the other run.")],
    as_json: params.OneObject = False,
) -> None:
    """Paired differences of two runs of the same episodes, system by system."""
    from uniaudio_cli.evaluation import compare as comparing

    found = comparing.compare(first, second)
    if as_json:
        print(json_line(found.model_dump(mode="json")))
        return
    for key, (one, two) in found.changed.items():
        print(f"{key}: {one} -> {two}")
    print_table(("system", "shots", first.name, second.name, "points gained, 95 %"), comparing.rows(found))


@app.command()
def pool(
    reports: Annotated[list[Path], typer.Argument(help="Report folders of runs on different data.")],
    row: Annotated[str, typer.Option("--row", help="Row whose gains over the others are shown.")] = PRODUCT,
    as_json: params.OneObject = False,
) -> None:
    """Accuracy and paired differences over the episodes of several reports together."""
    from uniaudio_cli.evaluation import pool as pooling

    found = pooling.pool(reports, row)
    if as_json:
        print(json_line(found.model_dump(mode="json")))
        return
    print_table(("shots", "system", "right", f"points that {row} gains, 95 %"), pooling.rows(found))


def _number(text: str, flag: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < least:
        raise UsageError(f"{flag} {text}: takes a number from {least} up")
    return number


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None
