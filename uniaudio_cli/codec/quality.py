"""Reconstruction quality of a codec: clips to metrics and code usage.

STOI is undefined on very short clips, so clips are joined to segments of at least `SEGMENT_SECONDS` first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.features import MEL_BINS, MEL_HOP, log_mel, mel_distance, stft_distance
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.load_librosa import load_librosa
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic

SEGMENT_SECONDS = 3.0
SEGMENTS_PER_BATCH = 32
PESQ_RATE = DNSMOS_RATE = 16_000


class GroupedClip(Protocol):
    """An audio file and its group: one speaker or recording."""

    @property
    def path(self) -> Path: ...

    @property
    def group(self) -> str: ...


Clip = TypeVar("Clip", bound=GroupedClip)


@dataclass(frozen=True)
class Reconstruction:
    """A segment before and after the codec.

    `original`, `decoded`: float32 [1, T], at the codec's level. `codes`: int64 [T_k] per level. `seconds`: time that
    encoding and decoding took.
    """

    original: Tensor
    codes: list[np.ndarray]
    decoded: Tensor
    seconds: float


@dataclass(frozen=True)
class MeasuredReconstruction(Reconstruction):
    """With `metrics` by name: those whose package is installed and that are defined for the segment."""

    metrics: dict[str, float]


def segments(
    rows: Sequence[Clip], sample_rate: int, unread: Callable[[Clip, UniAudioError], None] | None = None
) -> Iterator[Tensor]:
    """Clips joined to segments [1, T] of at least SEGMENT_SECONDS, each of one group; shorter remainders are dropped.

    `unread` is called with clips that cannot be read, which are left out; without it, the error is raised.
    """
    return (wav for _, wav in grouped_segments(rows, sample_rate, unread))


def grouped_segments(
    rows: Sequence[Clip], sample_rate: int, unread: Callable[[Clip, UniAudioError], None] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """`segments`, each with its group."""
    for group, members in groupby(sorted(rows, key=lambda row: (row.group, row.path)), key=lambda row: row.group):
        joined: list[Tensor] = []
        for row in members:
            try:
                joined.append(read_wav(row.path, sample_rate))
            except UniAudioError as problem:
                if unread is None:
                    raise
                unread(row, problem)
            if sum(wav.shape[-1] for wav in joined) >= SEGMENT_SECONDS * sample_rate:
                yield group, torch.cat(joined, dim=-1)
                joined = []


def measure(codec: Codec, wav: Tensor, seed: int = 0, mos: bool = True) -> MeasuredReconstruction:
    """Encode, decode and compare wav float32 [1, T], at the codec's level. `mos`: with DNSMOS, the slowest metric."""
    return next(measure_all(codec, [wav], seed, mos))


def measure_all(
    codec: Codec, wavs: Iterable[Tensor], seed: int = 0, mos: bool = True
) -> Iterator[MeasuredReconstruction]:
    """`measure` of each wav. A batch is reconstructed before its metrics, whose threads disturb the timing."""
    waiting = iter(wavs)
    while batch := [reconstruct(codec, wav, seed) for wav in islice(waiting, SEGMENTS_PER_BATCH)]:
        yield from (compute_metrics(each, codec.sample_rate, mos) for each in batch)


def reconstruct(codec: Codec, wav: Tensor, seed: int = 0) -> Reconstruction:
    """Encode and decode wav float32 [1, T], at the codec's level."""
    if codec.config.level_db is not None:
        wav = normalise_level(wav, codec.config.level_db, codec.sample_rate)
    started = time.perf_counter()
    codes = codec.encode(wav[None])
    decoded = codec.decode(codes, seed=seed)[0, :, : wav.shape[-1]].cpu()
    seconds = time.perf_counter() - started
    return Reconstruction(wav, [level[0].cpu().numpy() for level in codes], decoded, seconds)


def compute_metrics(reconstruction: Reconstruction, sample_rate: int, mos: bool = True) -> MeasuredReconstruction:
    """All metrics of a reconstruction."""
    wav, decoded = reconstruction.original, reconstruction.decoded
    found = {
        "times_real_time": wav.shape[-1] / sample_rate / reconstruction.seconds,
        "mel_l1": mel_distance(wav, decoded, sample_rate),
        "stft": stft_distance(wav, decoded),
    }
    found |= speech_metrics(wav, decoded, sample_rate, mos)
    if mos and (rate := dnsmos()) is not None and sample_rate == DNSMOS_RATE:
        found["dnsmos_original"] = rate(wav[0].numpy())
    return MeasuredReconstruction(**vars(reconstruction), metrics=found)


def si_sdr(target: Tensor, decoded: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019); low where phase is lost."""
    scale = (decoded * target).sum() / target.square().sum().clamp(min=1e-12)
    signal = (scale * target).square().sum()
    return float(10 * torch.log10(signal / (decoded - scale * target).square().sum().clamp(min=1e-12)))


def speech_metrics(target: Tensor, decoded: Tensor, sample_rate: int, mos: bool = True) -> dict[str, float]:
    """SI-SDR in dB, STOI, PESQ (wide and narrow band) and the DNSMOS of `decoded`; wavs [1, T].

    Metrics that are not installed (`uniaudio[quality]`), or not defined for this rate or these wavs, are left out.
    """
    wavs = target[0].numpy(), decoded[0].numpy()
    found = {"si_sdr": si_sdr(target, decoded)}
    with suppress(ImportError):
        from pystoi import stoi

        found["stoi"] = float(stoi(*wavs, sample_rate))
    if sample_rate == PESQ_RATE:
        with suppress(ImportError):
            from pesq import PesqError, pesq

            for mode in ("wb", "nb"):
                value = pesq(sample_rate, *wavs, mode, on_error=PesqError.RETURN_VALUES)
                if value >= 0:  # negative where PESQ finds no speech
                    found[f"pesq_{mode}"] = float(value)
    if mos and sample_rate == DNSMOS_RATE and (rate := dnsmos()) is not None:
        found["dnsmos"] = rate(wavs[1])
    return found


@cache
def dnsmos() -> Callable[[np.ndarray], float] | None:
    """DNSMOS overall quality of a wav [T] at 16 kHz, 1 to 5; None where `speechmos` is not installed."""
    try:
        load_librosa()  # speechmos imports and uses it
        from speechmos import dnsmos as model
    except ImportError:
        return None

    def overall(wav: np.ndarray) -> float:
        return float(model.run(wav.clip(-1, 1), sr=DNSMOS_RATE)["ovrl_mos"])

    return overall


def spectrograms(path: Path, wavs: Mapping[str, Tensor], sample_rate: int) -> None:
    """Write a picture of the log-mel spectrograms of wavs [1, T], one below the other, with one colour scale.

    Raises:
        UsageError: matplotlib is not installed.
        UniAudioError: the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise UsageError("spectrogram pictures need matplotlib: pip install 'uniaudio[train]'") from problem
    figure = Figure(figsize=(8, 2 * len(wavs) + 0.5), layout="constrained")
    spectra = {name: log_mel(wav.detach().float().cpu(), sample_rate).numpy() for name, wav in wavs.items()}
    low, high = min(s.min() for s in spectra.values()), max(s.max() for s in spectra.values())
    seconds = max(wav.shape[-1] for wav in wavs.values()) / sample_rate
    for axes, (name, spectrum) in zip(figure.subplots(len(wavs), squeeze=False)[:, 0], spectra.items(), strict=True):
        extent = (0, spectrum.shape[1] * MEL_HOP / sample_rate, 0, MEL_BINS)
        axes.imshow(spectrum, origin="lower", aspect="auto", vmin=low, vmax=high, extent=extent, cmap="magma")
        axes.set(title=name, ylabel="mel band", xlim=(0, seconds))
    axes.set_xlabel("seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, force=True) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def usage(codes: Iterable[list[np.ndarray]], sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """Per level: its `codes`, how many are `used`, and the `perplexity` of their distribution."""
    counts = [np.zeros(size) for size in sizes]
    for segment in codes:
        for count, level in zip(counts, segment, strict=True):
            np.add.at(count, level, 1)
    found = []
    for count in counts:
        share = count[count > 0] / count.sum()
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        found.append({"codes": len(count), "used": int((count > 0).sum()), "perplexity": round(perplexity, 1)})
    return found


def code_rates(codec: Codec) -> list[float]:
    """Codes a second, by level."""
    return [codec.sample_rate / codec.hop_length / stride for stride in codec.strides]


def bits(rates: Sequence[float], sizes: Sequence[float]) -> float:
    """Bits a second of levels with so many codes a second. `sizes`: of codebooks, or their codes' perplexities."""
    return float(sum(rate * np.log2(size) for rate, size in zip(rates, sizes, strict=True)))
