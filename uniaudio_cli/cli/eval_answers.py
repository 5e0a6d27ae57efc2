"""`uniaudio eval answers`: questions answered aloud, right by text and by a recogniser, beside controls."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from uniaudio_cli.cli import inputs, params
from uniaudio_cli.cli.console import note
from uniaudio_cli.core.jsonl import JsonlLog, json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.spoken_answers import Judges
    from uniaudio_cli.inference.speak import Speaker

LOG, RESULTS = "answers.jsonl", "results.json"


class Half(str, Enum):
    """Which questions are asked."""

    held_out = "held-out"
    development = "development"
    more_development = "more-development"


@params.expand
def answers(
    demo: params.DemoOptions,
    models: params.ModelOptions,
    task: params.TaskName = "spoken-answer",
    half: Annotated[Half, typer.Option("--half", help="Questions: held-out, or those that were chosen on.")] = (
        Half.held_out
    ),
    speech: Annotated[
        bool, typer.Option("--speech/--no-speech", help="Also judge what is spoken, with Whisper base and DNSMOS.")
    ] = True,
    random: Annotated[bool, typer.Option("--random", help="Also the answering LLM with random weights.")] = False,
    report: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report; a stopped run continues there.")
    ] = None,
    as_json: params.OneObject = False,
    quiet: params.Quiet = False,
    force: params.Force = False,
) -> None:
    """Spoken answers to 80 questions: right by text and by a recogniser of the speech, beside controls."""
    from uniaudio_cli.core.paths import atomic
    from uniaudio_cli.evaluation.affinities import sentence_embedder
    from uniaudio_cli.evaluation.runner import versions
    from uniaudio_cli.evaluation.spoken_answers import evaluate, load_suites
    from uniaudio_cli.models.registry import resolve_model, resolve_teacher

    chosen = inputs.choose_task(task, demo)
    inputs.require_kind(chosen, "speak", "eval answers")
    settings: dict[str, Any] = {
        "questions": half.value,
        "demos": demo.demos.name,
        "model": models.model,
        "answer_lm": models.lm or resolve_model(models.model).lm,
        "dtype": models.dtype,
        "task": chosen.model_dump(mode="json"),
    }
    log = JsonlLog(report and report / LOG, settings, resume=not force, force=force)
    kit = models.load_to_speak(quiet, chosen.levels)
    speaker = kit.speaker(demo.demos, chosen, shots=demo.shots, seed=demo.seed)
    note(f"answering {half.value} questions with {settings['answer_lm']}", quiet)
    embed = sentence_embedder(str(resolve_teacher("minilm", models.offline, lambda line: note(line, quiet))))
    judges = _judges(speaker, models.offline, quiet) if speech else None
    found = {
        "settings": settings,
        "versions": versions(),
        **evaluate(speaker, load_suites(half.value), log, judges, embed, random),
    }
    log.close()
    if report is not None:
        with atomic(report / RESULTS, force=True) as temporary:
            temporary.write_text(json_line(found) + "\n", encoding="utf-8")
        note(f"{show(report)}: {RESULTS}, {LOG}", quiet)
    if as_json:
        print(json_line(found))
        return
    _print(found)


def _judges(speaker: Speaker, offline: bool, quiet: bool) -> Judges:
    """Whisper base and DNSMOS. Raises UsageError where their packages are not installed."""
    from uniaudio_cli.evaluation.judges import WhisperJudge, dnsmos
    from uniaudio_cli.evaluation.spoken_answers import Judges
    from uniaudio_cli.models.registry import resolve_judge

    rate = speaker.models.codec.sample_rate
    whisper = WhisperJudge(resolve_judge("whisper-base", offline, lambda line: note(line, quiet)), speaker.texts)
    return Judges(whisper.free, whisper, lambda wav: dnsmos(wav, rate))


def _print(found: dict[str, Any]) -> None:
    """Tables for people."""
    speech = found.get("speech")
    systems = list(next(iter(found["suites"].values())))
    table = Table("questions", *systems, *(["by free Whisper"] if speech else []))
    for name, cell in found["suites"].items():
        heard = [rate(speech["questions"][name]["free"])] if speech else []
        table.add_row(name, *(rate(cell[system]) for system in systems), *heard)
    Console().print(table)
    print(f"chance {100 * found['chance']:.0f} %; of texts that no number answers, refused {rate(found['refused'])}")
    for name, cell in found["confidence"].items():
        print(f"right of the answers that are {name}: {rate(cell)}")
    if speech:
        table = Table("literal texts", "free Whisper", "Whisper among the texts", "DNSMOS")
        for name, cell in speech["literal"].items():
            table.add_row(name, rate(cell["free"]), rate(cell["closed"]), f"{cell['dnsmos']['value']:.2f}")
        Console().print(table)


def rate(cell: dict[str, Any]) -> str:
    """A rate with its interval, such as "19 of 20: 95.0 % [76.4, 99.1]"."""
    low, high = 100 * cell["low"], 100 * cell["high"]
    return f"{cell['right']} of {cell['n']}: {100 * cell['value']:.1f} % [{low:.1f}, {high:.1f}]"
