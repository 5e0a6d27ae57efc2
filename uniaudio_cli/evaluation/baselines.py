"""Controls: what labels the same episodes without the LLM, and what a user would take instead.

The two peers follow fixed recipes that no tuning of the product may touch:

- YAMNet: clip peak-normalised, patches of .96 s every .48 s, mean 1,024-d embedding weighted by 1 - P(silence),
  L2-normalised x 10, logistic regression (max_iter 1000).
- Whisper base: silence trimmed at 35 dB, padded to 3 s, mean over the clip's encoder frames, standardised over the
  evaluated clips, cosine to the mean of each label's demonstrations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from uniaudio_cli.audio.features import whisper_log_mel
from uniaudio_cli.audio.load_librosa import load_librosa
from uniaudio_cli.data.episodes import Episode
from uniaudio_cli.evaluation.metrics import nearest_demonstration
from uniaudio_cli.evaluation.systems import NEAREST, MissingLibrary, Row, Setup

RATE = 16_000
LONGEST_SECONDS = 60.0
EMBEDDING_SCALE = 10.0  # length of what a logistic regression is fitted on

YAMNET_HOP = 48  # mel frames of 10 ms: half of a patch
YAMNET_SILENCE = 494  # AudioSet's class "Silence" in YAMNet's order

WHISPER_TOP_DB = 35
WHISPER_SECONDS = (3.0, 30.0)  # padded to the first, cut at the second
WHISPER_HOP = 320  # samples of an encoder frame


class NearestDemonstration:
    """The label of the demonstration whose bag of codes is nearest by cosine, on the levels that the task uses."""

    name = NEAREST
    probabilities = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.bags: dict[Path, list[list[int]]] = {}

    @property
    def identity(self) -> Mapping[str, str]:
        return {"levels": " ".join(map(str, self.setup.task.levels))}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        shown = [(item.label, self._bag(item.path)) for item in episode.demonstrations]
        scores = nearest_demonstration(self._bag(episode.query.path), shown)
        return {label: float(score) for label, score in scores.items()}

    def _bag(self, path: Path) -> list[list[int]]:
        if path not in self.bags:
            clips = self.setup.models.encoder.encode_with_offsets(path, self.setup.task)
            self.bags[path] = [
                [code for clip in clips for code in clip.level(level)] for level in self.setup.task.levels
            ]
        return self.bags[path]


class YAMNetLogisticRegression:
    """YAMNet's mean embedding and a logistic regression fitted on the demonstrations."""

    name = "YAMNet + logistic regression"
    probabilities = True

    def __init__(self, setup: Setup) -> None:
        require_modules("onnxruntime", "sklearn")
        from uniaudio_cli.codec.frozen.yamnet import YAMNet
        from uniaudio_cli.models.registry import resolve_teacher

        self.yamnet = YAMNet(resolve_teacher("yamnet", setup.offline, setup.progress))
        self.features: dict[Path, np.ndarray] = {}

    @property
    def identity(self) -> Mapping[str, str]:
        return {
            "encoder": "yamnet",
            "classifier": f"logistic regression (scikit-learn {package_version('scikit-learn')})",
        }

    def predict(self, episode: Episode) -> Mapping[str, float]:
        return logistic_regression(episode, self.feature)

    def feature(self, path: Path) -> np.ndarray:
        """float64 [1024] of norm 10."""
        if path not in self.features:
            from uniaudio_cli.codec.frozen.yamnet import PATCH

            frames = self.yamnet.frames(peak_normalised(path))
            starts = range(0, len(frames) - PATCH + 1, YAMNET_HOP)
            patches = [self.yamnet(frames[start : start + PATCH]) for start in starts]
            weights = np.array([1.0 - posterior[YAMNET_SILENCE] for _, posterior in patches]) + 1e-9
            mean = weights @ np.array([embedding for embedding, _ in patches]) / weights.sum()
            self.features[path] = EMBEDDING_SCALE * mean / max(1e-9, float(np.linalg.norm(mean)))
        return self.features[path]


class WhisperNearest:
    """The label whose demonstrations' mean Whisper embedding is nearest by cosine."""

    name = "Whisper base + nearest mean"
    probabilities = False

    def __init__(self, setup: Setup) -> None:
        require_modules("ctranslate2")
        from uniaudio_cli.models.registry import resolve_judge
        from uniaudio_cli.training.encoders import CTranslate2Whisper

        folder = resolve_judge("whisper-base", setup.offline, setup.progress)
        self.whisper = CTranslate2Whisper(folder, WHISPER_HOP)
        self.paths = [item.path for item in setup.items]
        self.features: dict[Path, np.ndarray] = {}

    @property
    def identity(self) -> Mapping[str, str]:
        return {"encoder": "whisper-base", "runtime": f"ctranslate2 {package_version('ctranslate2')}, int8"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        query = self._standardised(episode.query.path)
        scores = {}
        for label in episode.labels:
            shown = [self._standardised(item.path) for item in episode.demonstrations if item.label == label]
            mean = np.mean(shown, axis=0)
            scores[label] = float(query @ mean / max(1e-9, float(np.linalg.norm(query) * np.linalg.norm(mean))))
        return scores

    def feature(self, path: Path) -> np.ndarray:
        """float32 [512]: the mean over the clip's frames."""
        if path not in self.features:
            librosa = load_librosa()
            wav, _ = librosa.effects.trim(peak_normalised(path), top_db=WHISPER_TOP_DB)
            shortest, longest = (int(seconds * RATE) for seconds in WHISPER_SECONDS)
            wav = wav[:longest]
            padded = np.pad(wav, (0, max(0, shortest - len(wav))))
            (states,) = self.whisper.encode(whisper_log_mel(padded)[None])
            self.features[path] = states[: math.ceil(len(wav) / WHISPER_HOP)].mean(axis=0)
        return self.features[path]

    def _standardised(self, path: Path) -> np.ndarray:
        mean, spread = self._statistics
        return (self.feature(path) - mean) / spread

    @cached_property
    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        every = np.array([self.feature(path) for path in self.paths])
        return every.mean(axis=0), every.std(axis=0) + 1e-6


def logistic_regression(episode: Episode, feature: Callable[[Path], np.ndarray]) -> dict[str, float]:
    """Probabilities of the query's labels, by a regression fitted on the demonstrations. `feature`: path -> [D]."""
    from sklearn.linear_model import LogisticRegression

    train = np.array([feature(item.path) for item in episode.demonstrations])
    model = LogisticRegression(max_iter=1000).fit(train, [item.label for item in episode.demonstrations])
    (probabilities,) = model.predict_proba(feature(episode.query.path)[None])
    return {str(label): float(p) for label, p in zip(model.classes_, probabilities, strict=True)}


def peak_normalised(path: Path) -> np.ndarray:
    """A clip's first minute at 16 kHz, its peak at 1: float32 [T]; silence stays silence.

    Raises:
        UniAudioError: it cannot be read.
    """
    from uniaudio_cli.audio.io import read_wav
    from uniaudio_cli.audio.transforms import at_full_scale

    return at_full_scale(read_wav(path, RATE, max_seconds=LONGEST_SECONDS)[0].numpy())


def require_modules(*modules: str) -> None:
    """Raises MissingLibrary where one of the modules is not installed."""
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingLibrary(f"needs {', '.join(missing)}: pip install 'uniaudio[eval]'")


def package_version(package: str) -> str:
    """The version of an installed package."""
    from importlib.metadata import version

    return version(package)


# What a user would take instead.
PEERS = (YAMNetLogisticRegression.name, WhisperNearest.name)

ROWS = (
    Row(NearestDemonstration.name, "fast", NearestDemonstration),
    Row(YAMNetLogisticRegression.name, "fast", YAMNetLogisticRegression),
    Row(WhisperNearest.name, "fast", WhisperNearest),
)
