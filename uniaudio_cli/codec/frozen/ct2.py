"""CTranslate2 model files: variables by name, as they are stored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show

VERSIONS = range(3, 7)  # of the binary format
# The dtype numbers of CTranslate2's files, in the order of its DataType.
DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("f4"),
    1: np.dtype("i1"),
    2: np.dtype("i2"),
    3: np.dtype("i4"),
    4: np.dtype("f2"),
}


def read_variables(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The variables of a model.bin whose names start with `prefix`; int8 matrices are multiplied out to float32.

    Raises:
        UniAudioError: not such a file, of another version, or cut short.
    """
    try:
        with path.open("rb") as file:
            found = _variables(file, prefix)
    except (OSError, ValueError, UnicodeDecodeError, struct.error) as problem:
        raise UniAudioError(f"{show(path)}: not a CTranslate2 model that can be read: {problem}") from problem
    # A scale for each row: float = int / scale.
    scales = {name.removesuffix("_scale"): value for name, value in found.items() if name.endswith("_scale")}
    return {
        name: value / scales[name].reshape(-1, *[1] * (value.ndim - 1)) if name in scales else value
        for name, value in found.items()
        if name.removesuffix("_scale") not in scales or name in scales
    }


def _variables(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    if (version := _number(file, "I")) not in VERSIONS:
        raise ValueError(f"binary version {version}, not {VERSIONS[0]} to {VERSIONS[-1]}")
    _text(file)  # the name of the model's specification
    _number(file, "I")  # and its revision
    for _ in range(_number(file, "I")):
        name = _text(file)
        rank = _number(file, "B")
        shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
        kind, size = _number(file, "B"), _number(file, "I")
        if not name.startswith(prefix):
            file.seek(size, 1)
        elif kind not in DTYPES:
            raise ValueError(f"{name} has dtype {kind}")
        else:
            found[name] = np.frombuffer(file.read(size), DTYPES[kind]).reshape(shape)
    for _ in range(_number(file, "I")):  # names that share another's data
        alias, name = _text(file), _text(file)
        if name in found:
            found[alias] = found[name]
    return found


def _number(file: BinaryIO, kind: str) -> int:
    return int(struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0])


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()
