"""A sound file to codes, codes to sound, and codes from JSON: one clip of `uniaudio codec`. Never knows the batch."""

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


class EncodedClip(NamedTuple):
    """A clip in codes, int64 [1, T_k] per level. `samples`: its length at the codec's rate. `gain`: what it was
    multiplied by before it was heard, as some codecs hear all clips at one level; None for silence."""

    codes: list[Tensor]
    samples: int
    gain: float | None


def listen(codec: Codec, file: Path) -> EncodedClip:
    """Read and encode a file."""
    from uniaudio_cli.audio.io import read_wav
    from uniaudio_cli.audio.transforms import normalise_level

    wav = read_wav(file, codec.sample_rate)
    wanted = codec.config.level_db
    heard = wav if wanted is None else normalise_level(wav, wanted, codec.sample_rate)
    peak = float(wav.abs().max())
    gain = None if peak == 0 else float(heard.abs().max()) / peak
    return EncodedClip(codec.encode(heard[None]), wav.shape[-1], gain)


def sound(codec: Codec, heard: EncodedClip, seed: int) -> Tensor:
    """Decode to wav [1, samples], as loud as the clip was."""
    wav = codec.decode(heard.codes, seed=seed)[0, :, : heard.samples].cpu()
    return wav / heard.gain if heard.gain else 0 * wav


def stored(heard: EncodedClip, codec: str) -> dict[str, Any]:
    """What `encode` writes, as JSON; `read_codes` reads it."""
    codes = [row[0].tolist() for row in heard.codes]
    return {"codec": codec, "samples": heard.samples, "gain": heard.gain, "codes": codes}


def read_codes(codec: Codec, file: Path) -> EncodedClip:
    """Raises UniAudioError where the file cannot be read or does not hold codes of this codec."""
    import torch

    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        codes = [torch.tensor([row]) for row in found["codes"]]
        heard = EncodedClip(codes, found["samples"], found["gain"])
        if any(row.dtype != torch.int64 for row in codes):
            raise ValueError("codes are whole numbers")
        codec.check(codes)
        longest = codes[0].shape[-1] * codec.strides[0] * codec.hop_length
        if type(heard.samples) is not int or not 0 < heard.samples <= longest:
            raise ValueError(f"'samples' must be a whole number from 1 to {longest}")
        if heard.gain is not None and not (type(heard.gain) in (int, float) and 0 < heard.gain < math.inf):
            raise ValueError("'gain' must be a number above 0 or null")
    except OSError as problem:
        raise UniAudioError(f"{show(file)}: cannot be read ({problem.strerror})") from problem
    except KeyError as problem:
        raise UniAudioError(f"{show(file)}: not codes of this codec (no {problem})") from problem
    except (ValueError, TypeError, AttributeError, OverflowError, RuntimeError, RecursionError) as problem:
        raise UniAudioError(f"{show(file)}: not codes of this codec ({problem})") from problem
    return heard
