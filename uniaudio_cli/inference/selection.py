"""Selection of demonstrations: strategies that choose which of many clips a prompt shows.

`random` is a seeded draw. The others rank clips by what the codec makes of them: `clearest_speech` and `separable`
for tasks whose output is audio, `representative` for labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from uniaudio_cli.audio.features import texture
from uniaudio_cli.data.demonstrations import Demonstration, choose
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class SelectionRequest:
    """`shots` of `demonstrations` for each label or text of a task; `labels`: only these, all where None."""

    task: Task
    demonstrations: Sequence[Demonstration]
    shots: int
    seed: int
    labels: Collection[str] | None

    def draw(
        self, at_least: int = 0, ranked: Callable[[list[Demonstration], int], list[Demonstration]] | None = None
    ) -> list[Demonstration]:
        """A seeded draw of `shots`, or of `at_least` where that is more; `ranked`: as `choose` takes it."""
        return choose(self.demonstrations, max(self.shots, at_least), self.seed, self.labels, ranked)


class SelectionStrategy(Protocol):
    """Chooses demonstrations."""

    def select(self, encoder: AudioEncoder, request: SelectionRequest) -> list[Demonstration]:
        """The chosen demonstrations, in rounds of one per label.

        Raises:
            UsageError: one of the request's labels has no demonstration.
            UniAudioError: a clip cannot be read.
        """
        ...


def select_demonstrations(
    encoder: AudioEncoder,
    task: Task,
    demonstrations: Sequence[Demonstration],
    shots: int,
    seed: int = 0,
    labels: Collection[str] | None = None,
) -> list[Demonstration]:
    """`shots` demonstrations of each label or text by the task's strategy; see `SelectionStrategy.select`."""
    request = SelectionRequest(task, demonstrations, shots, seed, labels)
    return STRATEGIES[task.selection].select(encoder, request)


class RandomSelection:
    """A seeded draw; encodes nothing."""

    def select(self, encoder: AudioEncoder, request: SelectionRequest) -> list[Demonstration]:
        return request.draw()


class RepresentativeSelection:
    """The clips that cover their label best: greedy facility location over bags of words of the task's first level."""

    def select(self, encoder: AudioEncoder, request: SelectionRequest) -> list[Demonstration]:
        task = request.task

        def ranked(some: list[Demonstration], count: int) -> list[Demonstration]:
            if len(some) <= count:
                return some
            clips = [encoder.encode_with_offsets(each.audio, task, cached=True) for each in some]
            words = [[code for each in clip for code in each.level(task.levels[0])] for clip in clips]
            return [some[place] for place in representatives(words, count)]

        return request.draw(ranked=ranked)


@dataclass(frozen=True)
class RankedByText:
    """Of up to `candidates` drawn clips of a text, those that `worth` ranks highest."""

    candidates: int

    def select(self, encoder: AudioEncoder, request: SelectionRequest) -> list[Demonstration]:
        drawn, shots = request.draw(self.candidates), request.shots
        by_text: dict[str | None, list[Demonstration]] = {}
        for each in drawn:
            by_text.setdefault(each.text, []).append(each)
        crowded = [some for some in by_text.values() if len(some) > shots]
        if crowded:
            worth = self.worth(encoder, request.task, drawn)
            for some in crowded:
                some.sort(key=worth.__getitem__, reverse=True)
        return [some[n] for n in range(shots) for some in by_text.values() if n < len(some)]

    def worth(self, encoder: AudioEncoder, task: Task, drawn: Sequence[Demonstration]) -> Mapping[Demonstration, float]:
        """How much each clip is worth, given all that is drawn."""
        raise NotImplementedError


class ClearestSpeech(RankedByText):
    """The clips whose reconstruction is nearest, on the level `speech`, to recordings of its text and of no other."""

    def worth(self, encoder: AudioEncoder, task: Task, drawn: Sequence[Demonstration]) -> Mapping[Demonstration, float]:
        def features(each: Demonstration) -> NDArray[np.float16]:
            return encoder.speech_features(each.audio, task.clip)

        recordings, reconstructions = np.array(encoder.first_then_side_by_side(features, drawn)).swapaxes(0, 1)
        found = clarity(reconstructions, recordings, [each.text for each in drawn])
        return dict(zip(drawn, found, strict=True))


class Separable(RankedByText):
    """The clips whose reconstruction is nearer to another clip of its text than to one of any other text."""

    def worth(self, encoder: AudioEncoder, task: Task, drawn: Sequence[Demonstration]) -> Mapping[Demonstration, float]:
        rate = encoder.codec.sample_rate
        pairs = [[texture(wav, rate) for wav in encoder.reconstruct(each.audio, task.clip)] for each in drawn]
        originals, reconstructions = np.array(pairs).swapaxes(0, 1)
        found = separation_margins(reconstructions, originals, [each.text for each in drawn])
        return dict(zip(drawn, found, strict=True))


# Candidates were chosen on development clips (docs/LOG.md).
STRATEGIES: Mapping[str, SelectionStrategy] = {
    "random": RandomSelection(),
    "representative": RepresentativeSelection(),
    "clearest_speech": ClearestSpeech(candidates=5),
    "separable": Separable(candidates=8),
}


def representatives(clips: Sequence[Sequence[int]], count: int) -> list[int]:
    """Indices of `count` of `clips` (rows of codes), the most representative first.

    Greedy facility location (Nemhauser et al. 1978): each choice adds the most to the sum over all clips of the cosine
    between bags of words with the nearest chosen clip. The first of equals. No query is used, so one choice serves all.
    """
    bags = torch.zeros(len(clips), 1 + max((max(codes, default=0) for codes in clips), default=0), dtype=torch.float64)
    for bag, codes in zip(bags, clips, strict=True):
        bag += torch.bincount(torch.tensor(codes, dtype=torch.int64), minlength=len(bag))
    bags = torch.nn.functional.normalize(bags, dim=1)
    cosine = bags @ bags.T
    nearest = torch.zeros(len(clips), dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(min(count, len(clips))):
        gain = torch.maximum(cosine, nearest).sum(dim=1)
        gain[chosen] = -1.0
        # Rounding must not choose between equals.
        best = int((gain >= gain.max() - 1e-9).nonzero()[0])
        chosen.append(best)
        nearest = torch.maximum(nearest, cosine[best])
    return chosen


def clarity(reconstructions: np.ndarray, recordings: np.ndarray, texts: Sequence[object]) -> list[float]:
    """How clear each reconstruction is: its mean cosine with the recordings of its text, less the largest with one of
    another text (0 where there is none).

    Args:
        reconstructions, recordings: float [n, D] of unit length, of the same n clips. texts: what each says, [n].
    """
    cosine = reconstructions.astype(np.float64) @ recordings.astype(np.float64).T
    found = []
    for row, text in zip(cosine, texts, strict=True):
        own = np.array([other == text for other in texts])
        found.append(float(row[own].mean() - row[~own].max(initial=0.0)))
    return found


def separation_margins(reconstructions: np.ndarray, originals: np.ndarray, texts: Sequence[object]) -> list[float]:
    """How much nearer each reconstruction is to another original of its own text than to one of any other text.

    Args:
        reconstructions, originals: float [n, D], features of the same n clips. texts: what each clip says, [n].

    Returns:
        Margins in Euclidean distance, every dimension in units of its spread over the originals. Where a text has no
        other clip, or there is one text only, the missing distance counts as 0.
    """
    scale = originals.std(axis=0) + 1e-6
    distance = np.linalg.norm((reconstructions[:, None] - originals[None]) / scale, axis=2)
    found = []
    for place, text in enumerate(texts):
        own = [distance[place, n] for n, other in enumerate(texts) if other == text and n != place]
        others = [distance[place, n] for n, other in enumerate(texts) if other != text]
        found.append(float(min(others, default=0.0) - min(own, default=0.0)))
    return found
