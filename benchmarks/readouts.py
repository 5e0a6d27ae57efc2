"""Every way to read a label out of a frozen LLM, beside the rules that need none, on the same episodes.

    python benchmarks/readouts.py digits-same [digits-other sounds] [--half development] [--episodes 200] --out FOLDER
    python benchmarks/readouts.py --report --out FOLDER

An episode is drawn 5-way 5-shot; its 1-shot and 2-way parts are asked too (`--cells`), so that all cells share their
queries. FOLDER gets one JSONL of scores per set, one line an episode, flushed; a run that was stopped goes on where it
was (`--resume`). `--report` prints the Markdown tables from these files alone. `likelihood` and `label` are the
product's; what did not win lives here only (`Contenders`). Choose on `--half development`, report `--half test`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniaudio_cli.demos import Demonstration
from uniaudio_cli.episodes import Episode, Item, Rule, episodes, half, load_items
from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.evaluate import RememberingKit
from uniaudio_cli.metrics import accuracy, auroc, best, calibration_error, difference, ngram_cache
from uniaudio_cli.pipeline import Heard, Session
from uniaudio_cli.score import LabelReadout, LikelihoodReadout, mixed, temperature
from uniaudio_cli.task import Task, changed, load_task

Scores = dict[str, list[float]]

LEVELS = (0, 1)
NEAREST, LABEL, DEFAULT = "nearest demonstration, level 0", "label", "likelihood (default)"


@dataclass(frozen=True)
class Clips:
    """Labelled clips and what is asked of them."""

    folder: str
    task: str
    rule: Rule


SETS = {
    "digits-same": Clips("fsdd", "spoken-digit", "same"),
    "digits-other": Clips("fsdd", "spoken-digit", "other"),
    "sounds": Clips("esc10", "sound-event", "other"),
}


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

    def __init__(self, kit: RememberingKit, task: Task, orders: int) -> None:
        self.kit, self.orders = kit, orders
        self.listening = changed(task, readout="likelihood", levels=LEVELS)
        self.labelling = changed(task, readout="label", levels=(0,))
        self.mels: dict[Path, np.ndarray] = {}
        weights = [kit.codec.strides[level] / kit.codec.strides[0] for level in LEVELS]
        self.weights = dict(zip(LEVELS, weights, strict=True))

    def hear(self, item: Item) -> list[Heard]:
        return self.kit.hear_shifted(item.path, self.listening)

    def ids(self, heard: Heard, level: int) -> list[int]:
        return self.kit.vocabulary.ids([heard.codes[level]], [level])

    def session(self, task: Task, shown: Sequence[Item]) -> Session:
        return self.kit.session(task, [Demonstration(item.path, item.label) for item in shown])

    def likelihoods(self, episode: Episode) -> dict[int, torch.Tensor]:
        """Per level log P of every word of every hearing of the query after each label: [labels, words]."""
        session = self.session(self.listening, episode.demonstrations)
        readout = session.readout
        assert isinstance(readout, LikelihoodReadout)
        query = session.asked(self.hear(episode.query))
        found = {}
        for place, level in enumerate(LEVELS):
            scores = self.kit.lm.score(readout.contexts[place], query[place], readout.audio_ids[place])
            found[level] = torch.stack([torch.cat(row) for row in scores])
        return found

    def from_likelihoods(self, words: Mapping[int, torch.Tensor], rows: Sequence[int]) -> Scores:
        """Scores of the labels `rows`, a mean over hearings."""
        hearings = len(self.listening.clip.shifts)
        found: Scores = {}
        for level, logp in words.items():
            chosen = logp[list(rows)]
            found[f"likelihood, level {level}"] = (mixed(chosen) / hearings).tolist()
            found[f"likelihood unsmoothed, level {level}"] = (chosen.double().sum(dim=1) / hearings).tolist()
        return found

    def labels(self, episode: Episode) -> Scores:
        """`label`, and what is made of the same prompt: calibrated, greedy, over several orders."""
        sums: dict[str, np.ndarray] = {}
        for order in range(self.orders):
            shown = list(episode.demonstrations)
            if order:
                random.Random(f"order {order}").shuffle(shown)
            session = self.session(self.labelling, shown)
            readout = session.readout
            assert isinstance(readout, LabelReadout)
            query = self.kit.hear_shifted(episode.query.path, self.labelling)
            free = [self.random_words(len(query[0].codes[0]), seed) for seed in range(3)]
            stems = [session.asked(heard)[0][0] for heard in (query, *free)]
            answers = [readout.continuations[label] for label in episode.labels]
            per_id = self.kit.lm.score_after(readout.prefix, stems, answers)[0]
            plain, *nothing = [np.array([float(ids.sum()) for ids in row]) for row in per_id]
            found = {
                "label": plain,
                "calibrated": plain - np.logaddexp.reduce(nothing, axis=0),
                "label, per id": plain / np.array([len(ids) for ids in answers]),
            }
            if order == 0:
                sums |= found | {"generate": greedy(answers, per_id[0])}
            for name in ("label", "calibrated") if self.orders > 1 else ():
                key = f"{name}, {self.orders} orders"
                sums[key] = sums.get(key, 0) + found[name]
        return {name: scores.tolist() for name, scores in sums.items()}

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
        for level in LEVELS:
            size = len(self.kit.vocabulary.audio_ids((level,)))
            told = [(i.label, self.ids(h, level)) for i in episode.demonstrations for h in self.hear(i)]
            hearings = self.hear(episode.query)
            each = [ngram_cache(self.ids(heard, level), told, size) for heard in hearings]
            found[f"n-gram cache, level {level}"] = [
                sum(one[label] for one in each) / len(hearings) for label in episode.labels
            ]
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
    asker: Asker, episode: Episode, number: int, cells: Sequence[Cell], methods: Sequence[str]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """The scores of every cell of an episode."""
    likelihoods: dict[int, tuple[Episode, dict[int, torch.Tensor]]] = {}
    widest = {shots: max(cell.ways for cell in cells if cell.shots == shots) for shots in {c.shots for c in cells}}
    for cell in cells:
        part = cell.part(episode, number)
        scores: Scores = {}
        lengths: list[float] = []
        if "likelihood" in methods:
            # Contexts are of one label each: fewer ways are some of the rows of more.
            if cell.shots not in likelihoods:
                whole = Cell(widest[cell.shots], cell.shots).part(episode, number)
                likelihoods[cell.shots] = whole, asker.likelihoods(whole)
            whole, words = likelihoods[cell.shots]
            scores |= asker.from_likelihoods(words, [whole.labels.index(label) for label in part.labels])
            lengths = [words[level].shape[1] / len(asker.listening.clip.shifts) for level in LEVELS]
        if "label" in methods:
            scores |= asker.labels(part)
        if "channel" in methods:
            scores |= asker.channel(part)
        scores |= asker.rules(part)
        rounded = {name: [round(score, 4) for score in row] for name, row in scores.items()}
        truth = part.labels.index(part.query.label)
        yield cell, {"truth": truth, "labels": part.labels, "words": lengths, "scores": rounded}


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
    about = {key: str(getattr(arguments, key)) for key in ("half", "seed", "model", "lm", "codec", "dtype", "orders")}
    for name, plan in plans:
        file = arguments.out / f"{name}.jsonl"
        done = finished(file, about, arguments.resume)
        task = load_task(SETS[name].task)
        if arguments.shifts:
            task = replace(task, clip=replace(task.clip, shifts=arguments.shifts))
        asker = Asker(kit, task, arguments.orders)
        started = time.perf_counter()
        with file.open("a", encoding="utf-8") as out:
            for number, episode in enumerate(plan[done:], done):
                row: dict[str, Any] = {"n": number, "query": episode.query.path.name, "cells": {}}
                for cell, found in asked(asker, episode, number, arguments.cells, arguments.methods):
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


def combined(scores: Scores, weights: Sequence[float]) -> Scores:
    """The scores with the combinations that are made of them."""
    found = dict(scores)
    for kind, name in (
        ("likelihood", DEFAULT),
        ("likelihood unsmoothed", "likelihood unsmoothed, level 0 + 1"),
        ("n-gram cache", "n-gram cache, level 0 + 1"),
    ):
        rows = [scores[key] for level in LEVELS if (key := f"{kind}, level {level}") in scores]
        if len(rows) == len(LEVELS):
            found[name] = [sum(w * s for w, s in zip(weights, each, strict=True)) for each in zip(*rows, strict=True)]
    if DEFAULT in found:
        both = zip(found[DEFAULT], found["n-gram cache, level 0 + 1"], strict=True)
        found["likelihood + n-gram cache"] = [a + b for a, b in both]
    return found


def probabilities(name: str, scores: Sequence[float], words: Sequence[float], weights: Sequence[float]) -> np.ndarray:
    """Scores as the product turns them into probabilities; `words` of each level in a hearing of the query."""
    row = np.array(scores)
    if name.startswith("likelihood"):
        counted = [float(f"level {level}" in name) for level in LEVELS] if name != DEFAULT else weights
        if name.endswith("0 + 1"):
            counted = weights
        row = row / float(temperature(torch.tensor(sum(w * n for w, n in zip(counted, words, strict=True)))))
    return np.exp(row - np.logaddexp.reduce(row))


def report(folder: Path, weights: Sequence[float], limit: int | None) -> Iterator[str]:
    """Markdown: a table for every set and cell."""
    for file in sorted(folder.glob("*.jsonl")):
        about, *rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        rows = rows[:limit]
        yield f"{file.stem}, {about['half']} half, seed {about['seed']}, model {about['model']}, {len(rows)} episodes\n"
        for cell in rows[0]["cells"] if rows else ():
            yield from cell_table(cell, [row["cells"][cell] for row in rows], weights)


def cell_table(name: str, rows: Sequence[dict[str, Any]], weights: Sequence[float]) -> Iterator[str]:
    every = [combined(row["scores"], weights) for row in rows]
    truth = [row["truth"] for row in rows]
    right: dict[str, np.ndarray] = {}
    for method in every[0]:
        guesses = [
            int(best({str(k): s for k, s in enumerate(scores[method])}, f"{n}")) for n, scores in enumerate(every)
        ]
        right[method] = np.array(guesses) == np.array(truth)
    yield f"| {name} | right | over nearest demonstration | over `label` | AUROC | calibration error |"
    yield "|---|---|---|---|---|---|"
    for method in sorted(right, key=lambda method: -right[method].mean()):
        gains = [
            difference(right[method], right[other]).signed if other in right and other != method else ""
            for other in (NEAREST, LABEL)
        ]
        cells = [method, str(accuracy(right[method])), *gains, *sureness(method, every, rows, right[method], weights)]
        yield f"| {' | '.join(cells)} |"
    yield f"| chance | {100 / len(rows[0]['labels']):.1f} % | | | 0.50 | |\n"


def sureness(
    method: str,
    every: Sequence[Scores],
    rows: Sequence[dict[str, Any]],
    right: np.ndarray,
    weights: Sequence[float],
) -> tuple[str, str]:
    """AUROC (right labels' probabilities against wrong ones') and calibration error, where there are probabilities."""
    if not method.startswith(("likelihood", "label", "calibrated", "channel")) or "+ n-gram" in method:
        return "", ""
    p = [probabilities(method, scores[method], row["words"], weights) for scores, row in zip(every, rows, strict=True)]
    positive = [np.arange(len(chances)) == row["truth"] for chances, row in zip(p, rows, strict=True)]
    area = auroc(np.concatenate(p), np.concatenate(positive))
    return f"{area:.2f}", f"{calibration_error([chances.max() for chances in p], right):.2f}"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed: Callable[[str], tuple[str, ...]] = lambda text: tuple(text.split(","))  # noqa: E731
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/readouts"), help="folder of the JSONL files")
    parser.add_argument("--data", type=Path, help="folder with fsdd/ and esc10/; by default $UNIAUDIO_TEST_DATA/data")
    parser.add_argument("--half", choices=("development", "test"), default="development")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", default="5x1,5x5,2x1,2x5", help="ways x shots")
    parser.add_argument("--methods", type=listed, default=("likelihood", "label", "channel"))
    parser.add_argument("--orders", type=int, default=1, help="orders of the demonstrations for `label`")
    parser.add_argument("--shifts", help="milliseconds, in place of the tasks' own")
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--resume", action="store_true", help="go on with the files in --out")
    parser.add_argument("--report", action="store_true", help="print the tables of the files in --out, ask nothing")
    parser.add_argument("--limit", type=int, help="only so many episodes in the report")
    parser.add_argument("--weights", default="1,0.5", help="of levels 0 and 1 in the report (default: the product's)")
    arguments = parser.parse_args(argv)
    arguments.sets = arguments.sets or list(SETS)
    if unknown := set(arguments.sets) - set(SETS):
        parser.error(f"unknown set {min(unknown)}: choose from {', '.join(SETS)}")
    arguments.cells = [Cell.of(text) for text in arguments.cells.split(",")]
    arguments.shifts = tuple(map(int, arguments.shifts.split(","))) if arguments.shifts else None
    arguments.weights = [float(weight) for weight in arguments.weights.split(",")]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parsed(argv)
    try:
        if not arguments.report:
            run(arguments)
        for line in report(arguments.out, arguments.weights, arguments.limit):
            print(line)
    except UniAudioError as error:
        say(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
