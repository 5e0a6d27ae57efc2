"""Cache on disk: the codes of a demonstration that another run has encoded, and how clear its reconstruction is.

The key is a hash of the clip's samples and of the codec's weights, so an entry never serves another clip or codec.
"""

from __future__ import annotations

import hashlib
import json
import math
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

    def file(self, wav: Tensor, what: str = "") -> Path:
        """Where the codes of wav float32 [1, T] are kept, or the number called `what`."""
        digest = hashlib.sha256(wav.contiguous().cpu().numpy().tobytes())
        digest.update(what.encode())
        return self.folder / self._codec_key / f"{digest.hexdigest()}.json"

    def codes(self, wav: Tensor) -> list[list[int]] | None:
        """Codes per level, or None where the cache has no valid entry."""
        try:
            rows = json.loads(self.file(wav).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        sizes = self.codec.config.sizes
        if not isinstance(rows, list) or len(rows) != len(sizes) or not all(isinstance(row, list) for row in rows):
            return None
        valid = all(
            isinstance(code, int) and 0 <= code < size for row, size in zip(rows, sizes, strict=True) for code in row
        )
        return rows if valid else None

    def keep(self, wav: Tensor, codes: list[list[int]]) -> None:
        """Write codes; a folder that cannot be written is no error."""
        _write(self.file(wav), codes)

    def number(self, wav: Tensor, what: str) -> float | None:
        """A number that was measured of wav, or None where the cache has no valid entry."""
        try:
            found = json.loads(self.file(wav, what).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, float) and math.isfinite(found) else None

    def keep_number(self, wav: Tensor, what: str, number: float) -> None:
        """Write a number, as `keep`. `what` identifies all that it depends on besides wav and codec."""
        _write(self.file(wav, what), number)


def _write(path: Path, value: object) -> None:
    with suppress(OSError, UniAudioError), atomic(path, force=True) as temporary:
        temporary.write_text(json.dumps(value), encoding="utf-8")
