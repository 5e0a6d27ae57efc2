"""Duplicates: paths to one file, and files with the same bytes. Only files of one size are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

ENDS = 4096  # bytes at both ends that are compared before the whole


def clip_ids(paths: Sequence[Path]) -> list[str]:
    """What is equal for paths to one file and for files with the same bytes; empty files differ."""
    real = [path.resolve() for path in paths]
    ids = {path: str(path) for path in real}
    for same_size in _equal_by(_size, ids):
        for same_ends in _equal_by(_ends, same_size):
            for same in _equal_by(_sha256, same_ends):
                ids |= dict.fromkeys(same, str(min(same)))
    return [ids[path] for path in real]


def _equal_by(key: Callable[[Path], str], paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Paths in groups of two or more with the same key; "" is equal to none."""
    keyed = sorted((value, path) for path in paths if (value := key(path)))
    for _, group in groupby(keyed, key=lambda pair: pair[0]):
        if len(members := [path for _, path in group]) > 1:
            yield members


def _size(path: Path) -> str:
    try:
        return str(path.stat().st_size or "")
    except OSError:
        return ""  # reported by whoever reads it


def _ends(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(ENDS)
            file.seek(max(0, path.stat().st_size - ENDS))
            return hashlib.sha256(start + file.read()).hexdigest()
    except OSError:
        return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
