"""Clips inside a page: sound as MP3 and spectrograms as WebP, both as data URIs and within a total size."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from uniaudio_cli.audio.features import log_mel
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.core.errors import UniAudioError

RATE = 16_000
# Of a clip's sound; the rest is left out, and the page says so.
SECONDS = 8.0
# What all sound and pictures of a page may take, as base64.
MEGABYTES = 8.0
# libsndfile's scale from least to most compression; 0.9 is about 28 kbit/s at 16 kHz.
COMPRESSION = 0.9
# Pixels of a spectrogram, and how far below its loudest point it is black, in nats.
PIXELS, RANGE = (240, 64), 9.0


@dataclass(frozen=True)
class Medium:
    """A clip in a page. `audio`, `picture`: data URIs, "" where they found no room. `seconds`: whole length."""

    audio: str = ""
    picture: str = ""
    seconds: float = 0.0
    error: str = ""

    @property
    def cut(self) -> bool:
        """Whether the player holds the beginning alone."""
        return bool(self.audio) and self.seconds > SECONDS


@dataclass
class Room:
    """What a page has left for sound and pictures, in bytes."""

    left: float = MEGABYTES * 1e6
    refused: int = field(default=0)

    def take(self, uri: str) -> str:
        """`uri`, or "" where it does not fit."""
        if len(uri) > self.left:
            self.refused += 1
            return ""
        self.left -= len(uri)
        return uri


def medium(source: Path | Tensor, room: Room) -> Medium:
    """A file, or wav float32 [1, T] at 16 kHz, for a page; a clip that cannot be read says so."""
    if room.left <= 0:
        return Medium()
    try:
        wav = source if isinstance(source, Tensor) else read_wav(source, RATE, max_seconds=60.0)
    except UniAudioError as problem:
        return Medium(error=str(problem))
    start = wav[:, : int(SECONDS * RATE)]
    picture = room.take(_uri("image/webp", picture_bytes(start)))
    return Medium(room.take(_uri("audio/mpeg", sound_bytes(start))), picture, wav.shape[-1] / RATE)


def media(sources: Mapping[str, Path | Tensor], room: Room) -> dict[str, Medium]:
    """`medium` of each, in order, until the room is full."""
    return {name: medium(source, room) for name, source in sources.items()}


def sound_bytes(wav: Tensor) -> bytes:
    """wav float32 [1, T] at 16 kHz as MP3, which every browser plays; its peak at 0.9."""
    import soundfile

    samples = wav[0].numpy()
    peak = float(np.abs(samples).max(initial=0.0))
    file = io.BytesIO()
    loud = samples * (0.9 / peak) if peak else samples
    soundfile.write(file, loud, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=COMPRESSION)
    return file.getvalue()


def picture_bytes(wav: Tensor) -> bytes:
    """The log-mel spectrogram of wav [1, T] at 16 kHz as WebP: time to the right, pitch upwards, in viridis."""
    from matplotlib import colormaps
    from PIL import Image

    bands = log_mel(wav.detach().float(), RATE).numpy()[::-1]
    level = np.clip((bands - bands.max()) / RANGE + 1, 0, 1)
    colours = (255 * colormaps["viridis"](level)[..., :3]).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).resize(PIXELS, Image.Resampling.BILINEAR).save(file, "WEBP", quality=60)
    return file.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
