"""Text to sound, measured: sounds made after demonstrations, judged against real clips that are never shown.

Half of the recordings demonstrate; the others are what a judge compares with. Beside the product stand real clips, each
judged by the others, the demonstration through the codec alone, and the sound of a label drawn at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Item, half
from uniaudio_cli.evaluation.judges import NearestEmbedding, Tagged, frechet_distance, kl_divergence
from uniaudio_cli.evaluation.manifest import Document
from uniaudio_cli.evaluation.metrics import clustered_accuracy, clustered_mean
from uniaudio_cli.evaluation.results import Rate
from uniaudio_cli.inference.speak import Speaker
from uniaudio_cli.kit import Kit
from uniaudio_cli.prompting.task import Task

REAL, COPY, PRODUCT, RANDOM = "a real clip", "a demonstration through the codec", "uniaudio", "a random label's sound"
# A wav float32 [1, T] at 16 kHz in.
Judge = Callable[[Tensor], Tagged]


class SoundScores(Document):
    """One row. `right`: its sounds whose nearest real clip is of their label.

    `kl`: nats between the classes of the label's real clips and of the sound. `frechet`: between all its sounds and the
    real clips; it falls with the number of sounds. Intervals are over the clips that demonstrated.
    """

    right: Rate
    kl: Rate
    frechet: float


class SoundResults(Document):
    """results.json of a suite of kind text-to-sound.

    `clips`: real ones that judge. `copied`: the share of the LLM's codes that are the demonstration's in
    the same place.
    """

    schema_version: Literal[1] = 1
    suite: str
    data: str
    task: str
    lm: str
    seed: int
    draws: int
    labels: tuple[str, ...]
    clips: int
    chance: float
    copied: Rate
    rows: dict[str, SoundScores]
    versions: dict[str, str]


@dataclass(frozen=True)
class Sound:
    """A sound of a row as the judge sees it. `shown`: the clip that it follows."""

    label: str
    shown: str
    tagged: Tagged


@dataclass(frozen=True)
class SoundTest:
    """Labelled clips in two halves. `draws`: choices of the clips that may demonstrate, half of their half each.

    Raises:
        UsageError: fewer than two labels have clips in both halves, or the codec's rate is not the judge's.
    """

    kit: Kit
    task: Task
    items: Sequence[Item]
    judge: Judge
    draws: int
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise UsageError("fewer than two labels have two recordings, one to demonstrate and one to judge by")
        if self.kit.codec.sample_rate != 16_000:
            raise UsageError(f"the judge takes 16,000 Hz, and the codec gives {self.kit.codec.sample_rate:,}")

    @cached_property
    def halves(self) -> tuple[list[Item], list[Item]]:
        """(those that may demonstrate, those that judge), of labels that both have."""
        sides = [half(self.items, which, self.seed) for which in ("development", "test")]
        both = set.intersection(*({item.label for item in side} for side in sides))
        shown, judges = ([item for item in side if item.label in both] for side in sides)
        return shown, judges

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.halves[0]}))

    @cached_property
    def references(self) -> Mapping[str, list[Tagged]]:
        """Real clips as the judge sees them, cropped and levelled as demonstrations are."""
        found: dict[str, list[Tagged]] = {label: [] for label in self.labels}
        for item in self.halves[1]:
            wav = self.kit.encoder.at_codec_level(self.kit.encoder.read(item.path, self.task.clip))
            found[item.label].append(self.judge(wav))
        return found

    def speaker(self, draw: int) -> Speaker:
        """The task after demonstrations chosen from half of each label's clips, others at every draw."""
        chosen = []
        for label in self.labels:
            clips = [item for item in self.halves[0] if item.label == label]
            drawn = random.Random(f"{self.seed} draw {draw} {label}").sample(clips, math.ceil(len(clips) / 2))
            chosen += [Demonstration(item.path, label, label) for item in drawn]
        return self.kit.speaker(chosen, self.task, shots=self.task.shots, seed=self.seed)

    def run(self, log: JsonlLog) -> Iterator[Mapping[str, Any]]:
        """A row for each draw and label, those in `log` not again: its `codes`, and of its (first) demonstration the
        `file` and `demonstrated` codes. Whatever else is measured follows from them.

        Raises:
            UniAudioError: a clip cannot be read.
        """
        for draw in range(self.draws):
            speaker: Speaker | None = None
            done = {row["label"]: row for row in log.rows if row["draw"] == draw}
            for label in self.labels:
                if label not in done:
                    speaker = speaker or self.speaker(draw)
                    with self.kit.lock:
                        made = speaker.speak(label).codes
                        example = speaker.examples_for(label)[0]
                    path = next(each.audio.name for each in speaker.demonstrations if each.text == label)
                    shown = [example.clip.codes[level] for level in self.task.levels]
                    codes = {"codes": _plain(made), "demonstrated": _plain(shown)}
                    done[label] = {"draw": draw, "label": label, "file": path, **codes}
                    log.write(done[label])
                yield done[label]

    def summarise(
        self, rows: Sequence[Mapping[str, Any]], suite: str, data: str, versions: Mapping[str, str]
    ) -> SoundResults:
        """Rows of `run`, judged. `suite`, `data`, `versions`: as of `SoundResults`."""
        nearest = NearestEmbedding(self.references)
        real = [each for some in self.references.values() for each in some]
        scores = self._real()
        for name, sounds in self._systems(rows).items():
            shown = [each.shown for each in sounds]
            scores[name] = SoundScores(
                right=Rate.of(clustered_accuracy([nearest(each.tagged) == each.label for each in sounds], shown)),
                kl=Rate.of(
                    clustered_mean([kl_divergence(self.references[each.label], each.tagged) for each in sounds], shown)
                ),
                frechet=round(frechet_distance([each.tagged for each in sounds], real), 2),
            )
        return SoundResults(
            suite=suite,
            data=data,
            task=self.task.name,
            lm=self.kit.lm.name,
            seed=self.seed,
            draws=self.draws,
            labels=self.labels,
            clips=len(real),
            chance=1 / len(self.labels),
            copied=Rate.of(clustered_mean([copied(row) for row in rows], [row["file"] for row in rows])),
            rows=scores,
            versions=dict(versions),
        )

    def _systems(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Sound]]:
        made = {(row["draw"], row["label"]): self._judged(row["codes"]) for row in rows}
        found: dict[str, list[Sound]] = {COPY: [], PRODUCT: [], RANDOM: []}
        for row in rows:
            draw, label, shown = row["draw"], row["label"], f"{row['label']}/{row['file']}"
            other = random.Random(f"{self.seed} random {draw} {label}").choice(self.labels)
            found[COPY].append(Sound(label, shown, self._judged(row["demonstrated"])))
            found[PRODUCT].append(Sound(label, shown, made[draw, label]))
            found[RANDOM].append(Sound(label, shown, made[draw, other]))
        return found

    def _judged(self, codes: Sequence[Sequence[int]]) -> Tagged:
        return self.judge(self.kit.encoder.decode(codes, self.seed))

    def _real(self) -> dict[str, SoundScores]:
        """Each real clip judged by the others, of labels that have two; the Frechet distance is of two halves of all.

        Nothing where no label has two.
        """
        right, divergences = [], []
        for label, some in self.references.items():
            for place, tagged in enumerate(some if len(some) > 1 else []):
                others = [*some[:place], *some[place + 1 :]]
                right.append(NearestEmbedding({**self.references, label: others})(tagged) == label)
                divergences.append(kl_divergence(others, tagged))
        if not right:
            return {}
        every = [each for some in self.references.values() for each in some]
        clips = range(len(right))
        return {
            REAL: SoundScores(
                right=Rate.of(clustered_accuracy(right, clips)),
                kl=Rate.of(clustered_mean(divergences, clips)),
                frechet=round(frechet_distance(every[::2], every[1::2]), 2),
            )
        }


def _plain(codes: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(map(int, level)) for level in codes]


def copied(row: Mapping[str, Any]) -> float:
    """The share of a row's codes that are the demonstration's at the same place."""
    pairs = list(zip(row["codes"], row["demonstrated"], strict=True))
    same = sum(a == b for made, shown in pairs for a, b in zip(made, shown, strict=False))
    return same / max(1, sum(len(made) for made, _ in pairs))
