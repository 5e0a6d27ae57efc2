"""Reading of GGUF files: the header's fields, and the tensors mapped into memory.

The reader of the `gguf` package makes an object of every byte string and takes most of a minute for a vocabulary of
152,000 words; this one takes a second.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 4096

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class PackedTensor:
    """A tensor as it lies in the file: uint8 rows of a quantisation."""

    shape: tuple[int, ...]  # as in PyTorch, the rows first
    kind: int  # GGMLQuantizationType
    data: NDArray[np.uint8]  # [rows, bytes of a row]

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """float32 values, whole rows at a time."""
        from gguf import GGMLQuantizationType, dequantize

        for start in range(0, len(self.data), ROWS_AT_ONCE):
            yield dequantize(self.data[start : start + ROWS_AT_ONCE], GGMLQuantizationType(self.kind))

    def rows(self, part: slice) -> NDArray[np.float32]:
        from gguf import GGMLQuantizationType, dequantize

        values: NDArray[np.float32] = dequantize(self.data[part], GGMLQuantizationType(self.kind))
        return values


@dataclass(frozen=True)
class GGUFFile:
    fields: Mapping[str, Any]
    tensors: Mapping[str, PackedTensor]

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))


def read_gguf(path: Path) -> GGUFFile:
    """The header's fields, and the tensors mapped into memory.

    Raises:
        ValueError: it is no GGUF file of version 2 or 3, or cut short.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r")
    if bytes(data[:4]) != b"GGUF":
        raise ValueError("no GGUF file of version 2 or 3")
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise ValueError(f"not a whole GGUF file ({error})") from error


class _Header:
    """Reads a GGUF header from the front."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._view = memoryview(data.data)
        self.place = 0

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._view, self.place)
        self.place += struct.calcsize(f"<{code}")
        return value

    def string(self) -> str:
        length = self.scalar("Q")
        self.place += length
        return bytes(self._view[self.place - length : self.place]).decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        kind, length = self.scalar("I"), self.scalar("Q")
        if kind in _SCALARS:
            values = np.frombuffer(self._view, f"<{_SCALARS[kind]}", length, self.place).tolist()
            self.place += length * struct.calcsize(f"<{_SCALARS[kind]}")
            return values
        return [self.value(kind) for _ in range(length)]


def _parse(data: NDArray[np.uint8]) -> GGUFFile:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    header = _Header(data)
    if bytes(data[:4]) != b"GGUF" or (header.scalar("I"), header.scalar("I"))[1] not in (2, 3):
        raise ValueError("no GGUF file of version 2 or 3")
    tensor_count, field_count = header.scalar("Q"), header.scalar("Q")
    fields = {header.string(): header.value(header.scalar("I")) for _ in range(field_count)}
    listed = []
    for _ in range(tensor_count):
        name = header.string()
        shape = tuple(reversed([header.scalar("Q") for _ in range(header.scalar("I"))]))
        listed.append((name, shape, header.scalar("I"), header.scalar("Q")))
    alignment = fields.get("general.alignment", 32)
    start = -(-header.place // alignment) * alignment
    tensors = {}
    for name, shape, kind, offset in listed:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        width = shape[-1] // block * size
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        packed = data[start + offset : start + offset + rows * width]
        tensors[name] = PackedTensor(shape, kind, packed.reshape(rows, width))
    return GGUFFile(fields, tensors)
