"""Judges of what was generated: a wav in, the label it sounds like or a number out. Never knows how it was made.

`NearestClip` needs no model; `WhisperJudge` is a speech recogniser, made to choose among the labels or left free;
`dnsmos` rates speech by itself (`uniaudio[judge]`, `uniaudio[quality]`). By its target: `codec.quality.compared`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uniaudio_cli.codec import quality
from uniaudio_cli.core.errors import UsageError

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOUNDS_LIKE = {str(digit): name for digit, name in enumerate(_NAMES)} | {
    **{"oh": "zero", "won": "one", "to": "two", "too": "two", "for": "four", "fore": "four", "ate": "eight"},
}
# Samples of silence that Whisper hears before a clip.
LEAD = 4_000


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
    """Whisper asked for one of `labels`: called, it chooses among them and nothing else, as all tokens but the labels'
    first ones are suppressed. It cannot say "none of these" then; `free` can.

    Both hear a quarter of a second of silence before the wav, and have read the labels: a single word is else taken for
    the middle of a sentence ("five" for "Bye"). What that costs and gains is in docs/LOG.md.

    Raises:
        UsageError: faster-whisper is not installed, or two labels begin with the same token.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as problem:
            raise UsageError("the ASR judge needs faster-whisper: pip install 'uniaudio[judge]'") from problem
        self.model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)
        self.tokenizer: Any = self.model.hf_tokenizer
        self.labels = tuple(labels)
        firsts = [self.tokenizer.encode(f" {label}", add_special_tokens=False).ids[0] for label in labels]
        self.tokens = dict(zip(firsts, labels, strict=True))
        if len(self.tokens) < len(labels):
            raise UsageError(f"the ASR judge cannot tell labels apart that begin alike: {', '.join(labels)}")
        start = ["<|startoftranscript|>", *(["<|en|>", "<|transcribe|>"] if self.model.model.is_multilingual else [])]
        self.start = [self.tokenizer.token_to_id(token) for token in (*start, "<|notimestamps|>")]
        # The times of 30 s in steps of 20 ms follow that token, and the tokenizer does not know them.
        self.others = [i for i in range(self.start[-1] + 1502) if i not in self.tokens]
        before = self.tokenizer.encode(" " + ", ".join(labels), add_special_tokens=False).ids
        self.prompt = [self.tokenizer.token_to_id("<|startofprev|>"), *before, *self.start]

    def __call__(self, wav: Tensor) -> str:
        """wav float32 [1, T] at 16 kHz, of which 2.75 s are heard -> one of the labels."""
        chosen = self._tokens(wav, self.prompt, 1, suppress_blank=False, suppress_tokens=self.others)
        return self.tokens[chosen[0]]

    def free(self, wav: Tensor) -> str | None:
        """wav float32 [1, T] at 16 kHz, of which 2.75 s are heard -> the label that its transcript is, or None."""
        return label_said(self.tokenizer.decode(self._tokens(wav, self.prompt, 8, suppress_blank=True)), self.labels)

    def _tokens(self, wav: Tensor, prompt: list[int], count: int, **options: Any) -> list[int]:
        padded = np.zeros(3 * 16_000, dtype=np.float32)
        heard = wav[0, : len(padded) - LEAD].numpy()
        padded[LEAD : LEAD + len(heard)] = heard
        encoded = self.model.encode(self.model.feature_extractor(padded, padding=0)[:, :300])
        found = self.model.model.generate(encoded, [prompt], max_length=len(prompt) + count, **options)
        return found[0].sequences_ids[0][-count:] if count == 1 else found[0].sequences_ids[0]


def label_said(transcript: str, labels: Sequence[str]) -> str | None:
    """The label that a transcript says and nothing else, once or again and again as Whisper does with a short clip; or
    None.

    A word that sounds as the name of a digit does, or the digit itself, counts as the name. The last word may have been
    cut off: "seven, seven, sev".
    """
    words = [SOUNDS_LIKE.get(word, word) for word in re.findall(r"[a-z]+|[0-9]", transcript.lower())]
    if not words or words[0] not in labels:
        return None
    first = words[0]
    return first if set(words[:-1]) <= {first} and first.startswith(words[-1]) else None


def dnsmos(wav: Tensor, sample_rate: int) -> float:
    """DNSMOS P.835 overall quality, 1 to 5, of wav float32 [1, T]; what is shorter than 9 s is said again and again.

    Raises:
        UsageError: speechmos is not installed, or the rate is not its 16 kHz.
    """
    overall = quality.dnsmos()
    if overall is None:
        raise UsageError("DNSMOS needs speechmos: pip install 'uniaudio[quality]'")
    if sample_rate != quality.DNSMOS_RATE:
        raise UsageError(f"DNSMOS hears {quality.DNSMOS_RATE:,} Hz, not {sample_rate:,}")
    return overall(wav[0].numpy())
