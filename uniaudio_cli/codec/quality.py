"""How much of a sound a codec keeps: clips in, measures and code usage out. Never knows files or tables.

STOI means nothing on half a second, so short clips are joined to pieces of at least `PIECE_SECONDS` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio import normalise_level
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.small import mel_filters

PIECE_SECONDS = 3.0
PESQ_RATE = 16_000


@dataclass(frozen=True)
class Quality:
    """One piece. `measures`: by name, only those whose package is installed and that are defined for the piece."""

    measures: dict[str, float]
    codes: list[np.ndarray]


def joined(wavs: Iterable[Tensor], sample_rate: int) -> Iterator[Tensor]:
    """Consecutive wavs [1, T] joined to pieces of at least PIECE_SECONDS; what is left over at the end is dropped."""
    held: list[Tensor] = []
    for wav in wavs:
        held.append(wav)
        if sum(each.shape[-1] for each in held) >= PIECE_SECONDS * sample_rate:
            yield torch.cat(held, dim=-1)
            held = []


def measure(codec: Codec, wav: Tensor, seed: int = 0) -> Quality:
    """Encode and decode wav float32 [1, T] and compare, both sides at the level the codec asks for."""
    if codec.config.level_db is not None:
        wav = normalise_level(wav, codec.config.level_db, codec.sample_rate)
    codes = codec.encode(wav[None])
    made = codec.decode(codes, seed=seed)[0, :, : wav.shape[-1]].cpu()
    found = {"mel_l1": mel_distance(wav, made, codec.sample_rate), "si_sdr": si_sdr(wav, made)}
    for name, of in _measures(codec.sample_rate).items():
        value = of(wav[0].numpy(), made[0].numpy())
        if value is not None:
            found[name] = value
    return Quality(found, [level[0].cpu().numpy() for level in codes])


def mel_distance(target: Tensor, made: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectra (80 bins, 64 ms windows), in nats."""
    window, filters = torch.hann_window(1024), mel_filters(80, 1024, sample_rate)

    def log_mel(wav: Tensor) -> Tensor:
        spectrum = torch.stft(wav[0], 1024, 256, window=window, return_complex=True).abs()
        return (filters @ spectrum + 1e-3).log()

    return float((log_mel(target) - log_mel(made)).abs().mean())


def si_sdr(target: Tensor, made: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; low for any codec that keeps sound rather than phase."""
    scale = (made * target).sum() / target.square().sum().clamp(min=1e-12)
    signal = (scale * target).square().sum()
    return float(10 * torch.log10(signal / (made - scale * target).square().sum().clamp(min=1e-12)))


def _measures(rate: int) -> dict[str, Callable[[np.ndarray, np.ndarray], float | None]]:
    found: dict[str, Callable[[np.ndarray, np.ndarray], float | None]] = {}
    try:
        from pystoi import stoi

        found["stoi"] = lambda target, made: float(stoi(target, made, rate))
    except ImportError:
        pass
    if rate == PESQ_RATE:
        try:
            from pesq import PesqError, pesq
        except ImportError:
            return found

        def score(mode: str) -> Callable[[np.ndarray, np.ndarray], float | None]:
            def of(target: np.ndarray, made: np.ndarray) -> float | None:
                value = pesq(rate, target, made, mode, on_error=PesqError.RETURN_VALUES)
                return None if value < 0 else float(value)

            return of

        found |= {"pesq_wb": score("wb"), "pesq_nb": score("nb")}
    return found


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
