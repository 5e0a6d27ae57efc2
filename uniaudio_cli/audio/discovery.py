"""TODO."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_file, is_folder, show

EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64"}
)


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """The audio files that `paths` stand for, in the order given, each once.

    A folder is searched through (sorted, hidden files left out); a .txt list has one path a line and an .scp list
    `key path`, relative to the list; a pattern such as `clips/*.wav` or `clips/**/*.wav` is expanded as a folder is.
    Anything else, a missing file too, comes back as it is, for whoever reads it to report.

    Raises:
        UsageError: a folder, list or pattern that yields no file, or a line of an .scp without a path.
    """
    return list(dict.fromkeys(found for path in paths for found in _expand(path)))


def _expand(path: Path) -> list[Path]:
    if is_folder(path):
        found, kind = _in_folder(path), "folder"
    elif is_file(path):
        if path.suffix.lower() not in (".txt", ".scp"):
            return [path]
        found, kind = _in_list(path), "list"
    elif glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute too)
        found, kind = [p for match in matches for p in (_in_folder(match) if match.is_dir() else [match])], "pattern"
        found = [p for p in found if p.suffix.lower() in EXTENSIONS]
    else:
        return [path]
    if not found:
        raise UsageError(f"{show(path)}: this {kind} holds no audio file")
    return found


def _in_folder(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and not path.is_dir())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _in_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise UniAudioError(f"{show(path)}: cannot be read ({error.strerror})") from error
    found = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and path.suffix.lower() == ".scp":
            fields = line.split(maxsplit=1)
            if len(fields) != 2:
                raise UsageError(f"{show(path)}:{number}: a line of an .scp list is 'key path', not '{show(line)}'")
            line = fields[1]
        if line:
            found.append(path.parent / line)
    return found
