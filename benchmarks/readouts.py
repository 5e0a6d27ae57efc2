"""Every way to read a label out of a frozen LLM, beside the rules that need none, on the same episodes.

    python benchmarks/readouts.py digits-same [digits-other sounds] [--half development] [--episodes 200] --out FOLDER
    python benchmarks/readouts.py --report --out FOLDER

An episode is drawn 5-way 5-shot; its 1-shot and 2-way parts are asked too (`--cells`), so that all cells share their
queries, and cells with as many shots what was read. The product's default, its parts and the rules answer every
episode; what is at chance, or costs as much as all that together, answers the first `--slow-episodes` alone. FOLDER
gets one JSONL of scores per set, one line an episode, flushed; a run that was stopped goes on where it was
(`--resume`). `--report` prints the Markdown tables from these files alone. Choose on `--half development`, report
`--half test`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sets import SETS, known

from uniaudio_cli.demos import Demonstration
from uniaudio_cli.episodes import Episode, Item, episodes, half, load_items
from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.evaluate import RememberingKit
from uniaudio_cli.metrics import accuracy, auroc, best, calibration_error, difference
from uniaudio_cli.pipeline import Heard, Session
from uniaudio_cli.score import LabelReadout, LikelihoodReadout, Said, mixed, temperature, together
from uniaudio_cli.task import Task, changed, load_task

Scores = dict[str, list[float]]
# Log-scores of a query's words, [labels, words] for every time it was heard.
Words = list[torch.Tensor]

LEVELS = (0, 1)
NEAREST, LABEL, DEFAULT = "nearest demonstration, level 0", "label", "likelihood (default)"
# What a file of scores is about: with another of these it cannot be gone on with.
ABOUT = ("half", "seed", "model", "lm", "codec", "dtype", "shifts", "slow_episodes")


@dataclass(frozen=True)
class Cell:
    """A part of an episode: some of its labels, and the first demonstrations of each."""

    ways: int
    shots: int

    @classmethod
    def of(cls, text: str) -> Cell:
        ways, shots = text.split("x")
        return cls(int(ways), int(shots))

    def __str__(self) -> str:
        return f"{self.ways}-way {self.shots}-shot"

    def part(self, episode: Episode, number: int) -> Episode:
        """The same query with fewer labels, its own among them, and fewer demonstrations."""
        others = [label for label in episode.labels if label != episode.query.label]
        kept = {episode.query.label, *random.Random(f"part {number}").sample(others, self.ways - 1)}
        shown, seen = [], dict.fromkeys(kept, 0)
        for item in episode.demonstrations:
            if item.label in kept and seen[item.label] < self.shots:
                seen[item.label] += 1
                shown.append(item)
        return Episode(tuple(sorted(kept)), tuple(shown), episode.query)


class Asker:
    """Scores of every method for a part of an episode. What parts share is worked out once."""

    def __init__(self, kit: RememberingKit, task: Task) -> None:
        self.kit = kit
        self.listening = changed(task, readout="likelihood", levels=LEVELS)
        self.labelling = changed(task, readout="label", levels=(0,))
        self.mels: dict[Path, np.ndarray] = {}

    def hear(self, item: Item) -> list[Heard]:
        return self.kit.hear_shifted(item.path, self.listening)

    def ids(self, heard: Heard, level: int) -> list[int]:
        return self.kit.vocabulary.ids([heard.codes[level]], [level])

    def session(self, task: Task, shown: Sequence[Item]) -> Session:
        return self.kit.session(task, [Demonstration(item.path, item.label) for item in shown])

    def words(self, episode: Episode, slow: bool) -> dict[str, Words]:
        """What the LLM and the cache make of every word of the query: `likelihood` before it is added up."""
        session = self.session(self.listening, episode.demonstrations)
        readout = session.readout
        assert isinstance(readout, LikelihoodReadout)
        assert readout.contexts[0] is not None
        query = session.asked(self.hear(episode.query))
        hard = [[Said(said.ids) for said in level] for level in query]
        found = {f"cache {level}": [readout.remembered(level, said) for said in query[level]] for level in LEVELS}
        found |= {f"counts {level}": [readout.remembered(level, said) for said in hard[level]] for level in LEVELS}
        found["llm 0"] = readout.read(readout.contexts[0], 0, query[0])
        if slow:
            found["llm 0, hard"] = readout.read(readout.contexts[0], 0, hard[0])
            prompts = [session._listening(label, 1).ids(self.kit.vocabulary) for label in episode.labels]
            found["llm 1"] = readout.read(self.kit.lm.prefill(prompts), 1, query[1])
        return found

    def from_words(self, words: Mapping[str, Words], rows: Sequence[int]) -> Scores:
        """Scores of the labels `rows`: a mean over hearings, each level at its weight."""
        weights = [self.kit.codec.strides[level] / self.kit.codec.strides[0] for level in LEVELS]

        def total(*levels: Words) -> list[float]:
            return added([[row[list(rows)] for row in level] for level in levels], weights)

        both = [together(*each) for each in zip(words["llm 0"], words["cache 0"], strict=True)]
        counts = [torch.stack([row[n].sum() for n in rows]) for row in words["counts 0"]]
        finer = [torch.stack([row[n].sum() for n in rows]) for row in words["counts 1"]]
        found = {
            DEFAULT: total(both, words["cache 1"]),
            "its LLM alone, level 0": total(words["llm 0"]),
            "its cache alone, level 0": total(words["cache 0"]),
            "its cache alone, level 0 + 1": total(words["cache 0"], words["cache 1"]),
            "n-gram cache, level 0 + 1": (weights[0] * sum(counts) + weights[1] * sum(finer)).tolist(),
        }
        if "llm 1" in words:
            two = [together(*each) for each in zip(words["llm 1"], words["cache 1"], strict=True)]
            found["its LLM and cache on both levels"] = total(both, two)
            found["its LLM alone, level 0 + 1"] = total(words["llm 0"], words["llm 1"])
            found["its LLM alone, level 0, one word a frame"] = total(words["llm 0, hard"])
        return found

    def labels(self, episode: Episode) -> Scores:
        """`label`, and what is made of the same prompt: calibrated, greedy."""
        session = self.session(self.labelling, episode.demonstrations)
        readout = session.readout
        assert isinstance(readout, LabelReadout)
        query = self.kit.hear_shifted(episode.query.path, self.labelling)
        free = [self.random_words(len(query[0].codes[0]), seed) for seed in range(3)]
        stems = [session.asked(heard)[0][0].ids for heard in (query, *free)]
        answers = [readout.continuations[label] for label in episode.labels]
        per_id = self.kit.lm.score_after(readout.prefix, stems, answers)[0]
        plain, *nothing = [np.array([float(ids.sum()) for ids in row]) for row in per_id]
        calibrated = plain - np.logaddexp.reduce(nothing, axis=0)
        written = greedy(answers, per_id[0])
        return {LABEL: plain.tolist(), "calibrated": calibrated.tolist(), "generate": written.tolist()}

    def random_words(self, count: int, seed: int) -> list[Heard]:
        """A query without content: words at random."""
        size = self.kit.vocabulary.sizes[0]
        return [Heard([random.Random(f"words {seed}").choices(range(size), k=count)], 0)]

    def channel(self, episode: Episode) -> Scores:
        """P(query | label) with every demonstration in the context, the label before its audio."""
        encode, lm = self.kit.vocabulary.tokenizer.encode, self.kit.lm
        context = encode("\n")
        for item in episode.demonstrations:
            context += [*encode(f"{item.label}:"), *self.ids(self.hear(item)[0], 0), *encode("\n")]
        stems = [encode(f"{label}:") for label in episode.labels]
        query = [self.ids(heard, 0) for heard in self.hear(episode.query)]
        among = self.kit.vocabulary.audio_ids((0,))
        rows = lm.score_after(lm.prefill([context]), stems, query, among)[0]
        return {"channel": [float(sum(ids.sum() for ids in row)) / len(query) for row in rows]}

    def rules(self, episode: Episode) -> Scores:
        """What needs no LLM."""
        found: Scores = {}
        by_label = {label: [i for i in episode.demonstrations if i.label == label] for label in episode.labels}
        for levels in ((0,), (0, 1)):
            name = f"nearest demonstration, level {' + '.join(map(str, levels))}"
            bags = {item.path: self.bag(item, levels) for item in (*episode.demonstrations, episode.query)}
            query = bags[episode.query.path]
            found[name] = [max(cosine(query, bags[item.path]) for item in items) for items in by_label.values()]
        mel = self.mel(episode.query)
        found["log-mel kNN"] = [
            max(-float(np.linalg.norm(mel - self.mel(item))) for item in items) for items in by_label.values()
        ]
        return found

    def bag(self, item: Item, levels: Sequence[int]) -> np.ndarray:
        """How often each word was heard."""
        rows = []
        for level in levels:
            codes = [code for heard in self.hear(item) for code in heard.codes[level]]
            rows.append(np.bincount(codes, minlength=self.kit.vocabulary.sizes[level]))
        return np.concatenate(rows).astype(float)

    def mel(self, item: Item) -> np.ndarray:
        """Mean and spread of 40 log-mel bands over a clip, as it is heard: [80]."""
        if item.path not in self.mels:
            import librosa

            wav = self.kit.read(item.path, self.listening)[0].numpy()
            power = librosa.feature.melspectrogram(y=wav, sr=self.kit.codec.sample_rate, n_fft=512, n_mels=40)
            bands = librosa.power_to_db(power, ref=np.max)
            self.mels[item.path] = np.concatenate([bands.mean(axis=1), bands.std(axis=1)])
        return self.mels[item.path]


def added(levels: Sequence[Words], weights: Sequence[float]) -> list[float]:
    """Words of each level -> log-scores of the labels, as `LikelihoodReadout` adds them up."""
    scores, length = torch.zeros(len(levels[0][0]), dtype=torch.float64), torch.zeros(())
    for hearings, weight in zip(levels, weights, strict=False):
        for logp in hearings:
            scores += weight / len(hearings) * mixed(logp)
            length += weight / len(hearings) * logp.shape[1]
    return (scores / temperature(length)).tolist()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def greedy(answers: Sequence[Sequence[int]], per_id: Sequence[torch.Tensor]) -> np.ndarray:
    """1 for the label that is written when the likeliest id of the label trie is taken at every step, else 0."""
    left, depth = list(range(len(answers))), 0
    while len(left) > 1:
        chances = {answers[n][depth]: float(per_id[n][depth]) for n in left}
        likeliest = max(chances, key=lambda id: chances[id])
        left = [n for n in left if answers[n][depth] == likeliest]
        depth += 1
    return np.array([float(n == left[0]) for n in range(len(answers))])


def asked(
    asker: Asker, episode: Episode, number: int, cells: Sequence[Cell], slow: bool
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The scores of every cell of an episode."""
    heard: dict[int, tuple[Episode, dict[str, Words]]] = {}
    widest = {shots: max(cell.ways for cell in cells if cell.shots == shots) for shots in {c.shots for c in cells}}
    for cell in cells:
        part = cell.part(episode, number)
        # Contexts are of one label each: fewer ways are some of the rows of more.
        if cell.shots not in heard:
            whole = Cell(widest[cell.shots], cell.shots).part(episode, number)
            heard[cell.shots] = whole, asker.words(whole, slow)
        whole, words = heard[cell.shots]
        scores = asker.from_words(words, [whole.labels.index(label) for label in part.labels]) | asker.rules(part)
        if slow:
            scores |= asker.labels(part) | asker.channel(part)
        rounded = {name: [round(score, 4) for score in row] for name, row in scores.items()}
        yield cell, {"truth": part.labels.index(part.query.label), "labels": part.labels, "scores": rounded}


def run(arguments: argparse.Namespace) -> None:
    """Ask the episodes of every set that are not asked yet."""
    data = arguments.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data"
    plans = []
    for name in arguments.sets:
        clips = SETS[name]
        kept = half(load_items(data / clips.folder), arguments.half)
        ways, shots = (max(getattr(cell, what) for cell in arguments.cells) for what in ("ways", "shots"))
        plans.append((name, list(episodes(kept, ways, shots, arguments.episodes, arguments.seed, clips.rule))))

    import uniaudio_cli

    kit = RememberingKit.of(
        uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec, dtype=arguments.dtype, progress=say)
    )
    about = {key: str(getattr(arguments, key)) for key in ABOUT}
    for name, plan in plans:
        file = arguments.out / f"{name}.jsonl"
        done = finished(file, about, arguments.resume)
        task = load_task(SETS[name].task)
        if arguments.shifts:
            task = replace(task, clip=replace(task.clip, shifts=arguments.shifts))
        asker = Asker(kit, task)
        started = time.perf_counter()
        with file.open("a", encoding="utf-8") as out:
            for number, episode in enumerate(plan[done:], done):
                row: dict[str, Any] = {"n": number, "query": episode.query.path.name, "cells": {}}
                for cell, found in asked(asker, episode, number, arguments.cells, number < arguments.slow_episodes):
                    row["cells"][str(cell)] = found
                out.write(json.dumps(row) + "\n")
                out.flush()
                each = (time.perf_counter() - started) / (number + 1 - done)
                if number % 10 == 9 or number + 1 == len(plan):
                    say(f"{name}: {number + 1} of {len(plan)}, {each:.2f} s an episode")


def finished(file: Path, about: dict[str, str], resume: bool) -> int:
    """How many episodes `file` has, cut back to its last whole line; a new file begins with what it is about.

    Raises:
        UsageError: it is about something else, or it is there and is not to be gone on with.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(about) + "\n", encoding="utf-8")
        return 0
    if not resume:
        raise UsageError(f"{file}: is there already; pass --resume to go on with it, or another --out")
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    if not lines or json.loads(lines[0]) != about:
        raise UsageError(f"{file}: is about {lines[0] if lines else 'nothing'}, not {json.dumps(about)}")
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines) - 1


def report(folder: Path, limit: int | None) -> Iterator[str]:
    """Markdown: a table for every set and cell."""
    for file in sorted(folder.glob("*.jsonl")):
        about, *rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        rows = rows[:limit]
        yield (
            f"{file.stem}, {about['half']} half, seed {about['seed']}, model {about['model']}, {len(rows)} episodes, "
            f"slow rows on the first {min(len(rows), int(about['slow_episodes']))}\n"
        )
        for cell in rows[0]["cells"] if rows else ():
            yield from cell_table(cell, [row["cells"][cell] for row in rows])


def cell_table(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row for every method, best first. Methods are compared on the episodes that both answered: the first ones."""
    right: dict[str, np.ndarray] = {}
    for method in {method: None for row in rows for method in row["scores"]}:
        answered = [row for row in rows if method in row["scores"]]
        scores = [{str(k): s for k, s in enumerate(row["scores"][method])} for row in answered]
        guesses = [int(best(each, f"{n}")) for n, each in enumerate(scores)]
        right[method] = np.array(guesses) == np.array([row["truth"] for row in answered])
    yield f"| {name} | right | over nearest demonstration | over `label` | AUROC | calibration error |"
    yield "|---|---|---|---|---|---|"
    for method in sorted(right, key=lambda method: -right[method].mean()):
        gains = [
            over(right[method], right[other]) if other in right and other != method else ""
            for other in (NEAREST, LABEL)
        ]
        cells = [method, str(accuracy(right[method])), *gains, *sureness(method, rows, right[method])]
        yield f"| {' | '.join(cells)} |"
    yield f"| chance | {100 / len(rows[0]['labels']):.1f} % | | | 0.50 | |\n"


def over(ours: np.ndarray, theirs: np.ndarray) -> str:
    count = min(len(ours), len(theirs))
    return difference(ours[:count], theirs[:count]).signed


def sureness(method: str, rows: Sequence[dict[str, Any]], right: np.ndarray) -> tuple[str, str]:
    """AUROC (right labels' probabilities against wrong ones') and calibration error, where there are probabilities."""
    if not method.startswith(("likelihood", "its ", "label", "calibrated", "channel")):
        return "", ""
    answered = [row for row in rows if method in row["scores"]]
    scores = [np.array(row["scores"][method]) for row in answered]
    p = [np.exp(each - np.logaddexp.reduce(each)) for each in scores]
    positive = [np.arange(len(chances)) == row["truth"] for chances, row in zip(p, answered, strict=True)]
    area = auroc(np.concatenate(p), np.concatenate(positive))
    return f"{area:.2f}", f"{calibration_error([chances.max() for chances in p], right):.2f}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/readouts"), help="folder of the JSONL files")
    parser.add_argument("--data", type=Path, help="folder with fsdd/ and esc10/; by default $UNIAUDIO_TEST_DATA/data")
    parser.add_argument("--half", choices=("development", "test"), default="development")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", default="5x1,5x5,2x1,2x5", help="ways x shots")
    parser.add_argument("--slow-episodes", type=int, default=200, help="that `label` and other slow rows answer")
    parser.add_argument("--shifts", help="milliseconds, in place of the tasks' own")
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--resume", action="store_true", help="go on with the files in --out")
    parser.add_argument("--report", action="store_true", help="print the tables of the files in --out, ask nothing")
    parser.add_argument("--limit", type=int, help="only so many episodes in the report")
    arguments = parser.parse_args(argv)
    arguments.sets = known(parser, arguments.sets)
    arguments.cells = [Cell.of(text) for text in arguments.cells.split(",")]
    arguments.shifts = tuple(map(int, arguments.shifts.split(","))) if arguments.shifts else None
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parsed(argv)
    try:
        if not arguments.report:
            run(arguments)
        for line in report(arguments.out, arguments.limit):
            print(line)
    except UniAudioError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
