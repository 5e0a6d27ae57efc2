"""Segments of a long recording: overlapping windows are labelled, and a Viterbi path over frames joins their labels.

The path's states are the labels, a background that is no label, and with the task's `unknown_below` a state for sounds
of no label. A frame's score for a label is the mean log-probability over the windows that cover it. The background is
favoured where a frame is hardly louder than the recording's quietest part, and the labels elsewhere. A change of state
costs a constant, which keeps segments from flickering and closes short pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any, ClassVar

import numpy as np
import torch

from uniaudio_cli.audio.io import AudioInput, check_audible, read_audio, source_name
from uniaudio_cli.audio.stream import stream_audio, windows
from uniaudio_cli.audio.transforms import fit
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.inference.classify import Classifier, ReadClip
from uniaudio_cli.inference.open_set import UNKNOWN
from uniaudio_cli.inference.results import ErrorResult, LabelResult
from uniaudio_cli.inference.similarity import SCALE

WINDOW_SECONDS = 2.0
FRAME_SECONDS = 0.1
# Chosen on a mix of development clips: benchmarks/long_recording.py.
SWITCH_COST = 2.0  # in units of log-probability, for a change of state
WINDOW_WEIGHT = 2.0  # of the windows' log-probabilities, summed over a hop's frames
LEVEL_WEIGHT = 0.5  # for or against the background, per frame
FLOOR_PERCENTILE, FLOOR_MARGIN_DB = 10, 6.0  # what is background: up to so much above the quiet end of all frames
LOUD_PERCENTILE, SPREAD_DB = 95, 12.0  # a recording whose loud end is not so far above that has no background
SILENCE_DB = -100.0
NEVER = -1e6  # log-probability of a label in silence


@dataclass(frozen=True)
class Window:
    """A window's label, from `start` to `end` seconds; `result` is None for silence."""

    start: float
    end: float
    result: LabelResult | None


@dataclass(frozen=True)
class Segment:
    """From `start` to `end` seconds. `score`: the label's mean probability; of "unknown", the likeliest label's."""

    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class SegmentResult:
    """Segments of one recording in order; what lies between them is background or silence. `seconds`: its length."""

    ok: ClassVar[bool] = True
    file: str
    seconds: float
    segments: tuple[Segment, ...]
    windows: tuple[Window, ...]

    def rows(self) -> list[dict[str, Any]]:
        """What is written of the segments: start, end, label, score."""
        return [
            {"start": each.start, "end": each.end, "label": each.label, "score": round(each.score, 4)}
            for each in self.segments
        ]


class Segmenter:
    """Finds the labels of a classifier in long recordings; memory grows by some kB a minute of them.

    Args:
        window_seconds: length of a window, half of which is the distance to the next; 2 s, or less where the task's
            clips are shorter.
        min_seconds: shorter segments are left out.

    Raises:
        UsageError: a length that is not usable.
    """

    def __init__(self, classifier: Classifier, window_seconds: float | None = None, min_seconds: float = 0.0) -> None:
        longest = classifier.task.clip.seconds
        self.window_seconds = min(WINDOW_SECONDS, longest) if window_seconds is None else window_seconds
        if not 2 * FRAME_SECONDS <= self.window_seconds <= longest:
            raise UsageError(f"a window is {2 * FRAME_SECONDS:g} to {longest:g} s (the task's clip.seconds) long")
        self.classifier, self.min_seconds = classifier, min_seconds
        self.hop_seconds = self.window_seconds / 2

    def __call__(
        self, source: AudioInput, progress: Callable[[float], None] = lambda seconds: None
    ) -> SegmentResult | ErrorResult:
        """The segments of a recording; an `ErrorResult` where it cannot be read.

        `progress`: called with the seconds that are labelled.
        """
        for step in self.steps(source):
            if isinstance(step, Window):
                progress(step.end)
        assert not isinstance(step, Window)
        return step

    def steps(self, source: AudioInput) -> Iterator[Window | SegmentResult | ErrorResult]:
        """Each window of a recording once it is labelled, and last what a call gives; the caller may stop between."""
        name = source_name(source)
        levels = Levels(round(FRAME_SECONDS * self._rate))
        found: list[Window] = []
        try:
            for window in self.windows(levels.measured(stream_audio(source, self._rate))):
                found.append(window)
                yield window
        except UniAudioError as problem:
            yield ErrorResult.from_exception(name, problem)
            return
        yield SegmentResult(name, levels.samples / self._rate, self._segments(found, levels.db()), tuple(found))

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[Window]:
        """Labelled windows of mono blocks at the codec's rate, computed in batches.

        Raises:
            UniAudioError: a window cannot be labelled.
        """
        size, hop = round(self.window_seconds * self._rate), round(self.hop_seconds * self._rate)
        cut = windows(blocks, size, hop)
        while batch := list(islice(cut, 16)):
            results = self.classifier.classify_clips([self._clip(samples) for _, samples in batch])
            for (start, samples), result in zip(batch, results, strict=True):
                if isinstance(result, ErrorResult) and not isinstance(result.exception, _SilentError):
                    raise result.exception or UniAudioError(result.error)
                labelled = replace(result, features=None) if isinstance(result, LabelResult) else None
                yield Window(start / self._rate, (start + len(samples)) / self._rate, labelled)

    def live(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Window]:
        """`windows` of mono blocks at any rate, each labelled as soon as it is complete; `end` is that of the blocks.

        Raises:
            UniAudioError: a window cannot be labelled.
        """
        size, hop = round(self.window_seconds * sample_rate), round(self.hop_seconds * sample_rate)
        for start, samples in windows(blocks, size, hop):
            one, *_ = self.windows([read_audio((samples, sample_rate), self._rate)[0].numpy()])
            yield replace(one, start=start / sample_rate, end=(start + len(samples)) / sample_rate)

    @property
    def _rate(self) -> int:
        return self.classifier.models.codec.sample_rate

    def _clip(self, samples: np.ndarray) -> ReadClip | ErrorResult:
        wav, clip = torch.from_numpy(np.ascontiguousarray(samples))[None], self.classifier.task.clip
        try:
            check_audible(wav, self._rate)
        except UniAudioError as problem:
            return ErrorResult.from_exception("", _SilentError(problem))
        return ReadClip("", fit(wav, self._rate, clip.seconds, pad=clip.pad))

    def _segments(self, found: Sequence[Window], levels: np.ndarray) -> tuple[Segment, ...]:
        labels = self.classifier.labels
        scores, unknown, covered = self._frame_scores(found, len(levels))
        likeliest, weight = scores.max(axis=1), WINDOW_WEIGHT * FRAME_SECONDS / self.hop_seconds
        silent = np.where(covered, 0.0, NEVER)
        states = [*(weight * scores + silent[:, None]).T, weight * likeliest + background(levels)]
        if unknown is not None:
            states.append(weight * (likeliest + unknown) + silent)
        path = viterbi(np.stack(states, axis=1), SWITCH_COST)
        names = [*labels, None, UNKNOWN]
        segments = []
        for state, start, end in runs(path):
            label = names[state]
            if label is not None and (end - start) * FRAME_SECONDS >= self.min_seconds:
                own = likeliest if label == UNKNOWN and state > len(labels) else scores[:, state]
                first, last = round(start * FRAME_SECONDS, 3), round(end * FRAME_SECONDS, 3)
                segments.append(Segment(first, last, label, float(np.exp(own[start:end]).mean())))
        return tuple(segments)

    def _frame_scores(self, found: Sequence[Window], frames: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Per frame: log-probabilities [T, L], how much likelier "unknown" is [T] or None, whether a window has it."""
        labels, open_set = self.classifier.labels, self.classifier.open_set
        rows = np.zeros((frames, len(labels) + 1))
        counts = np.zeros(frames)
        for window in found:
            start, end = (round(each / FRAME_SECONDS) for each in (window.start, window.end))
            if window.result is None:
                continue
            logp = [np.log(max(window.result.scores[label], 1e-12)) for label in labels]
            far = 0.0
            if open_set is not None and window.result.similarity is not None:
                far = SCALE * (open_set.threshold - window.result.similarity)
            rows[start:end] += [*logp, far]
            counts[start:end] += 1
        rows /= np.maximum(counts, 1)[:, None]
        return rows[:, :-1], None if open_set is None else rows[:, -1], counts > 0


class _SilentError(UniAudioError):
    """A window that holds nothing to classify, which is no mistake."""


class Levels:
    """Mean power of frames of `size` samples, measured block by block."""

    def __init__(self, size: int) -> None:
        self.size, self.samples = size, 0
        self._power: list[np.ndarray] = []
        self._rest = np.zeros(0, np.float32)

    def measured(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks, measured on their way."""
        for block in blocks:
            self.samples += len(block)
            samples = np.concatenate([self._rest, block])
            whole = len(samples) // self.size * self.size
            self._power.append(np.square(samples[:whole].reshape(-1, self.size)).mean(axis=1))
            self._rest = samples[whole:]
            yield block

    def db(self) -> np.ndarray:
        """dB full scale per frame, -100 at least; the last frame may be shorter."""
        rest = [np.square(self._rest).mean(keepdims=True)] if len(self._rest) else []
        power = np.concatenate([np.zeros(0, np.float32), *self._power, *rest])
        return 10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10)))


def background(levels: np.ndarray) -> np.ndarray:
    """Per frame, the log-odds of background by its level in dB: [T] -> [T], LEVEL_WEIGHT or its negative.

    In a recording without a quiet part, only silence is background.
    """
    sounding = levels[levels > SILENCE_DB]
    if not len(sounding):
        return np.full(len(levels), LEVEL_WEIGHT)
    floor, loud = np.percentile(sounding, [FLOOR_PERCENTILE, LOUD_PERCENTILE])
    limit = floor + FLOOR_MARGIN_DB if loud - floor > SPREAD_DB else SILENCE_DB
    return np.where(levels > limit, -LEVEL_WEIGHT, LEVEL_WEIGHT)


def viterbi(scores: np.ndarray, switch_cost: float) -> np.ndarray:
    """The best path through states, [T, K] -> int [T], where each change of state costs `switch_cost`."""
    frames, states = scores.shape
    if not frames:
        return np.zeros(0, np.int64)
    back = np.zeros((frames, states), np.int32)
    best, stay = scores[0].copy(), np.arange(states)
    for frame in range(1, frames):
        top = int(best.argmax())
        changes = best < best[top] - switch_cost
        back[frame] = np.where(changes, top, stay)
        best = np.where(changes, best[top] - switch_cost, best) + scores[frame]
    path = np.zeros(frames, np.int64)
    path[-1] = int(best.argmax())
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path


def runs(path: np.ndarray) -> list[tuple[int, int, int]]:
    """(state, first frame, frame after the last) of each stretch of one state."""
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return [(int(path[start]), start, end) for start, end in pairwise(edges) if end > start]
