"""Writes docs/few-shot.md and the README's table from the committed results of `uniaudio eval` (docs/results/*.json).

python docs/make_results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("few-shot.md")
FOLDER = Path(__file__).with_name("results")
# What each set is, and whether anything was chosen on it.
SETS = {
    "esc10": "five classes of ESC-10, 200 clips; development data: settings were chosen on these clips",
    "instruments": "five instruments, 75 recordings; held out",
    "named": "43 kinds of noise with two or more recordings (`recipes/named_noises.py`); the weight of names was "
    "chosen on half of them",
    "arabic-commands": "ten Arabic command words, demonstrations of other speakers; speakers 7 to 12, held out",
    "fsdd-other": "spoken digits (FSDD), demonstrations of another speaker; george and yweweler, held out",
    "fsdd-same": "spoken digits (FSDD), demonstrations of the same speaker; george and yweweler, held out",
    "zero-shot-esc10": "labels by name without demonstrations, the five classes of ESC-10 as above; development data",
    "zero-shot-named": "labels by name without demonstrations, 98 kinds of noise (`recipes/named_noises.py`), "
    "212 recordings; prompts were compared on half of them",
    "zero-shot-instruments": "labels by name without demonstrations, the five instruments; held out",
}
POOLS = {
    "pooled-zero-shot": "labels by name without demonstrations: esc10, instruments and named noises",
    "pooled-1-shot": "one demonstration a label: esc10, instruments and the 43 named noises of two or more recordings",
}
POOL_HEAD = """## Pooled

What the LLM adds, over the episodes of several sets together (`uniaudio eval pool REPORT/ REPORT/ ...`). Every episode
counts the same, and intervals resample the recordings of all sets. Held out among them are instruments alone: settings
were chosen on esc10, and prompts and the weight of names on half of the noises.

| set | system | accuracy | uniaudio less |
|---|---|---|---|
"""
# Shipped tasks without an open corpus, on synthetic clips: results file and task.
TASKS = (
    ("task-language", "language-id"),
    ("task-accent", "accent"),
    ("task-emotion", "emotion"),
    ("task-bird", "bird"),
    ("task-chord", "chord"),
)
TASKS_HEAD = """## Other tasks, on synthetic clips

The tasks that have no open corpus here, on clips that `recipes/synthetic_classes.py` and `recipes/synthetic_moods.py`
make: eight languages, five accents and five moods of espeak-ng, calls like birds' in five surroundings, chords of five
instruments. 5-way, the test half, demonstrations of other voices, surroundings or instruments. Synthetic clips show
whether a task can work; they say nothing about people, acted emotion or real birds. Accents profit from sentences that
several voices share. "Before" is what these tasks were until November 2026, on the same episodes: SmolLM2-135M
scores every label after the codes of its demonstrations, of moods after their prosody (`readout: likelihood`).

| task | shots | n | uniaudio | before | nearest demonstration | YAMNet | Whisper |
|---|---|---|---|---|---|---|---|
"""
IN_CONTEXT_HEAD = """## In-context learning itself

The LLM alone, 5-way 1-shot, with the demonstrations' tags in its context under labels that name nothing ("type A" to
"type E"): ESC-10 (development) and instruments (held out), five draws of folds each (`eval DATA/ --controls context
--shots 1 --seed N`), and the 43 named noises of two or more recordings (`--ways 5 --episodes 600`), pooled (`eval pool
REPORT/ ... --row "LLM in context, labels type A to E"`), n = {n:,}. Differences are paired. So the LLM learns from what
is in its context, and learns less than counting the same tags does.

| system | accuracy | LLM in context less |
|---|---|---|
"""
# The paper's direct readout by the size of the LLM: set, LLM, results file.
LABEL_SIZES = (
    ("esc10", "smollm2-135m", "label-esc10-135m"),
    ("esc10", "qwen2.5-coder-0.5b", "label-esc10-0.5b"),
    ("esc10", "qwen2.5-coder-1.5b", "label-esc10-1.5b"),
    ("fsdd-other", "smollm2-135m", "label-fsdd-135m"),
    ("fsdd-other", "qwen2.5-coder-0.5b", "label-fsdd-0.5b"),
    ("fsdd-other", "qwen2.5-coder-1.5b", "label-fsdd-1.5b"),
)
LABEL_HEAD = """## The `label` readout by LLM size

The paper's readout: one prompt with all demonstrations in level-0 words, and the label that the LLM writes next. Five
labels, three demonstrations each, cross-validated (`eval DATA/ --set readout=label --set levels=[0] --shots 3`);
ESC-10 by two draws of folds, clips cut to their loudest 2 s, digits 0 to 4 of george and yweweler by the other speaker.
Chance is 20 %; the nearest demonstration reads the same words. What you would take instead is in the first tables.

| set | LLM | n | accuracy | nearest demonstration |
|---|---|---|---|---|
"""
# Labels by name by the size of the LLM: set, LLM, results file.
NAME_SIZES = (
    ("esc10", "qwen2.5-coder-0.5b", "zero-shot-esc10"),
    ("esc10", "qwen2.5-coder-1.5b", "zero-shot-esc10-1.5b"),
    ("instruments", "qwen2.5-coder-0.5b", "zero-shot-instruments"),
    ("instruments", "qwen2.5-coder-1.5b", "zero-shot-instruments-1.5b"),
)
MINILM = "names, MiniLM"
NAMES_HEAD = """## Labels by name by LLM size

The zero-shot sections above, by LLM: `eval DATA/ --zero-shot --ways 5 --episodes 300 --lm LLM`. Chance is 20 %.

| set | LLM | n | accuracy | MiniLM | uniaudio less MiniLM |
|---|---|---|---|---|---|
"""
SUITE = "outside-audioset"
SUITE_HEAD = """## Concepts outside AudioSet

Labels by name that no class of the tagger has (dangerous or harmless, where a clip is recorded, what a source is made
of): `uniaudio eval suite outside-audioset --data DATA/ --controls all -o REPORT/`, {concepts} concepts, {clips} clips
of ESC-10, instruments and named noises; clips, labels and mapping were committed before the first run. Every class
counts the same; intervals resample classes. Chance is {chance:.1f} %.

| LLM | system | accuracy | uniaudio less |
|---|---|---|---|
"""
HEAD = """# Few-shot results

Made by `python docs/make_results.py` from the results files in `docs/results/`, which
`uniaudio eval FOLDER --ways 5 --episodes 300 -o REPORT/` wrote; a test checks that it is up to date. Accuracy in %,
with a 95 % interval that resamples speakers or recordings. "uniaudio less" is paired on the same episodes. "Counts
only" leaves out the labels' names, and with them the LLM; rows of names put something else in the LLM's place. In tasks
of speech the LLM has no part. "Random LLM" is the same architecture with random weights.
"""


README = Path(__file__).parents[1] / "README.md"
MARKS = ("<!-- results -->\n", "<!-- /results -->\n")
NEAREST, YAMNET, WHISPER = "nearest demonstration", "YAMNet + logistic regression", "Whisper base + nearest mean"
# The README's rows: set, how it is called there, shots, and the peer with its short name.
ROWS = (
    ("esc10", "ESC-10 sounds (development)", (1, 3), YAMNET, YAMNET),
    ("instruments", "instruments (held out)", (1, 3), YAMNET, YAMNET),
    ("fsdd-other", "FSDD digits, other speakers (held out), 1 / 5-shot", (1, 5), WHISPER, "Whisper embedding"),
    ("arabic-commands", "Arabic commands, other speakers (held out), 1 / 5-shot", (1, 5), WHISPER, "Whisper embedding"),
)


def readme() -> str:
    """The README with its table of results made anew."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    lines = [
        f"| | uniaudio 1 / 3-shot | {NEAREST} | what you would take instead |",
        "|---|---|---|---|",
        *(_readme_row(*row) for row in ROWS),
    ]
    return before + MARKS[0] + "\n".join(lines) + "\n" + MARKS[1] + after


def _readme_row(name: str, about: str, shots: tuple[int, ...], peer: str, short: str) -> str:
    result = _read(name)
    by_shots = {cell["shots"]: cell["systems"] for cell in result["cells"]}
    ours, nearest, other = (
        " / ".join(f"{100 * by_shots[shot][system]['accuracy']['value']:.1f}" for shot in shots)
        for system in ("uniaudio", NEAREST, peer)
    )
    return f"| {about} | {ours} | {nearest} | {short} {other} |"


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name, about) for name, about in SETS.items()), *_others()])


def _others() -> list[str]:
    return [_tasks(), _pools(), _in_context(), _name_sizes(), _label_sizes(), _suite()]


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _tasks() -> str:
    rows = []
    for name, task in TASKS:
        for cell, before in zip(_read(name)["cells"], _read(f"{name}-before")["cells"], strict=True):
            found = [cell["systems"][system]["accuracy"] for system in ("uniaudio", NEAREST, YAMNET, WHISPER)]
            found.insert(1, before["systems"]["uniaudio"]["accuracy"])
            rows.append(f"| {task} | {cell['shots']} | {found[0]['n']} | {' | '.join(map(_percent, found))} |")
    return TASKS_HEAD + "\n".join([*rows, ""])


def _pools() -> str:
    rows = []
    for name, about in POOLS.items():
        (cell,) = _read(name)["cells"]
        gains = {each["reference"]: _percent(each["accuracy"], "+") for each in cell["differences"]}
        for system, rate in cell["systems"].items():
            rows.append(f"| {about} (n = {rate['n']:,}) | {system} | {_percent(rate)} | {gains.get(system, '')} |")
    return POOL_HEAD + "\n".join([*rows, ""])


def _in_context() -> str:
    (cell,) = _read("pooled-in-context")["cells"]
    gains = {each["reference"]: _percent(each["accuracy"], "+") for each in cell["differences"]}
    rows = [f"| {name} | {_percent(rate)} | {gains.get(name, '')} |" for name, rate in cell["systems"].items()]
    return IN_CONTEXT_HEAD.format(n=cell["episodes"]) + "\n".join([*rows, "| chance | 20.0 | |", ""])


def _name_sizes() -> str:
    rows = []
    for data, lm, name in NAME_SIZES:
        (cell,) = _read(name)["cells"]
        ours, other = (cell["systems"][system]["accuracy"] for system in ("uniaudio", MINILM))
        (less,) = [each for each in cell["differences"] if (each["system"], each["reference"]) == (MINILM, "uniaudio")]
        rows.append(
            f"| {data} | {lm} | {ours['n']} | {_percent(ours)} | {_percent(other)} | {_signed(less['accuracy'])} |"
        )
    return NAMES_HEAD + "\n".join([*rows, ""])


def _label_sizes() -> str:
    rows = []
    for data, lm, name in LABEL_SIZES:
        (cell,) = _read(name)["cells"]
        # Of one run, or of several pooled.
        ours, nearest = (each.get("accuracy", each) for each in map(cell["systems"].get, ("uniaudio", NEAREST)))
        rows.append(f"| {data} | {lm} | {ours['n']} | {_percent(ours)} | {_percent(nearest)} |")
    return LABEL_HEAD + "\n".join([*rows, ""])


def _suite() -> str:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob(f"{SUITE}-*.json"))]
    first = found[0]
    text = SUITE_HEAD.format(concepts=first["concepts"], clips=first["clips"], chance=100 * first["chance"])
    rows = []
    for result in found:
        for name, value in result["accuracy"].items():
            gain = result["gain"].get(name)
            less = _percent(gain, "+") if gain else ""
            rows.append(f"| {result['lm']} | {name} | {_percent(value)} | {less} |")
    return text + "\n".join([*rows, ""])


def _section(name: str, about: str) -> str:
    result = _read(name)
    lines = [
        f"## {name}",
        "",
        f"{about[0].upper()}{about[1:]}. {result['episodes']} episodes a cell, seed {result['seed']}.",
        "",
        "| 5-way | shots | accuracy | uniaudio less |",
        "|---|---|---|---|",
    ]
    for cell in result["cells"]:
        lines += _rows(cell)
    return "\n".join([*lines, ""])


def _rows(cell: dict[str, Any]) -> list[str]:
    paired = [each for each in cell["differences"] if each["reference"] == "uniaudio"]  # stored as the system less it
    less = {each["system"]: each["accuracy"] for each in paired}
    rows = []
    for name, system in cell["systems"].items():
        accuracy = system["accuracy"]
        difference = _signed(less[name]) if name in less else ""
        rows.append(f"| {name} | {cell['shots']} | {_percent(accuracy)} | {difference} |")
    return [*rows, f"| chance | {cell['shots']} | {100 * cell['chance']:.1f} | |"]


def _percent(interval: dict[str, float], sign: str = "") -> str:
    value, low, high = (format(100 * interval[name], f"{sign}.1f") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(interval: dict[str, float]) -> str:
    """The negative of a difference, in points."""
    return f"{-100 * interval['value']:+.1f} [{-100 * interval['high']:+.1f}, {-100 * interval['low']:+.1f}]"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
