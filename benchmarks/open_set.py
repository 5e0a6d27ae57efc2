"""Clips of no label, clips to label next, and clips with a wrong label, over episodes of a folder of label folders.

    python benchmarks/open_set.py FOLDER [--episodes 600] [--seed 0] [--features FILE.npz]

Every episode draws three labels as known and demonstrations of each; no recording is demonstrated and queried. `AUROC`:
one query of a known label and one of another, told apart by `OpenSet.score`, by the largest probability, and by the
largest cosine to a label; beside it the shares that the learnt threshold keeps and refuses. `suggest`: one
demonstration a label, then five clips of a pool are labelled and demonstrated too, chosen by `Suggestions`, by the
margin alone, or at random; accuracy over the clips of the known labels that are in neither. `outlier`: one of five
demonstrations of a label has another label's; how often `demos check` names it, and how often it names a clip that is
right. Intervals, 95 %, resample recordings (queries) or episodes.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from long_recording import recording
from scipy.stats import rankdata

from uniaudio_cli.codec.frozen.units import unit
from uniaudio_cli.inference.open_set import OpenSet
from uniaudio_cli.inference.similarity import SCALE
from uniaudio_cli.inference.suggest import diverse

KNOWN, DRAWS = 3, 500


@dataclass(frozen=True)
class Clips:
    """`rows` [N, F] of length 1, and the label and recording of each."""

    rows: np.ndarray
    labels: np.ndarray
    recordings: np.ndarray

    def draw(self, label: str, count: int, without: set[str], rng: random.Random) -> list[int]:
        """Clips of a label, each of another recording."""
        found: list[int] = []
        for number in rng.sample(list(np.flatnonzero(self.labels == label)), int((self.labels == label).sum())):
            if len(found) < count and self.recordings[number] not in without:
                found.append(int(number))
                without.add(self.recordings[number])
        return found


def encoded(folder: Path, cache: Path | None) -> Clips:
    """All clips of a folder as the task sound-event compares them, kept in `cache`."""
    if cache is None or not cache.is_file():
        import uniaudio_cli
        from uniaudio_cli.data.demonstrations import load_demonstrations

        found = load_demonstrations(folder, "label")
        session = uniaudio_cli.load(defer_lm=True).classifier(found[:1] + found[-1:], "sound-event")
        clips = [each for each in session.classify(one.audio for one in found) if each.ok]
        names = {str(one.audio): one for one in found}
        rows = np.array([each.features for each in clips])  # type: ignore[union-attr]
        labels = np.array([names[each.file].label for each in clips])
        groups = np.array([f"{names[each.file].label} {recording(Path(each.file))}" for each in clips])
        if cache is None:
            return Clips(rows, labels, groups)
        np.savez(cache, rows=rows, labels=labels, recordings=groups)
    stored = np.load(cache)
    return Clips(stored["rows"], stored["labels"], stored["recordings"])


def interval(statistic: Callable[[np.ndarray], float], groups: Sequence[str]) -> str:
    """`statistic` of all items and its 95 % interval; it takes the numbers of items, drawn by group."""
    names, rng = sorted(set(groups)), np.random.default_rng(0)
    members = {name: np.flatnonzero(np.array(groups) == name) for name in names}
    drawn = [
        statistic(np.concatenate([members[names[each]] for each in rng.integers(0, len(names), len(names))]))
        for _ in range(DRAWS)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{statistic(np.arange(len(groups))):.3f} [{low:.3f}, {high:.3f}]"


def area(truth: np.ndarray, scores: np.ndarray) -> float:
    """Area under the receiver operating characteristic, by ranks; ties count half."""
    right = int(truth.sum())
    return float((rankdata(scores)[truth].sum() - right * (right + 1) / 2) / (right * (len(truth) - right)))


def auroc(clips: Clips, shots: int, arguments: argparse.Namespace) -> str:
    names = sorted(set(clips.labels))
    combinations = list(itertools.combinations(names, KNOWN))
    scores: dict[str, list[float]] = {"ours": [], "probability": [], "cosine": []}
    known, groups, passed = [], [], []
    for episode in range(arguments.episodes):
        rng, used = random.Random(f"{arguments.seed} {episode}"), set[str]()
        labels = combinations[episode % len(combinations)]
        shown = {label: clips.rows[clips.draw(label, shots, used, rng)] for label in labels}
        open_set = OpenSet.of({label: list(rows) for label, rows in shown.items()}, None if shots > 1 else 0.0)
        others = [label for label in names if label not in labels]
        for truth, label in ((True, rng.choice(labels)), (False, rng.choice(others))):
            (query,) = clips.draw(label, 1, set(used), rng)
            cosines = open_set.means @ clips.rows[query]
            odds = np.exp(SCALE * (cosines - cosines.max()))
            scores["ours"].append(open_set.score(clips.rows[query]))
            scores["probability"].append(float(odds.max() / odds.sum()))
            scores["cosine"].append(float(cosines.max()))
            known.append(truth)
            groups.append(clips.recordings[query])
            passed.append(scores["ours"][-1] >= open_set.threshold)
    is_known, kept = np.array(known), np.array(passed)

    def of(name: str) -> str:
        values = np.array(scores[name])
        return interval(lambda chosen: area(is_known[chosen], values[chosen]), groups)

    shares = f"{100 * kept[is_known].mean():.0f} % / {100 * (~kept[~is_known]).mean():.0f} %" if shots > 1 else ""
    return f"| {shots} | {of('ours')} | {of('probability')} | {of('cosine')} | {shares} |"


def accuracy(clips: Clips, shown: dict[str, list[int]], queries: Sequence[int]) -> float:
    means = np.array([unit(clips.rows[each].mean(axis=0)) for each in shown.values()])
    found = np.array(list(shown))[(clips.rows[queries] @ means.T).argmax(axis=1)]
    return float((found == clips.labels[queries]).mean())


def suggest(clips: Clips, arguments: argparse.Namespace, count: int = 5) -> list[str]:
    names = sorted(set(clips.labels))
    rules: dict[str, Any] = {
        "suggested": lambda uncertainty, rows, rng: diverse(uncertainty, rows, count),
        "smallest margin": lambda uncertainty, rows, rng: np.argsort(-uncertainty)[:count],
        "random": lambda uncertainty, rows, rng: rng.sample(range(len(rows)), count),
    }
    found: dict[str, list[float]] = {"before": [], **{name: [] for name in rules}}
    for episode in range(arguments.episodes):
        rng, used = random.Random(f"{arguments.seed} {episode}"), set[str]()
        shown = {label: clips.draw(label, 1, used, rng) for label in names}
        rest = [number for number in range(len(clips.rows)) if clips.recordings[number] not in used]
        recordings = sorted({clips.recordings[number] for number in rest})
        half = set(rng.sample(recordings, len(recordings) // 2))
        pool = [number for number in rest if clips.recordings[number] in half]
        queries = [number for number in rest if clips.recordings[number] not in half]
        means = np.array([unit(clips.rows[each].mean(axis=0)) for each in shown.values()])
        logits = SCALE * clips.rows[pool] @ means.T
        odds = np.sort(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
        uncertainty = 1 - (odds[:, -1] - odds[:, -2]) / odds.sum(axis=1)
        found["before"].append(accuracy(clips, shown, queries))
        for name, rule in rules.items():
            more = {label: list(each) for label, each in shown.items()}
            for number in rule(uncertainty, clips.rows[pool], rng):
                more[str(clips.labels[pool[number]])].append(pool[number])
            found[name].append(accuracy(clips, more, queries))
    episodes = [str(number) for number in range(arguments.episodes)]
    lines = ["| clips labelled | accuracy | suggested less |", "|---|---|---|"]
    for name, each in found.items():
        values, gain = np.array(each), np.array(found["suggested"]) - np.array(each)
        less = interval(lambda chosen, gain=gain: float(gain[chosen].mean()), episodes)  # type: ignore[misc]
        lines.append(f"| {name} | {values.mean():.3f} | {'' if name == 'suggested' else less} |")
    return lines


def outliers(clips: Clips, arguments: argparse.Namespace, shots: int = 5) -> str:
    names, hits, alarms, right = sorted(set(clips.labels)), 0, 0, 0
    for episode in range(arguments.episodes):
        rng, used = random.Random(f"{arguments.seed} {episode}"), set[str]()
        shown = {label: clips.draw(label, shots, used, rng) for label in names}
        wrong, other = rng.sample(names, 2)
        shown[wrong][-1] = clips.draw(other, 1, used, rng)[0]
        for label, members in shown.items():
            for number in members:
                own = clips.rows[[each for each in members if each != number]].mean(axis=0)
                others = [clips.rows[each].mean(axis=0) for name, each in shown.items() if name != label]
                named = max(clips.rows[number] @ unit(each) for each in others) > clips.rows[number] @ unit(own)
                planted = label == wrong and number == members[-1]
                hits, right = hits + (named and planted), right + (not planted)
                alarms += named and not planted
    found, false = 100 * hits / arguments.episodes, 100 * alarms / right
    return f"planted clips named: {found:.0f} %, clips that are right: {false:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", type=Path, help="where encoded clips are kept")
    arguments = parser.parse_args()
    clips = encoded(arguments.folder, arguments.features)
    print(f"{arguments.folder.name}: {len(clips.rows)} clips, {arguments.episodes} episodes\n")
    print("| shots | AUROC, ours | largest probability | largest cosine | known kept / unknown refused |")
    print("|---|---|---|---|---|")
    for shots in (1, 3, 5):
        print(auroc(clips, shots, arguments), flush=True)
    print("\n", "\n".join(suggest(clips, arguments)), "\n", outliers(clips, arguments), sep="\n")


if __name__ == "__main__":
    main()
