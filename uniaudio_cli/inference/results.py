"""Result types: one frozen object per input, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import Tensor

from uniaudio_cli.core.errors import UniAudioError


@dataclass(frozen=True)
class LabelResult:
    """The label of one clip.

    `scores`: probabilities over the candidate labels, likeliest first. `label`: the likeliest, or None where its
    probability is below the task's `abstain_below`, or "unknown" where `similarity` is below its `unknown_below`.
    `margin`: the first probability less the second. `similarity`: how near the clip is to the demonstrations, where the
    task has `unknown_below`. `features`: what the similarity readout compares, float32 [F], None for other readouts.
    """

    ok: ClassVar[bool] = True
    file: str
    label: str | None
    scores: Mapping[str, float]
    margin: float
    similarity: float | None = None
    features: np.ndarray | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_scores(cls, file: str, scores: Mapping[str, float], abstain_below: float = 0.0) -> LabelResult:
        """Sort `scores`; labels of equal probability keep the order given."""
        ranked = dict(sorted(scores.items(), key=lambda item: -item[1]))
        first, *rest = ranked.values()
        label = next(iter(ranked)) if first >= abstain_below else None
        return cls(file, label, ranked, first - rest[0] if rest else 1.0)

    def __repr__(self) -> str:
        probability = next(iter(self.scores.values()))
        return f"LabelResult({self.file!r}, label={self.label!r}, p={probability:.3f})"


@dataclass(frozen=True)
class SpeechResult:
    """A spoken answer. `answer`: the text that is spoken, "" where the LLM writes audio without an answer in text.

    `wav`: float32 [1, T] at `sample_rate`. `codes`: per generated level, of the last spoken word. `probability`: of the
    answer in text, 1 for a text that is read as it stands, None without an answer in text. `confident`: whether it
    reaches the task's `doubtful_below`. `written`: what the LLM wrote, such as "42" where "four two" is spoken.
    `thought`: what it wrote before the answer, "" without.
    """

    ok: ClassVar[bool] = True
    text: str
    answer: str
    wav: Tensor
    sample_rate: int
    codes: list[list[int]]
    probability: float | None = None
    confident: bool = True
    written: str = ""
    thought: str = ""

    @property
    def seconds(self) -> float:
        """Length of `wav`."""
        return self.wav.shape[-1] / self.sample_rate

    def __repr__(self) -> str:
        return f"SpeechResult({self.text!r}, answer={self.answer!r}, {self.seconds:.2f} s)"


@dataclass(frozen=True)
class EnhancementResult:
    """A cleaned recording: `wav` float32 [1, T] at `sample_rate`; `codes`: per level, of the last window."""

    ok: ClassVar[bool] = True
    file: str
    wav: Tensor
    sample_rate: int
    codes: list[list[int]]

    @property
    def seconds(self) -> float:
        """Length of `wav`."""
        return self.wav.shape[-1] / self.sample_rate

    def __repr__(self) -> str:
        return f"EnhancementResult({self.file!r}, {self.seconds:.2f} s)"


@dataclass(frozen=True)
class ErrorResult:
    """One input that failed, in the place of its result. `error`: one line. `exit_code`: as of the exception's type."""

    ok: ClassVar[bool] = False
    file: str
    error: str
    exit_code: int = UniAudioError.exit_code
    exception: UniAudioError | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_exception(cls, file: str, problem: UniAudioError) -> ErrorResult:
        """The result that stands for an input which raised `problem`."""
        return cls(file, str(problem), problem.exit_code, problem)
