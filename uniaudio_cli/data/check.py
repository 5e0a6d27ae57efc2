"""Checks of a folder of demonstrations: what may make its labels wrong, before any model is loaded."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from uniaudio_cli.audio.discovery import find_audio
from uniaudio_cli.audio.io import check_audible, read_audio
from uniaudio_cli.audio.transforms import level_db
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.duplicates import clip_ids

RATE = 16_000
SHORT_SECONDS = 0.2
QUIET_DB, CLIPPED_SHARE = -60.0, 0.001
LOUDER_DB = 15.0  # between the medians of two labels: the level may be what tells them apart
IMBALANCE = 3.0
READ_SECONDS = 60.0

Kind = Literal[
    "folder", "unreadable", "duplicate", "short", "quiet", "clipped", "leak", "outlier", "loudness", "imbalance"
]


@dataclass(frozen=True)
class Finding:
    """One remark. `path`: the clip, or None for one about labels. `label`: its label, or that of the remark."""

    kind: Kind
    path: Path | None
    label: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """A clip that can be read. `level`: dB full scale of its active frames. `clipped`: share at full scale.

    `sound`: a digest of its samples.
    """

    demonstration: Demonstration
    seconds: float
    level: float
    clipped: float
    sound: bytes


def check_demonstrations(
    demonstrations: Sequence[Demonstration],
    against: Path | None = None,
    features: Callable[[Path], np.ndarray] | None = None,
) -> Iterator[Finding]:
    """What is odd about a folder of labelled clips, clip by clip and then about its labels.

    Args:
        against: a folder whose clips, such as those to be labelled, must not be among the demonstrations.
        features: what outliers are found by, a row of length 1 a clip; None looks for none.

    Raises:
        UsageError: `against` holds no audio.
    """
    if against is not None:
        yield from _leaks(demonstrations, against)
    measured: list[Measured] = []
    first: dict[bytes, Path] = {}
    for each in demonstrations:
        found = measure(each)
        if isinstance(found, Finding):
            yield found
            continue
        measured.append(found)
        if (same := first.setdefault(found.sound, each.audio)) != each.audio:
            yield Finding("duplicate", each.audio, each.label or "", f"sounds exactly as {show(same)}")
        yield from _of_clip(found)
    if features is not None:
        yield from _outliers(measured, features)
    yield from _of_labels(demonstrations, measured)


def measure(demonstration: Demonstration) -> Measured | Finding:
    """A clip's first minute in figures, or why it is of no use."""
    label = demonstration.label or ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wav = read_audio(demonstration.audio, RATE, READ_SECONDS)
        check_audible(wav, RATE)
    except UniAudioError as problem:
        reason = str(problem).removeprefix(f"{show(demonstration.audio)}: ")
        return Finding("unreadable", demonstration.audio, label, reason)
    samples = wav[0].numpy()
    clipped = float(np.mean(np.abs(samples) >= 0.999))
    sound = hashlib.sha256(samples.tobytes()).digest()
    return Measured(demonstration, len(samples) / RATE, level_db(wav, RATE), clipped, sound)


def _of_clip(clip: Measured) -> Iterator[Finding]:
    path, label = clip.demonstration.audio, clip.demonstration.label or ""
    if clip.seconds < SHORT_SECONDS:
        yield Finding("short", path, label, f"is {1000 * clip.seconds:.0f} ms long")
    if clip.level < QUIET_DB:
        yield Finding("quiet", path, label, f"is at {clip.level:.0f} dB full scale")
    if clip.clipped > CLIPPED_SHARE:
        yield Finding("clipped", path, label, f"has {100 * clip.clipped:.1f} % of its samples at full scale")


def _leaks(demonstrations: Sequence[Demonstration], against: Path) -> Iterator[Finding]:
    others = find_audio([against])
    ids = clip_ids([*(each.audio for each in demonstrations), *others])
    there = dict(zip(reversed(ids[len(demonstrations) :]), reversed(others), strict=True))
    for each, clip in zip(demonstrations, ids, strict=False):
        if clip in there:
            yield Finding("leak", each.audio, each.label or "", f"is {show(there[clip])} too")


def _outliers(clips: Sequence[Measured], features: Callable[[Path], np.ndarray]) -> Iterator[Finding]:
    """Clips that are nearer to another label's mean than to that of the rest of their own."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        groups[clip.demonstration.label or ""].append(number)
    if len(groups) < 2:
        return
    rows = np.array([features(each.demonstration.audio) for each in clips])
    for label, members in groups.items():
        for number in members if len(members) > 2 else ():
            own = _cosine(rows[number], rows[[each for each in members if each != number]])
            other, best = max(
                ((name, _cosine(rows[number], rows[each])) for name, each in groups.items() if name != label),
                key=lambda pair: pair[1],
            )
            if best > own:
                reason = f"is more like {other} ({best:.2f}) than like the other clips of {label} ({own:.2f})"
                yield Finding("outlier", clips[number].demonstration.audio, label, reason)


def _cosine(row: np.ndarray, others: np.ndarray) -> float:
    mean = others.mean(axis=0)
    return float(row @ mean / max(float(np.linalg.norm(row) * np.linalg.norm(mean)), 1e-9))


def _of_labels(demonstrations: Sequence[Demonstration], clips: Sequence[Measured]) -> Iterator[Finding]:
    counts = Counter(each.label or "" for each in demonstrations)
    most, least = max(counts.items(), key=lambda item: item[1]), min(counts.items(), key=lambda item: item[1])
    if most[1] > IMBALANCE * least[1]:
        yield Finding("imbalance", None, least[0], f"has {least[1]} of {most[1]} clips that {most[0]} has")
    levels = defaultdict(list)
    for clip in clips:
        levels[clip.demonstration.label or ""].append(clip.level)
    medians = {label: float(np.median(each)) for label, each in levels.items()}
    if medians:
        loudest, quietest = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
        if medians[loudest] - medians[quietest] > LOUDER_DB:
            reason = f"is {medians[loudest] - medians[quietest]:.0f} dB quieter than {loudest} (medians)"
            yield Finding("loudness", None, quietest, reason)
