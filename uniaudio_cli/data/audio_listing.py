"""Folders, files, lists and metadata.jsonl -> which clips there are and what is known of them. Never knows audio."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

from uniaudio_cli.audio.discovery import find_audio
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show

HELD_OUT = 20  # without metadata, one group in so many is kept for validation


@dataclass(frozen=True)
class Row:
    """One clip. `group`: one speaker, voice pack or collection, what a split keeps together. `kind`: speech, sound,
    music, or what else a recipe weighs. `text`: its transcript, caption or label, "" where none is known."""

    path: Path
    kind: str = "sound"
    group: str = ""
    split: str = "train"
    text: str = ""


def listing(source: Path) -> list[Row]:
    """Every clip that a folder's metadata.jsonl names, or else of a folder, a file or a list.

    Without metadata a clip's group is its folder.

    Raises:
        UniAudioError: there is no audio, or metadata that is not lines of JSON with a file_name each.
    """
    metadata = source / "metadata.jsonl"
    if not metadata.is_file():
        return [Row(path, group=str(path.parent), split=_split(path)) for path in find_audio([source])]
    known = [field.name for field in fields(Row)[1:]]
    try:
        found = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [Row(source / row["file_name"], **{key: str(row[key]) for key in known if key in row}) for row in found]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UniAudioError(f"{show(metadata)}: not lines of JSON with a file_name each ({problem!r})") from problem


def _split(path: Path) -> str:
    return "train" if zlib.crc32(path.parent.as_posix().encode()) % HELD_OUT else "validation"
