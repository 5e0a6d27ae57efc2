"""Every way to read a label out of a frozen LLM, beside the rules that need none, on the same episodes.

    python benchmarks/readouts.py digits-same [digits-other sounds] [--half development] [--episodes 200] --out FOLDER
    python benchmarks/readouts.py --report --out FOLDER

An episode is drawn 5-way 5-shot; its 1-shot and 2-way parts are asked too (`--cells`), so that all cells share their
queries, and cells with as many shots what was read. Every readout and rule answers every episode; what the LLM makes of
level 1, or of one word a frame, is in no readout and costs most, so it answers the first `--slow-episodes` alone.
FOLDER gets a JSONL of scores per set; a run that was stopped goes on where it was, and one of more episodes with what
is there. `--report` prints the Markdown tables from these files alone. Choose on `--half development`, report `--half
test`. Synthetic moods are a set too, once `moods.py make runs/moods` has made them: `readouts.py moods --data runs`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import Kept
from sets import SETS, settle

from uniaudio_cli.audio.prosody import PROSODY, level_name
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Episode, Item, episodes, half, load_items
from uniaudio_cli.evaluation.baselines import RememberingKit
from uniaudio_cli.evaluation.metrics import accuracy, auroc, best, calibration_error, difference
from uniaudio_cli.inference.pipeline import EncodedClip, Session
from uniaudio_cli.inference.scoring import (
    LabelReadout,
    LikelihoodReadout,
    TokenObservation,
    average_logprobs,
    smooth_across_labels,
    temperature,
)
from uniaudio_cli.prompting.task import Task, load_task, override_task

Scores = dict[str, list[float]]
# Log-scores of a query's words, [labels, words] for every time it was heard.
Words = list[torch.Tensor]

NEAREST, LABEL, DEFAULT = "nearest demonstration, ", "label", "likelihood (default)"
# What a file of scores is about: with another of these it cannot be gone on with.
ABOUT = ("half", "seed", "model", "lm", "codec", "dtype", "time_offsets_ms", "cells")


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
        self.levels = task.levels
        self.listening = override_task(task, readout="likelihood")
        self.labelling = override_task(task, readout="label", levels=task.levels[:1])
        self.mels: dict[Path, np.ndarray] = {}

    def hear(self, item: Item) -> list[EncodedClip]:
        return self.kit.hear_shifted(item.path, self.listening)

    def ids(self, heard: EncodedClip, level: int) -> list[int]:
        return self.kit.vocabulary.ids([heard.level(level)], [level])

    def session(self, task: Task, shown: Sequence[Item]) -> Session:
        return self.kit.session(task, [Demonstration(item.path, item.label) for item in shown])

    def named(self, *levels: int) -> str:
        """ "level 0 + 1", or "prosody"."""
        first, *others = levels
        return " + ".join([level_name(first), *map(str, others)])

    def words(self, episode: Episode, finer: bool) -> dict[str, Words]:
        """What the LLM and the caches make of every word of the query: `likelihood` before it is added up.

        `finer`: what else the LLM could be asked where there are two levels, one word a frame and the second level.
        """
        session = self.session(self.listening, episode.demonstrations)
        readout = session.readout
        assert isinstance(readout, LikelihoodReadout)
        assert readout.contexts[0] is not None
        query = session.asked(self.hear(episode.query))
        found = {"llm": readout.read(readout.contexts[0], 0, query[0])}
        for place, level in enumerate(query):
            found[f"cache {place}"] = [readout.remembered(place, said) for said in level]
            found[f"counts {place}"] = [readout.remembered(place, TokenObservation(said.ids)) for said in level]
        if finer:
            contexts = [session._listening(label, self.levels[1]) for label in episode.labels]
            prompts = [context.ids(self.kit.vocabulary) for context in contexts]
            found["llm, hard"] = readout.read(readout.contexts[0], 0, [TokenObservation(said.ids) for said in query[0]])
            found["llm 1"] = readout.read(self.kit.lm.prefill(prompts), 1, query[1])
        return found

    def from_words(self, words: Mapping[str, Words], rows: Sequence[int]) -> Scores:
        """Scores of the labels `rows`: a mean over hearings, each level at its weight; of what is `finer`, its own."""
        weights = [self.kit.weight(level) for level in self.levels]
        first, both = self.named(self.levels[0]), self.named(*self.levels)

        def total(*levels: Words) -> list[float]:
            return added([[row[list(rows)] for row in level] for level in levels], weights)

        caches = [words[f"cache {place}"] for place in range(len(weights))]
        joint = [average_logprobs(*each) for each in zip(words["llm"], caches[0], strict=True)]
        if "llm 1" in words:
            two = [average_logprobs(*each) for each in zip(words["llm 1"], caches[1], strict=True)]
            return {
                "its LLM and cache on both levels": total(joint, two),
                f"its LLM alone, {both}": total(words["llm"], words["llm 1"]),
                f"its LLM alone, {first}, one word a frame": total(words["llm, hard"]),
            }
        counts = sum(
            weight * torch.stack([row[list(rows)].sum(dim=1) for row in words[f"counts {place}"]]).sum(dim=0)
            for place, weight in enumerate(weights)
        )
        assert isinstance(counts, torch.Tensor)
        return {
            DEFAULT: total(joint, *caches[1:]),
            f"its LLM alone, {first}": total(words["llm"]),
            f"its cache alone, {first}": total(caches[0]),
            f"its cache alone, {both}": total(*caches),
            f"n-gram cache, {both}": counts.tolist(),
        }

    def labels(self, episode: Episode) -> Scores:
        """`label`, and what is made of the same prompt: calibrated, greedy."""
        session = self.session(self.labelling, episode.demonstrations)
        readout = session.readout
        assert isinstance(readout, LabelReadout)
        query = self.kit.hear_shifted(episode.query.path, self.labelling)
        free = [self.random_words(query[0], seed) for seed in range(3)]
        stems = [session.asked(heard)[0][0].ids for heard in (query, *free)]
        answers = [readout.continuations[label] for label in episode.labels]
        per_id = self.kit.lm.score_after(readout.prefix, stems, answers)[0]
        plain, *nothing = [np.array([float(ids.sum()) for ids in row]) for row in per_id]
        calibrated = plain - np.logaddexp.reduce(nothing, axis=0)
        written = greedy(answers, per_id[0])
        return {LABEL: plain.tolist(), "calibrated": calibrated.tolist(), "generate": written.tolist()}

    def random_words(self, like: EncodedClip, seed: int) -> list[EncodedClip]:
        """A query without content: words at random, as many as of another."""
        level, draw = self.levels[0], random.Random(f"words {seed}")
        codes = draw.choices(range(len(self.kit.vocabulary.code_ids(level))), k=len(like.level(level)))
        return [replace(like, prosody=tuple(codes)) if level == PROSODY else replace(like, codes=[codes])]

    def channel(self, episode: Episode) -> Scores:
        """P(query | label) with every demonstration in the context, the label before its audio."""
        encode, lm = self.kit.vocabulary.tokenizer.encode, self.kit.lm
        context, level = encode("\n"), self.levels[0]
        for item in episode.demonstrations:
            context += [*encode(f"{item.label}:"), *self.ids(self.hear(item)[0], level), *encode("\n")]
        stems = [encode(f"{label}:") for label in episode.labels]
        query = [self.ids(heard, level) for heard in self.hear(episode.query)]
        among = self.kit.vocabulary.audio_ids((level,))
        rows = lm.score_after(lm.prefill([context]), stems, query, among)[0]
        return {"channel": [float(sum(ids.sum() for ids in row)) / len(query) for row in rows]}

    def rules(self, episode: Episode) -> Scores:
        """What needs no LLM."""
        found: Scores = {}
        by_label = {label: [i for i in episode.demonstrations if i.label == label] for label in episode.labels}
        for levels in dict.fromkeys((self.levels[:1], self.levels)):
            name = f"{NEAREST}{self.named(*levels)}"
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
            codes = [code for heard in self.hear(item) for code in heard.level(level)]
            rows.append(np.bincount(codes, minlength=len(self.kit.vocabulary.code_ids(level))))
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
            scores += weight / len(hearings) * smooth_across_labels(logp)
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


def asked(asker: Asker, part: str, cells: Sequence[Cell], episode: Episode, number: int) -> dict[str, Any]:
    """What is kept of an episode: by cell the labels, the right one's place, and what a part of the methods scores."""
    parts = [cell.part(episode, number) for cell in cells]
    if part == LABEL:
        found = [asker.labels(each) | asker.channel(each) for each in parts]
    else:
        found = likelihoods(asker, cells, parts, finer=part == "finer")
    kept = {}
    for cell, each, scores in zip(cells, parts, found, strict=True):
        rounded = {name: [round(score, 4) for score in row] for name, row in scores.items()}
        kept[str(cell)] = {"truth": each.labels.index(each.query.label), "labels": each.labels, "scores": rounded}
    return {"query": episode.query.path.name, "cells": kept}


def likelihoods(asker: Asker, cells: Sequence[Cell], parts: Sequence[Episode], finer: bool) -> list[Scores]:
    """Scores by how likely the query's words are after each label's demonstrations, and by the rules; or `finer`."""
    words: dict[int, tuple[Episode, dict[str, Words]]] = {}
    # Contexts are of one label each: fewer ways are some of the rows of more.
    for cell, part in sorted(zip(cells, parts, strict=True), key=lambda both: -both[0].ways):
        if cell.shots not in words:
            words[cell.shots] = part, asker.words(part, finer)
    found = []
    for cell, part in zip(cells, parts, strict=True):
        whole, heard = words[cell.shots]
        scores = asker.from_words(heard, [whole.labels.index(label) for label in part.labels])
        found.append(scores if finer else scores | asker.rules(part))
    return found


def run(arguments: argparse.Namespace) -> None:
    """Ask the episodes of every set that are not asked yet."""
    ways, shots = (max(getattr(cell, what) for cell in arguments.cells) for what in ("ways", "shots"))
    about = {key: str(getattr(arguments, key)) for key in ABOUT} | {"cells": " ".join(map(str, arguments.cells))}
    plans = []
    for name in arguments.sets:
        clips = SETS[name]
        kept = half(load_items(arguments.data / clips.folder), arguments.half)
        plan = list(episodes(kept, ways, shots, arguments.episodes, arguments.seed, clips.rule))
        plans.append((name, Kept(arguments.out / f"{name}.jsonl", about), plan))

    import uniaudio_cli

    kit = RememberingKit.of(
        uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec, dtype=arguments.dtype, progress=say)
    )
    for name, kept, plan in plans:
        task = load_task(SETS[name].task)
        if arguments.time_offsets_ms:
            task = replace(task, clip=replace(task.clip, time_offsets_ms=arguments.time_offsets_ms))
        asker = Asker(kit, task)
        slow = arguments.slow_episodes if len(task.levels) > 1 else 0
        for part, count in {"likelihood": len(plan), LABEL: len(plan), "finer": min(slow, len(plan))}.items():
            todo = [number for number in range(count) if f"{part} {number}" not in kept.found]
            started = time.perf_counter()
            for done, number in enumerate(todo, 1):
                kept.once(f"{part} {number}", partial(asked, asker, part, arguments.cells, plan[number], number))
                if done % 10 == 0 or done == len(todo):
                    each = (time.perf_counter() - started) / done
                    say(f"{name}, {part}: {done} of {len(todo)}, {each:.2f} s an episode")


def report(folder: Path, limit: int | None) -> Iterator[str]:
    """Markdown: a table for every set and cell.

    Raises:
        UsageError: `folder` holds no scores.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise UsageError(f"{folder}: holds no scores; run the benchmark with this --out first")
    for file in files:
        about, *rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        cells: dict[str, dict[int, dict[str, Any]]] = {}
        for row in rows:
            number = int(row["name"].split()[1])
            for cell, found in row["found"]["cells"].items() if number < (limit or math.inf) else ():
                whole = cells.setdefault(cell, {}).setdefault(number, {**found, "scores": {}})
                whole["scores"] |= found["scores"]
        yield f"{file.stem}, {about['half']} half, seed {about['seed']}, model {about['model']}\n"
        for cell, episodes_of in cells.items():
            yield from cell_table(cell, [episodes_of[number] for number in sorted(episodes_of)])


def cell_table(name: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row for every method, best first. Methods are compared on the episodes that both answered: the first ones."""
    right: dict[str, np.ndarray] = {}
    for method in {method: None for row in rows for method in row["scores"]}:
        answered = [row for row in rows if method in row["scores"]]
        scores = [{str(k): s for k, s in enumerate(row["scores"][method])} for row in answered]
        guesses = [int(best(each, f"{n}")) for n, each in enumerate(scores)]
        right[method] = np.array(guesses) == np.array([row["truth"] for row in answered])
    nearest = next((method for method in right if method.startswith(NEAREST)), "")
    yield f"| {name} | right | over nearest demonstration | over `label` | AUROC | calibration error |"
    yield "|---|---|---|---|---|---|"
    for method in sorted(right, key=lambda method: -right[method].mean()):
        gains = [
            over(right[method], right[other]) if other in right and other != method else ""
            for other in (nearest, LABEL)
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
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all that --data has by default")
    parser.add_argument("--out", type=Path, default=Path("runs/readouts"), help="folder of the JSONL files")
    parser.add_argument("--data", type=Path, help="with fsdd/, esc10/ or moods/; by default $UNIAUDIO_TEST_DATA/data")
    parser.add_argument("--half", choices=("development", "test"), default="development")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", default="5x1,5x5,2x1,2x5", help="ways x shots")
    parser.add_argument("--slow-episodes", type=int, default=100, help="of the LLM on level 1 and by one word")
    parser.add_argument("--time_offsets_ms", help="milliseconds, in place of the tasks' own")
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--report", action="store_true", help="print the tables of the files in --out, ask nothing")
    parser.add_argument("--limit", type=int, help="only so many episodes in the report")
    arguments = parser.parse_args(argv)
    if not arguments.report:
        settle(parser, arguments)
    arguments.cells = [Cell.of(text) for text in arguments.cells.split(",")]
    arguments.time_offsets_ms = (
        tuple(map(int, arguments.time_offsets_ms.split(","))) if arguments.time_offsets_ms else None
    )
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
