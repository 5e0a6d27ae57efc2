"""Cache on disk: the codes and features of a demonstration that another run has encoded.

The key is a hash of the clip's samples and of the codec's weights, so an entry never serves another clip or codec.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic


@dataclass(frozen=True)
class CodeCache:
    """One small file a clip, below a folder for each codec."""

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
        """Where the codes of wav float32 [1, T] are kept, or the array called `what`."""
        digest = hashlib.sha256(wav.contiguous().cpu().numpy().tobytes())
        digest.update(what.encode())
        return self.folder / self._codec_key / f"{digest.hexdigest()}.{'npy' if what else 'json'}"

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
        with suppress(OSError, UniAudioError), atomic(self.file(wav), force=True) as temporary:
            temporary.write_text(json.dumps(codes), encoding="utf-8")

    def array(self, wav: Tensor, what: str) -> NDArray[np.float16] | None:
        """What was measured of wav, or None where the cache has no valid entry."""
        try:
            with self.file(wav, what).open("rb") as stream:
                found = np.lib.format.read_array(stream, allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found if found.dtype == np.float16 and np.isfinite(found).all() else None

    def keep_array(self, wav: Tensor, what: str, array: NDArray[np.float16]) -> None:
        """Write an array, as `keep`. `what` identifies all that it depends on besides wav and codec."""
        with suppress(OSError, UniAudioError), atomic(self.file(wav, what), force=True) as temporary:
            np.save(temporary, array, allow_pickle=False)
