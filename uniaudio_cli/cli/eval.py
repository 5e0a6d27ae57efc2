"""`uniaudio eval`: accuracy on a folder of labelled clips, with controls; replayed and compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from uniaudio_cli.cli import params
from uniaudio_cli.cli.console import counted, note, stderr
from uniaudio_cli.cli.eval_answers import answers
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import json_line
from uniaudio_cli.core.paths import is_file, is_folder, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from uniaudio_cli.evaluation.manifest import Manifest
    from uniaudio_cli.evaluation.systems import Setup
    from uniaudio_cli.evaluation.zero_shot import NameTags
    from uniaudio_cli.prompting.task import Task

DEFAULT = "run"


class DefaultCommand(TyperGroup):
    """`uniaudio eval FOLDER` is `uniaudio eval run FOLDER`; a folder named as a command is written ./compare."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultCommand,
    help="Measure accuracy on your own labelled clips. `uniaudio eval FOLDER` is `uniaudio eval run FOLDER`.",
    no_args_is_help=True,
)
app.command()(answers)


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


class Controls(str, Enum):
    """Which rows are run."""

    fast = "fast"
    all = "all"


@dataclass(frozen=True)
class EvalOptions:
    """What `eval` runs on the episodes, and where results go."""

    task: params.TaskName = "sound-event"
    settings: params.Settings = None
    controls: Annotated[Controls, typer.Option("--controls", help="Rows: fast, or all with the LLM's controls.")] = (
        Controls.fast
    )
    report: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report; a stopped run continues there.")
    ] = None
    as_json: params.OneObject = False
    quiet: params.Quiet = False
    force: params.Force = False


@app.command(DEFAULT)
@params.expand
def run(
    folder: Annotated[Path, typer.Argument(help="Folder of labelled clips, or its metadata.csv or .jsonl.")],
    evaluation: EvalOptions,
    models: params.ModelOptions,
    ways: Annotated[str, typer.Option("--ways", help="Labels in an episode: a number, or all.")] = "all",
    shots: Annotated[str, typer.Option("--shots", "-k", help="Demonstrations per label, comma-separated.")] = "1,3,5",
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="Episodes per number of shots.")] = 300,
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
    """N-way K-shot episodes over a folder of labelled clips: accuracy with 95 % intervals, beside controls.

    Clips are grouped by speaker or recording: a `group` column of the metadata, --group-regex, or known file names.
    """
    from uniaudio_cli.evaluation.manifest import plan

    if not is_folder(folder) and not is_file(folder):
        raise UsageError(f"{show(folder)}: no such folder or metadata file")
    task = _task(evaluation)
    with stderr(evaluation.quiet or not stderr().is_terminal).status("reading clips"):
        manifest = plan(
            folder,
            ways=None if ways == "all" else _number(ways, "--ways", 2),
            shots=[0] if zero_shot else [_number(each, "--shots", 1) for each in shots.split(",")],
            count=episodes,
            seed=seed,
            rule=None if rule is Rule.auto else rule.value,
            which=half.value,
            group_regex=group_regex,
            groups=_names(groups),
            labels=_names(labels),
        )
    _evaluate(manifest, folder if is_folder(folder) else folder.parent, task, evaluation, models)


@app.command()
@params.expand
def replay(
    manifest: Annotated[Path, typer.Argument(help="manifest.json of an earlier run.")],
    folder: Annotated[Path, typer.Argument(help="Folder that the clips lie in.")],
    evaluation: EvalOptions,
    models: params.ModelOptions,
) -> None:
    """Run the same episodes again, with another model or task."""
    from uniaudio_cli.evaluation.manifest import check_contents, check_leaks, read_manifest

    task = _task(evaluation)
    episodes = read_manifest(manifest)
    if is_file(folder):
        folder = folder.parent
    check_contents(episodes, folder)
    check_leaks(episodes)
    _evaluate(episodes, folder, task, evaluation, models)


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
    _print_table(("system", "shots", first.name, second.name, "points gained, 95 %"), comparing.rows(found))


def _evaluate(
    manifest: Manifest, folder: Path, task: Task, evaluation: EvalOptions, models: params.ModelOptions
) -> None:
    from uniaudio_cli.evaluation import report, runner, zero_shot
    from uniaudio_cli.evaluation.systems import Setup as NewSetup

    by_name = manifest.shots == (0,)
    if by_name:
        facts = {"readout": "names", "lm": models.zero_shot_lm, "dtype": models.dtype, "bits": models.bits}
    else:
        facts = _model_facts(models) | {"task": task.model_dump(mode="json")}
    log = None
    if evaluation.report is not None:
        runner.settle_manifest(evaluation.report, manifest, evaluation.force)
        log = runner.open_log(evaluation.report, {"manifest": manifest.hash, **facts}, evaluation.force)
    quiet = evaluation.quiet
    setup = NewSetup(
        lambda: models.load(quiet, defer_lm=not task.uses_lm),
        task,
        manifest.items(folder),
        manifest.seed,
        models.offline,
        lambda line: note(line, quiet),
    )
    if by_name:
        setup.shared[zero_shot.SHARED] = _name_tags(setup, models)
    results = runner.evaluate(
        manifest,
        folder,
        setup,
        evaluation.controls.value,
        rows=zero_shot.ROWS if by_name else None,
        log=log,
        settings=facts,
        watch=lambda answers, total: counted(answers, total, "eval", quiet),
    )
    if log is not None:
        log.close()
    if evaluation.report is not None:
        results.write(evaluation.report / runner.RESULTS, force=True)
    if evaluation.as_json:
        print(json_line(results.model_dump(mode="json")))
        return
    print(report.headline(results))
    for cell in results.cells:
        _print_table(report.header(cell), report.rows(cell))
        if names := report.group_header(cell):
            _print_table(names, report.group_rows(cell))
    for line in report.footnotes(results):
        note(line, quiet)
    if evaluation.report is not None:
        note(f"{show(evaluation.report)}: {runner.RESULTS}, {runner.EPISODES}, {runner.MANIFEST}", quiet)


def _name_tags(setup: Setup, models: params.ModelOptions) -> NameTags:
    """What the rows of a zero-shot evaluation share; raises where the LLM or the tagger is missing."""
    from uniaudio_cli.api import load_zero_shot
    from uniaudio_cli.evaluation.zero_shot import NameTags

    session = load_zero_shot(
        sorted({item.label for item in setup.items}),
        lm=models.zero_shot_lm,
        device=models.device,
        dtype=models.dtype,
        bits=models.bits,
        offline=models.offline,
        progress=setup.progress,
    )
    return NameTags(session, setup.items, {"readout": "names", "tagger": "yamnet", "lm": models.zero_shot_lm})


def _task(evaluation: EvalOptions) -> Task:
    """The task with --set applied.

    Raises:
        UsageError: there is no such task, or it gives no labels.
    """
    from uniaudio_cli.core.schema import parse_settings
    from uniaudio_cli.prompting.task import load_task

    task = load_task(evaluation.task, parse_settings(evaluation.settings or []))
    if task.kind != "classify":
        raise UsageError(f"task {task.name}: gives no labels, so nothing is right or wrong")
    return task


def _model_facts(models: params.ModelOptions) -> dict[str, Any]:
    """What results.json says of the models, and what a run must have in common to be continued."""
    from uniaudio_cli.models.registry import resolve_codec, resolve_model

    preset = resolve_model(models.model)
    codec = resolve_codec(models.codec or preset.codec, models.offline)
    return {
        "model": models.model,
        "lm": models.lm or preset.lm,
        "codec": Path(models.codec).name if models.codec else preset.codec,
        "codec_sha256": codec.identity.removeprefix("sha256:"),
        "dtype": models.dtype,
        "bits": models.bits,
    }


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


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*header)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
