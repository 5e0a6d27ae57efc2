"""Which clips of a folder are shown: a seeded draw against those typical of their label (`classify --spread`).

    python benchmarks/choice.py digits-same digits-other sounds [--half development] [--episodes 200] --out FOLDER

An episode is 5-way, with 8 clips of each label to choose 1 or 2 of (`--shots 1,2`). The default readout, the nearest
demonstration and an n-gram cache answer the same queries from either choice. FOLDER gets one JSONL per set, one line an
episode, and a run that was stopped goes on where it was; the tables are printed from these files.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sets import SETS, settle

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Episode, episodes, half, load_items
from uniaudio_cli.evaluation.metrics import accuracy, difference
from uniaudio_cli.inference.pipeline import Kit
from uniaudio_cli.prompting.task import Task, load_task, override_task

WAYS, CLIPS = 5, 8
CHOICES: dict[str, str] = {"draw": "drawn", "spread": "typical"}


def shown(kit: Kit, task: Task, episode: Episode, shots: int, pick: str) -> Episode:
    """The same query with `shots` of each label's clips."""
    items = {item.path: item for item in episode.demonstrations}
    given = [Demonstration(item.path, item.label) for item in episode.demonstrations]
    chosen = kit.picked(override_task(task, pick=pick), given, shots)
    return Episode(episode.labels, tuple(items[each.audio] for each in chosen), episode.query)


def run(arguments: argparse.Namespace) -> None:
    """Ask the episodes that have no line yet."""
    plans = {}
    for name in arguments.sets:
        kept = half(load_items(arguments.data / SETS[name].folder), arguments.half)
        plans[name] = list(episodes(kept, WAYS, CLIPS, arguments.episodes, arguments.seed, SETS[name].rule))

    import uniaudio_cli
    from uniaudio_cli.evaluation.baselines import RememberingKit, evaluate

    kit = RememberingKit.of(uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec, progress=say))
    arguments.out.mkdir(parents=True, exist_ok=True)
    about = {key: str(getattr(arguments, key)) for key in ("half", "seed", "model", "lm", "codec", "shots")}
    for name, plan in plans.items():
        task = load_task(SETS[name].task)
        file = arguments.out / f"{name}.jsonl"
        if not file.exists():
            file.write_text(json.dumps(about) + "\n", encoding="utf-8")
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        if not lines or json.loads(lines[0]) != about:
            raise UsageError(f"{file}: is about something else; give another --out")
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        started, done = time.perf_counter(), len(lines) - 1
        with file.open("a", encoding="utf-8") as out:
            for number, episode in enumerate(plan[done:], done):
                row = {}
                for shots in arguments.shots:
                    for choice, pick in CHOICES.items():
                        part = shown(kit, task, episode, shots, pick)
                        asked = evaluate(kit, replace(task, readout="likelihood"), [part], ("likelihood",), number)
                        row[f"{shots} {choice}"] = {method: bool(asked.correct(method)[0]) for method in asked.methods}
                out.write(json.dumps(row) + "\n")
                out.flush()
                if number % 10 == 9:
                    each = (time.perf_counter() - started) / (number + 1 - done)
                    say(f"{name}: {number + 1} of {len(plan)}, {each:.2f} s an episode")


def report(folder: Path, sets: Sequence[str]) -> Iterator[str]:
    """Markdown, a table a set."""
    for name in sets:
        about, *rows = [
            json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        yield f"{name}, {about['half']} half, seed {about['seed']}, {WAYS}-way, {CLIPS} clips a label to choose from\n"
        yield "| shots | method | seeded draw | spread | points over the draw |\n|---|---|---|---|---|"
        for shots in dict.fromkeys(key.split()[0] for key in rows[0]):
            for method in rows[0][f"{shots} draw"]:
                draw, spread = (np.array([row[f"{shots} {choice}"][method] for row in rows]) for choice in CHOICES)
                cells = (shots, method, accuracy(draw), accuracy(spread), difference(spread, draw).signed)
                yield f"| {' | '.join(map(str, cells))} |"
        yield ""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all that --data has by default")
    parser.add_argument("--out", type=Path, default=Path("runs/choice"), help="folder of the JSONL files")
    parser.add_argument("--data", type=Path, help="folder with fsdd/ and esc10/; by default $UNIAUDIO_TEST_DATA/data")
    parser.add_argument("--half", choices=("development", "test"), default="development")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shots", default="1,2")
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    arguments = parser.parse_args(argv)
    settle(parser, arguments)
    arguments.shots = [int(shots) for shots in arguments.shots.split(",")]
    try:
        run(arguments)
        for line in report(arguments.out, arguments.sets):
            print(line)
    except UniAudioError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
