"""How much of a sound a codec keeps: clips in, measures and code usage out. Never knows tables or the terminal.

STOI means nothing on half a second, so short clips are joined to pieces of at least `PIECE_SECONDS` first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.features import MEL_BINS, MEL_HOP, log_mel, mel_distance, stft_distance
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic
from uniaudio_cli.data.audio_listing import Row

PIECE_SECONDS = 3.0
AT_ONCE = 32
PESQ_RATE = DNSMOS_RATE = 16_000


@dataclass(frozen=True)
class Coded:
    """A piece [1, T] at the level the codec asks for, its codes, what they decode to, and how long both ways took."""

    original: Tensor
    codes: list[np.ndarray]
    made: Tensor
    seconds: float


@dataclass(frozen=True)
class Quality(Coded):
    """One piece. `measures`: by name, only those whose package is installed and that are defined for the piece."""

    measures: dict[str, float]


def pieces(
    rows: Sequence[Row], sample_rate: int, unread: Callable[[Row, UniAudioError], None] | None = None
) -> Iterator[Tensor]:
    """Clips joined to pieces [1, T] of at least PIECE_SECONDS, each of one group; what is left over is dropped.

    A clip that cannot be read is told to `unread`, and left out; without it, the error is raised.
    """
    for _, members in groupby(sorted(rows, key=lambda row: (row.group, row.path)), key=lambda row: row.group):
        held: list[Tensor] = []
        for row in members:
            try:
                held.append(read_wav(row.path, sample_rate))
            except UniAudioError as problem:
                if unread is None:
                    raise
                unread(row, problem)
            if sum(wav.shape[-1] for wav in held) >= PIECE_SECONDS * sample_rate:
                yield torch.cat(held, dim=-1)
                held = []


def measure(codec: Codec, wav: Tensor, seed: int = 0, mos: bool = True) -> Quality:
    """Encode and decode wav float32 [1, T] and compare, both sides at the level the codec asks for.

    `mos`: with DNSMOS, which takes longer than all else.
    """
    return next(measured(codec, [wav], seed, mos))


def measured(codec: Codec, wavs: Iterable[Tensor], seed: int = 0, mos: bool = True) -> Iterator[Quality]:
    """`measure` of each. The codec does AT_ONCE of them before the judges come: their threads would slow it down."""
    waiting = iter(wavs)
    while some := [coded(codec, wav, seed) for wav in islice(waiting, AT_ONCE)]:
        yield from (judged(each, codec.sample_rate, mos) for each in some)


def coded(codec: Codec, wav: Tensor, seed: int = 0) -> Coded:
    """Encode and decode wav float32 [1, T]."""
    if codec.config.level_db is not None:
        wav = normalise_level(wav, codec.config.level_db, codec.sample_rate)
    started = time.perf_counter()
    codes = codec.encode(wav[None])
    made = codec.decode(codes, seed=seed)[0, :, : wav.shape[-1]].cpu()
    seconds = time.perf_counter() - started
    return Coded(wav, [level[0].cpu().numpy() for level in codes], made, seconds)


def judged(piece: Coded, sample_rate: int, mos: bool = True) -> Quality:
    """All measures of a piece."""
    wav, made = piece.original, piece.made
    found = {
        "times_real_time": wav.shape[-1] / sample_rate / piece.seconds,
        "mel_l1": mel_distance(wav, made, sample_rate),
        "stft": stft_distance(wav, made),
    }
    found |= compared(wav, made, sample_rate, mos)
    if mos and (judge := dnsmos()) is not None and sample_rate == DNSMOS_RATE:
        found["dnsmos_original"] = judge(wav[0].numpy())
    return Quality(**vars(piece), measures=found)


def si_sdr(target: Tensor, made: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; low for any codec that keeps sound rather than phase."""
    scale = (made * target).sum() / target.square().sum().clamp(min=1e-12)
    signal = (scale * target).square().sum()
    return float(10 * torch.log10(signal / (made - scale * target).square().sum().clamp(min=1e-12)))


def compared(target: Tensor, made: Tensor, sample_rate: int, mos: bool = True) -> dict[str, float]:
    """SI-SDR in dB, and STOI, PESQ (wide and narrow band) and the DNSMOS of `made`, of wavs [1, T].

    Only what is installed (`uniaudio[quality]`), is for this rate and is defined for these wavs.
    """
    wavs = target[0].numpy(), made[0].numpy()
    found = {"si_sdr": si_sdr(target, made)}
    with suppress(ImportError):
        from pystoi import stoi

        found["stoi"] = float(stoi(*wavs, sample_rate))
    if sample_rate == PESQ_RATE:
        with suppress(ImportError):
            from pesq import PesqError, pesq

            for mode in ("wb", "nb"):
                value = pesq(sample_rate, *wavs, mode, on_error=PesqError.RETURN_VALUES)
                if value >= 0:  # below: nothing to be heard in one of them
                    found[f"pesq_{mode}"] = float(value)
    if mos and sample_rate == DNSMOS_RATE and (judge := dnsmos()) is not None:
        found["dnsmos"] = judge(wavs[1])
    return found


@cache
def dnsmos() -> Callable[[np.ndarray], float] | None:
    """DNSMOS overall quality of a wav [T] at 16 kHz, 1 to 5; None where `speechmos` is not installed."""
    try:
        from speechmos import dnsmos as judge
    except ImportError:
        return None

    def overall(wav: np.ndarray) -> float:
        return float(judge.run(wav.clip(-1, 1), sr=DNSMOS_RATE)["ovrl_mos"])

    return overall


def spectrograms(path: Path, wavs: Mapping[str, Tensor], sample_rate: int) -> None:
    """Write a picture with the log-mel spectrum of each wav [1, T] below the other, by name, over the same colours.

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
    """Per level: codes used at all, and the perplexity of their distribution."""
    counts = [np.zeros(size) for size in sizes]
    for piece in codes:
        for count, level in zip(counts, piece, strict=True):
            np.add.at(count, level, 1)
    found = []
    for count in counts:
        share = count[count > 0] / count.sum()
        perplexity = float(np.exp(-(share * np.log(share)).sum()))
        found.append({"codes": len(count), "used": int((count > 0).sum()), "perplexity": round(perplexity, 1)})
    return found


def bits_per_second(codec: Codec, perplexities: Sequence[float]) -> tuple[float, float]:
    """(what the codes take written plainly, what they take by how often each is used)."""
    rates = [codec.sample_rate / codec.hop_length / stride for stride in codec.strides]
    plain = sum(rate * np.log2(size) for rate, size in zip(rates, codec.config.sizes, strict=True))
    return float(plain), float(sum(rate * np.log2(p) for rate, p in zip(rates, perplexities, strict=True)))
