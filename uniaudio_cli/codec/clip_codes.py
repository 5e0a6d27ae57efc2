"""A clip in codes: audio file to codes, codes to audio, and codes to and from JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from torch import Tensor

    from uniaudio_cli.codec.model import Codec


LONG_SECONDS = 60


class ClipCodes(NamedTuple):
    """A clip in codes, int64 [1, T_k] per level. `samples`: its length at the codec's rate. `gain`: the factor it was
    multiplied by before encoding, as some codecs encode all clips at one level; None for silence."""

    codes: list[Tensor]
    samples: int
    gain: float | None


def encode_file(codec: Codec, file: Path) -> ClipCodes:
    """Read and encode a file; one that is longer than `LONG_SECONDS` in pieces, with the same codes."""
    from uniaudio_cli.audio.io import read_audio
    from uniaudio_cli.codec.long_recordings import encode_long

    wav = read_audio(file, codec.sample_rate, max_seconds=LONG_SECONDS + 1)
    if wav.shape[-1] <= LONG_SECONDS * codec.sample_rate:
        return encode_wav(codec, wav)
    codes, level = encode_long(codec, file)
    return ClipCodes(codes, level.samples, level.peak_gain)


def encode_wav(codec: Codec, wav: Tensor) -> ClipCodes:
    """Encode wav float32 [1, T], at the codec's level."""
    from uniaudio_cli.audio.transforms import normalise_level

    wanted = codec.config.level_db
    levelled = wav if wanted is None else normalise_level(wav, wanted, codec.sample_rate)
    peak = float(wav.abs().max())
    gain = None if peak == 0 else float(levelled.abs().max()) / peak
    return ClipCodes(codec.encode(levelled[None]), wav.shape[-1], gain)


def decode_codes(codec: Codec, clip: ClipCodes, seed: int) -> Tensor:
    """Decode to wav [1, samples], as loud as the clip was."""
    wav = codec.decode(clip.codes, seed=seed)[0, :, : clip.samples].cpu()
    return wav / clip.gain if clip.gain else 0 * wav


def to_record(clip: ClipCodes, codec: str) -> dict[str, Any]:
    """What `encode` writes, as JSON; `from_record` reads it."""
    codes = [row[0].tolist() for row in clip.codes]
    return {"codec": codec, "samples": clip.samples, "gain": clip.gain, "codes": codes}


def from_record(codec: Codec, found: Any, name: str) -> ClipCodes:
    """What `to_record` makes, checked. Raises UniAudioError where it is no record of codes of this codec."""
    import torch

    try:
        codes = [torch.tensor([row]) for row in found["codes"]]
        clip = ClipCodes(codes, found["samples"], found["gain"])
        if any(row.dtype != torch.int64 for row in codes):
            raise ValueError("codes are whole numbers")
        codec.check(codes)
        longest = codes[0].shape[-1] * codec.strides[0] * codec.hop_length
        if type(clip.samples) is not int or not 0 < clip.samples <= longest:
            raise ValueError(f"'samples' must be a whole number from 1 to {longest}")
        if clip.gain is not None and not (type(clip.gain) in (int, float) and 0 < clip.gain < math.inf):
            raise ValueError("'gain' must be a number above 0 or null")
    except KeyError as problem:
        raise UniAudioError(f"{name}: not codes of this codec (no {problem})") from problem
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as problem:
        raise UniAudioError(f"{name}: not codes of this codec ({problem})") from problem
    return clip


def read_codes(codec: Codec, file: Path) -> ClipCodes:
    """Raises UniAudioError where the file cannot be read or does not hold codes of this codec."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UniAudioError(f"{show(file)}: cannot be read ({problem.strerror})") from problem
    except (ValueError, RecursionError) as problem:
        raise UniAudioError(f"{show(file)}: not codes of this codec ({problem})") from problem
    return from_record(codec, found, show(file))
