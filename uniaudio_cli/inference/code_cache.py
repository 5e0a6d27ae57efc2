"""Codes of clips that were heard before, on disk: a wav in, the codes it had last time out. Never knows files of sound.

A clip is known by its samples and a codec by its weights, so what is remembered is never another's; a clip that cannot
be remembered is heard anew.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic


@dataclass(frozen=True)
class CodeCache:
    """One small JSON file a clip, below a folder for each codec."""

    folder: Path
    codec: Codec

    @cached_property
    def _codec_key(self) -> str:
        digest = hashlib.sha256(f"{self.codec.config} {self.codec.device.type}".encode())
        for name, value in sorted(self.codec.state_dict().items()):
            digest.update(f"{name} {value.dtype}".encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    def file(self, wav: Tensor) -> Path:
        """Where the codes of wav float32 [1, T] are, or would be."""
        digest = hashlib.sha256(wav.contiguous().cpu().numpy().tobytes())
        return self.folder / self._codec_key / f"{digest.hexdigest()}.json"

    def codes(self, wav: Tensor) -> list[list[int]] | None:
        """Codes per level, or None where this clip was not heard before."""
        try:
            rows = json.loads(self.file(wav).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        sizes = self.codec.config.sizes
        fine = isinstance(rows, list) and len(rows) == len(sizes) and all(isinstance(row, list) for row in rows)
        if not fine or not all(
            isinstance(code, int) and 0 <= code < size for row, size in zip(rows, sizes, strict=True) for code in row
        ):
            return None
        return rows

    def keep(self, wav: Tensor, codes: list[list[int]]) -> None:
        """Remember; nothing happens where that cannot be written."""
        with suppress(OSError, UniAudioError), atomic(self.file(wav), force=True) as temporary:
            temporary.write_text(json.dumps(codes), encoding="utf-8")
