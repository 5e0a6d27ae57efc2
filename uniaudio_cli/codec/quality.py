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
import torch.nn.functional as F
from torch import Tensor

from uniaudio_cli.audio import normalise_level, read_wav
from uniaudio_cli.codec.listing import Row
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.small import mel_filters
from uniaudio_cli.errors import UniAudioError, UsageError
from uniaudio_cli.files import atomic

PIECE_SECONDS = 3.0
AT_ONCE = 32
PESQ_RATE = DNSMOS_RATE = 16_000
MEL_WINDOW, MEL_HOP, MEL_BINS = 1024, 256, 80
LOUD = 4.0  # nats below the loudest frame
FLOOR = 1e-3  # of magnitudes under a logarithm


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


def log_mel(wav: Tensor, sample_rate: int) -> Tensor:
    """wav float32 [1, T] -> log-mel spectrum [80, T / 256 + 1], in nats, 64-ms windows; a clip that is shorter than one
    is padded with silence."""
    wav = F.pad(wav, (0, max(0, MEL_WINDOW - wav.shape[-1])))
    window, filters = torch.hann_window(MEL_WINDOW), mel_filters(MEL_BINS, MEL_WINDOW, sample_rate)
    spectrum = torch.stft(wav[0], MEL_WINDOW, MEL_HOP, window=window, return_complex=True).abs()
    return (filters @ spectrum + FLOOR).log()


def texture(wav: Tensor, sample_rate: int) -> np.ndarray:
    """What a sound is like, whenever what happens in it: for every band of the log-mel spectrum of wav [1, T] the mean,
    the spread and the spread of the change from one frame to the next. float32 [240]."""
    bands = log_mel(wav, sample_rate).numpy()
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1), np.diff(bands, axis=1).std(axis=1)])


def mel_distance(target: Tensor, made: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectra, in nats."""
    return float((log_mel(target, sample_rate) - log_mel(made, sample_rate)).abs().mean())


def loud_distance(target: Tensor, made: Tensor, sample_rate: int) -> float:
    """`mel_distance` over the frames of the target that are near its loudest: what a listener goes by."""
    a, b = log_mel(target, sample_rate), log_mel(made, sample_rate)
    loudness = a.mean(dim=0)
    return float((a - b)[:, loudness > loudness.max() - LOUD].abs().mean())


def stft_distance(target: Tensor, made: Tensor) -> float:
    """`spectral_distance` of wavs [1, T], the mean over windows of 512 to 2,048."""
    found = []
    for window in (512, 1024, 2048):
        hann = torch.hann_window(window)
        a, b = (
            torch.stft(wav[0], window, window // 4, window=hann, return_complex=True).abs() for wav in (made, target)
        )
        found.append(spectral_distance(a, b))
    return float(torch.stack(found).mean())


def spectral_distance(made: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence plus L1 between log-magnitudes, a scalar; both [..., bins, T]. A training loss too."""
    convergence = torch.linalg.vector_norm(made - target) / torch.linalg.vector_norm(target).clamp(min=FLOOR)
    return convergence + F.l1_loss((made + FLOOR).log(), (target + FLOOR).log())


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
