"""How often a task is answered right from a few demonstrations, over seeded episodes, as a Markdown table.

    python benchmarks/episodes.py --data FOLDER [--model small] [--episodes 200] [--seed 0] [--half test]

Clips of speakers (`DIGIT_SPEAKER_TAKE.wav`, or any metadata whose groups say several labels) are asked with
demonstrations of the same speaker and of others; clips of recordings (ESC) only with demonstrations of other
recordings. Every table has the rows an LLM has to beat: the nearest demonstration and an n-gram cache on the same
words, and chance. Tune on `--half development`; what is reported comes from `--half test`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uniaudio_cli.audio.prosody import PROSODY, level_name
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, is_file, is_folder, show
from uniaudio_cli.data.episodes import Episode, Item, Rule, are_recordings, episodes, half, load_items
from uniaudio_cli.evaluation.metrics import Interval, chance

HALVES = ("test", "development", "all")
READOUTS = ("likelihood", "label")


@dataclass(frozen=True)
class Setting:
    """One kind of episode."""

    name: str
    ways: int
    shots: int
    rule: Rule


SPEAKERS = (
    Setting("5-way 1-shot, same speaker", 5, 1, "same"),
    Setting("2-way 5-shot, same speaker", 2, 5, "same"),
    Setting("5-way 1-shot, other speakers", 5, 1, "other"),
)
RECORDINGS = (
    Setting("5-way 1-shot, other recordings", 5, 1, "other"),
    Setting("2-way 1-shot, other recordings", 2, 1, "other"),
)


def default_data() -> Path:
    """$UNIAUDIO_TEST_DATA/data/fsdd."""
    folder = os.environ.get("UNIAUDIO_TEST_DATA")
    if not folder:
        raise UsageError("no data: give --data FOLDER, or set $UNIAUDIO_TEST_DATA to the folder with data/fsdd in it")
    return Path(folder) / "data" / "fsdd"


def drawn(items: Sequence[Item], setting: Setting, count: int, seed: int) -> list[Episode]:
    return list(episodes(items, setting.ways, setting.shots, count, seed, setting.rule))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the table and the JSON say."""
    data = arguments.data or default_data()
    if not is_folder(data) and not is_file(data):
        raise UsageError(f"{show(data)}: no such data; give --data a folder of labelled clips or their metadata file")
    items = load_items(data, arguments.group)
    recordings = are_recordings(items)
    kept = half(items, arguments.half)
    # What cannot be drawn is refused before models load.
    plan = [
        (setting, drawn(kept, setting, arguments.episodes, arguments.seed))
        for setting in (RECORDINGS if recordings else SPEAKERS)
    ]

    import uniaudio_cli
    from uniaudio_cli.evaluation.baselines import RememberingKit, evaluate
    from uniaudio_cli.prompting.task import load_task, override_task

    task = override_task(
        load_task(arguments.task or ("sound-event" if recordings else "spoken-digit")), levels=arguments.levels
    )
    if task.demonstration_kind != "label":
        raise UsageError(f"task {task.name}: gives no labels to be right or wrong about")
    start = time.perf_counter()
    kit = RememberingKit.of(uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec, progress=say))
    say(f"loaded in {time.perf_counter() - start:.0f} s; {len(kept)} clips of the {arguments.half} half")
    rows = []
    for setting, asked in plan:
        start = time.perf_counter()

        def progress(done: int, setting: Setting = setting, start: float = start) -> None:
            if done % 10 == 0 or done == arguments.episodes:
                say(f"{setting.name}: {done} of {arguments.episodes}, {time.perf_counter() - start:.0f} s")

        found = evaluate(kit, task, asked, arguments.readouts, arguments.seed, progress)
        rows.append(
            {
                **asdict(setting),
                "queries": len({episode.query.path for episode in asked}),
                "groups": len({episode.query.group for episode in asked}),
                "chance": chance(setting.ways),
                "asked": [f"{episode.query.label}: {episode.query.path.name}" for episode in asked],
                "methods": {
                    method: {
                        "accuracy": asdict(found.accuracy(method)),
                        "gain": asdict(found.gain(method)),
                        "guesses": found.guesses[method],
                    }
                    for method in found.methods
                },
            }
        )
    return {
        "data": data.name,
        "half": arguments.half,
        "task": task.name,
        "levels": task.levels,
        "lm": kit.lm.name,
        "codec": Path(arguments.codec).name if arguments.codec else arguments.model,
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "rows": rows,
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    levels = ", ".join(map(level_name, result["levels"]))
    lines = [
        f"{result['data']} ({result['half']}), task {result['task']}, {levels}; LLM {result['lm']}, codec "
        f"{result['codec']}; {result['episodes']} episodes a setting, seed {result['seed']}; 95 % intervals (Wilson; "
        f"paired: Bonett and Price).",
        "",
        "| setting (query clips / groups) | method | right | points over nearest demonstration |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        where = f"{row['name']} ({row['queries']} / {row['groups']})"
        for method, numbers in row["methods"].items():
            gain = "" if method == "nearest demonstration" else Interval(**numbers["gain"]).signed
            lines.append(f"| {where} | {method} | {Interval(**numbers['accuracy'])} | {gain} |")
        lines.append(f"| {where} | chance | {100 * row['chance']:.1f} % | |")
    return "\n".join(lines)


def level(text: str) -> int:
    return PROSODY if text == "prosody" else int(text)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled clips; by default $UNIAUDIO_TEST_DATA/data/fsdd")
    parser.add_argument("--group", help="a regular expression with (?P<group>...) that finds speaker or recording")
    parser.add_argument("--task", help="spoken-digit for speakers, sound-event for recordings by default")
    parser.add_argument("--levels", type=level, nargs="+", help="to show, numbers or prosody; by default the task's")
    parser.add_argument("--model", default="small", help="a preset (default: small)")
    parser.add_argument("--lm", help="another LLM: a preset or a folder")
    parser.add_argument("--codec", help="another codec: a preset or a checkpoint")
    parser.add_argument("--readouts", nargs="*", choices=READOUTS, default=list(READOUTS), help="by default both")
    parser.add_argument("--episodes", type=int, default=200, help="per setting (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes (default: 0); the halves are fixed")
    parser.add_argument("--half", choices=HALVES, default="test", help="default: test")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too, every guess included")
    arguments = parser.parse_args(argv)
    if arguments.episodes < 1:
        parser.error("--episodes: 1 or more")
    arguments.levels = tuple(arguments.levels) if arguments.levels else None
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parsed(argv)
    try:
        result = measure(arguments)
        print(table(result))
        if arguments.json:
            with atomic(arguments.json, force=True) as temporary:
                temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except UniAudioError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
