"""Judges of what was generated: a wav in, the label it sounds like out. Never knows how it was made.

`NearestClip` needs no model; `WhisperJudge` is a speech recogniser made to choose among the labels (`uniaudio[judge]`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uniaudio_cli.errors import UsageError


class NearestClip:
    """The label of the reference clip that warps onto the wav most cheaply (DTW over mean-free MFCCs).

    `references`: per label, wavs float32 [1, T] at `sample_rate`; none of them may have been a demonstration.
    """

    def __init__(self, references: Mapping[str, Sequence[Tensor]], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.references = [(label, self._mfcc(wav)) for label, wavs in references.items() for wav in wavs]

    def _mfcc(self, wav: Tensor) -> np.ndarray:
        import librosa

        hop = self.sample_rate // 100
        trimmed, _ = librosa.effects.trim(wav[0].numpy(), top_db=30, frame_length=4 * hop, hop_length=hop)
        # Up to 4 kHz: what a telephone carries is enough to tell words apart, and codecs differ most above it.
        frames: Any = {"n_fft": 4 * hop, "hop_length": hop, "n_mels": 40, "fmax": self.sample_rate / 4}
        mfcc = librosa.feature.mfcc(y=trimmed, sr=self.sample_rate, n_mfcc=20, **frames)[1:]
        return mfcc - mfcc.mean(axis=1, keepdims=True)

    def __call__(self, wav: Tensor) -> str:
        import librosa

        heard = self._mfcc(wav)

        def distance(reference: np.ndarray) -> float:
            cost = librosa.sequence.dtw(heard, reference, backtrack=False)
            return float(cost[-1, -1]) / (heard.shape[1] + reference.shape[1])

        return min(self.references, key=lambda pair: distance(pair[1]))[0]


class WhisperJudge:
    """Whisper asked for one of `labels` and nothing else: all tokens but the labels' first ones are suppressed.

    It cannot say "none of these", so report free-text results beside it where garbage is possible.

    Raises:
        UsageError: faster-whisper is not installed, or two labels begin with the same token.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as problem:
            raise UsageError("the ASR judge needs faster-whisper: pip install 'uniaudio[judge]'") from problem
        self.model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)
        tokenizer = self.model.hf_tokenizer
        self.tokens = {tokenizer.encode(f" {label}", add_special_tokens=False).ids[0]: label for label in labels}
        if len(self.tokens) < len(labels):
            raise UsageError(f"the ASR judge cannot tell labels apart that begin alike: {', '.join(labels)}")
        self.others = [i for i in range(tokenizer.get_vocab_size()) if i not in self.tokens]
        start = ["<|startoftranscript|>", *(["<|en|>", "<|transcribe|>"] if self.model.model.is_multilingual else [])]
        before = tokenizer.encode(" " + ", ".join(labels), add_special_tokens=False).ids
        named = [tokenizer.token_to_id(token) for token in ("<|startofprev|>", *start, "<|notimestamps|>")]
        self.prompt = [named[0], *before, *named[1:]]

    def __call__(self, wav: Tensor) -> str:
        """wav float32 [1, T] at 16 kHz, at most 3 s -> one of the labels."""
        padded = np.zeros(3 * 16_000, dtype=np.float32)
        padded[: wav.shape[-1]] = wav[0, : len(padded)].numpy()
        encoded = self.model.encode(self.model.feature_extractor(padded, padding=0)[:, :300])
        found = self.model.model.generate(
            encoded, [self.prompt], max_length=len(self.prompt) + 1, suppress_blank=False, suppress_tokens=self.others
        )
        return self.tokens[found[0].sequences_ids[0][-1]]
