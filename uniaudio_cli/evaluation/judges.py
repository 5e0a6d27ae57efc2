"""Judges of generated audio: a wav in, the label it is taken for or a quality score out.

`NearestClip` and `NearestTexture` need no model. `WhisperJudge` is a speech recogniser, restricted to the labels or
free, and `Transcriber` writes what it recognises. `YAMNetJudge` embeds sounds for `NearestEmbedding`,
`frechet_distance` and `kl_divergence`. `dnsmos` rates speech without a reference; with one, see
`codec.quality.speech_metrics`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uniaudio_cli.audio.features import texture
from uniaudio_cli.audio.load_librosa import load_librosa
from uniaudio_cli.codec import quality
from uniaudio_cli.codec.frozen.yamnet import PATCH, YAMNet
from uniaudio_cli.core.errors import UsageError

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOUNDS_LIKE = {str(digit): name for digit, name in enumerate(_NAMES)} | {
    **{"oh": "zero", "won": "one", "to": "two", "too": "two", "for": "four", "fore": "four", "ate": "eight"},
}
# Samples of silence before a clip.
LEAD = 4_000


class NearestClip:
    """The label of the reference clip that warps onto the wav most cheaply (DTW over mean-free MFCCs).

    `references`: per label, wavs float32 [1, T] at `sample_rate`; none of them may have been a demonstration.
    """

    def __init__(self, references: Mapping[str, Sequence[Tensor]], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.references = [(label, self._mfcc(wav)) for label, wavs in references.items() for wav in wavs]

    def _mfcc(self, wav: Tensor) -> np.ndarray:
        librosa = load_librosa()
        hop = self.sample_rate // 100
        trimmed, _ = librosa.effects.trim(wav[0].numpy(), top_db=30, frame_length=4 * hop, hop_length=hop)
        # Up to 4 kHz: what a telephone carries is enough to tell words apart, and codecs differ most above it.
        frames: Any = {"n_fft": 4 * hop, "hop_length": hop, "n_mels": 40, "fmax": self.sample_rate / 4}
        mfcc = librosa.feature.mfcc(y=trimmed, sr=self.sample_rate, n_mfcc=20, **frames)[1:]
        return mfcc - mfcc.mean(axis=1, keepdims=True)

    def __call__(self, wav: Tensor) -> str:
        librosa = load_librosa()
        query = self._mfcc(wav)

        def distance(reference: np.ndarray) -> float:
            cost = librosa.sequence.dtw(query, reference, backtrack=False)
            return float(cost[-1, -1]) / (query.shape[1] + reference.shape[1])

        return min(self.references, key=lambda pair: distance(pair[1]))[0]


class WhisperJudge:
    """Whisper over a closed set of `labels`: a call chooses among them, as all tokens but the labels' first ones are
    suppressed, so it cannot answer "none of these"; `free` can.

    A quarter of a second of silence precedes the wav and the prompt holds the labels, as a single word is otherwise
    taken for the middle of a sentence ("five" for "Bye"): docs/LOG.md has the measurements.

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
        # The timestamps of 30 s in steps of 20 ms follow that token and are not in the tokenizer.
        self.others = [i for i in range(self.start[-1] + 1502) if i not in self.tokens]
        before = self.tokenizer.encode(" " + ", ".join(labels), add_special_tokens=False).ids
        self.prompt = [self.tokenizer.token_to_id("<|startofprev|>"), *before, *self.start]

    def __call__(self, wav: Tensor) -> str:
        """wav float32 [1, T] at 16 kHz, of which 2.75 s are used -> one of the labels."""
        chosen = self._tokens(wav, self.prompt, 1, suppress_blank=False, suppress_tokens=self.others)
        return self.tokens[chosen[0]]

    def free(self, wav: Tensor) -> str | None:
        """wav float32 [1, T] at 16 kHz, of which 2.75 s are used -> the label its transcript consists of, or None."""
        return label_said(self.tokenizer.decode(self._tokens(wav, self.prompt, 8, suppress_blank=True)), self.labels)

    def _tokens(self, wav: Tensor, prompt: list[int], count: int, **options: Any) -> list[int]:
        padded = np.zeros(3 * 16_000, dtype=np.float32)
        samples = wav[0, : len(padded) - LEAD].numpy()
        padded[LEAD : LEAD + len(samples)] = samples
        encoded = self.model.encode(self.model.feature_extractor(padded, padding=0)[:, :300])
        found = self.model.model.generate(encoded, [prompt], max_length=len(prompt) + count, **options)
        return found[0].sequences_ids[0][-count:] if count == 1 else found[0].sequences_ids[0]


class Transcriber:
    """Whisper's free transcript of speech, by faster-whisper with its defaults but for sampling, which is off.

    Args:
        folder: a model as faster-whisper takes it.

    Raises:
        UsageError: faster-whisper is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as problem:
            raise UsageError("transcripts need faster-whisper: pip install 'uniaudio[eval]'") from problem
        self.model: Any = WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)

    def __call__(self, wav: np.ndarray) -> str:
        """wav float32 [T] at 16 kHz -> its transcript on one line; "" where there is no speech."""
        found, _ = self.model.transcribe(wav, temperature=0.0, without_timestamps=True)
        return " ".join(" ".join(each.text for each in found).split())


class NearestTexture:
    """The label of the reference with the nearest `texture`, each dimension in units of its spread over them."""

    def __init__(self, references: Mapping[str, Sequence[Tensor]], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.labels = [label for label, wavs in references.items() for _ in wavs]
        known = np.array([texture(wav, sample_rate) for wavs in references.values() for wav in wavs])
        self.mean, self.spread = known.mean(axis=0), known.std(axis=0) + 1e-6
        self.known = (known - self.mean) / self.spread

    def __call__(self, wav: Tensor) -> str:
        query = (texture(wav, self.sample_rate) - self.mean) / self.spread
        return self.labels[int(np.linalg.norm(self.known - query, axis=1).argmin())]


@dataclass(frozen=True)
class Tagged:
    """YAMNet's view of a wav. `embeddings`: [patches, 1024]; `posterior`: [521], the mean softmax over patches."""

    embeddings: np.ndarray
    posterior: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.embeddings.mean(axis=0)


class YAMNetJudge:
    """Embeds wavs by the YAMNet in `folder`, in patches of .96 s every .48 s."""

    HOP = 48  # mel frames of 10 ms

    def __init__(self, folder: Path) -> None:
        self.yamnet = YAMNet(folder)

    def __call__(self, wav: Tensor) -> Tagged:
        """wav float32 [1, T] at 16 kHz; shorter input is padded to one second."""
        frames = self.yamnet.frames(wav[0].numpy())
        starts = range(0, len(frames) - PATCH + 1, self.HOP)
        embeddings, posteriors = zip(*(self.yamnet(frames[start : start + PATCH]) for start in starts), strict=True)
        return Tagged(np.array(embeddings), np.mean(posteriors, axis=0))


class NearestEmbedding:
    """The label of the reference with the most similar mean embedding, all less the mean of all references."""

    def __init__(self, references: Mapping[str, Sequence[Tagged]]) -> None:
        self.mean = np.mean([each.mean for some in references.values() for each in some], axis=0)
        self.references = [(label, each.mean - self.mean) for label, some in references.items() for each in some]

    def __call__(self, tagged: Tagged) -> str:
        query = tagged.mean - self.mean
        return max(self.references, key=lambda pair: float(query @ pair[1] / np.linalg.norm(pair[1])))[0]


def frechet_distance(first: Sequence[Tagged], second: Sequence[Tagged]) -> float:
    """The Frechet distance of two sets of embeddings as Gaussians (FAD, Kilgour et al. 2019), over all patches.

    It falls with the number of patches, so only sets of like sizes compare.
    """
    sides = [np.concatenate([each.embeddings for each in some]) for some in (first, second)]
    means = [side.mean(axis=0) for side in sides]
    roots = [(side - mean) / np.sqrt(len(side) - 1) for side, mean in zip(sides, means, strict=True)]
    # tr sqrt(A'A B'B) is the sum of the singular values of AB', which rotations of the rows of A and B leave alone.
    roots = [np.linalg.qr(root, mode="r") for root in roots]
    shared = np.linalg.norm(roots[0] @ roots[1].T, "nuc")
    spread = sum(float((root**2).sum()) for root in roots)
    return float(((means[0] - means[1]) ** 2).sum() + spread - 2 * shared)


def kl_divergence(real: Sequence[Tagged], made: Tagged) -> float:
    """KL, in nats, of the class posterior of `made` from the mean posterior of `real`."""
    from scipy.stats import entropy

    p = np.mean([each.posterior for each in real], axis=0)
    return float(entropy(p + 1e-12, made.posterior + 1e-12))


def label_said(transcript: str, labels: Sequence[str]) -> str | None:
    """The label that a transcript consists of, once or repeated as Whisper does with a short clip; else None.

    A homophone of a digit's name, or the digit itself, counts as the name. The last word may be cut off: "seven, sev".
    """
    words = [SOUNDS_LIKE.get(word, word) for word in re.findall(r"[a-z]+|[0-9]", transcript.lower())]
    if not words or words[0] not in labels:
        return None
    first = words[0]
    return first if set(words[:-1]) <= {first} and first.startswith(words[-1]) else None


def dnsmos(wav: Tensor, sample_rate: int) -> float:
    """DNSMOS P.835 overall quality, 1 to 5, of wav float32 [1, T]; shorter input is repeated to 9 s.

    Raises:
        UsageError: speechmos is not installed, or the rate is not its 16 kHz.
    """
    overall = quality.dnsmos()
    if overall is None:
        raise UsageError("DNSMOS needs speechmos: pip install 'uniaudio[quality]'")
    if sample_rate != quality.DNSMOS_RATE:
        raise UsageError(f"DNSMOS takes {quality.DNSMOS_RATE:,} Hz, not {sample_rate:,}")
    return overall(wav[0].numpy())
