"""Discovery: files, folders, lists and patterns to audio files, and a count of what is passed over."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_file, is_folder, show

# What libsndfile reads, and what FFmpeg does.
EXTENSIONS = frozenset(
    (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga", ".aif", ".aiff", ".aifc", ".au"),
        *(".snd", ".caf", ".w64", ".rf64", ".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".weba", ".mka"),
        *(".mkv", ".3gp", ".amr", ".wma", ".ac3"),
    )
)
# Folders that archivers and file servers leave behind.
LITTER = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


@dataclass(frozen=True)
class Discovery:
    """Audio files, each once, and the extensions of the files in folders that are none ("" for no extension)."""

    files: list[Path]
    passed_over: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """ "passed over 3 files: 2 .txt, 1 .pdf", or "" where nothing was."""
        total = self.passed_over.total()
        if not total:
            return ""
        counted = sorted(self.passed_over.items(), key=lambda item: (-item[1], item[0]))
        kinds = ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in counted)
        return f"passed over {total} file{'s' * (total != 1)}: {kinds}"


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """The audio files of `discover`."""
    return discover(paths).files


def discover(paths: Iterable[Path]) -> Discovery:
    """The audio files that `paths` stand for, in the order given, each once.

    A folder is searched through (sorted, links followed, hidden files left out); a .txt list has one path a line and an
    .scp list `key path`, relative to the list; a pattern such as `clips/*.wav` or `clips/**/*.wav` is expanded as a
    folder is. Anything else, a missing file too, is returned as it is: whoever reads it reports it.

    Raises:
        UsageError: a folder, list or pattern that yields no file, or a line of an .scp without a path.
    """
    passed_over: Counter[str] = Counter()
    return Discovery(list(dict.fromkeys(found for path in paths for found in _expand(path, passed_over))), passed_over)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or left behind by an archiver or a file server."""
    return name.startswith(".") or name.lower() in LITTER


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted, without litter. Linked folders are followed, each folder is visited once.

    Raises:
        UniAudioError: a folder that may not be read.
    """
    return iter(sorted(_walk(folder)))


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    links: list[Path] = [folder]
    while links:  # folders first, then what they link to: a file has the name of its own folder where that is inside
        waiting, links = links, []
        while waiting:
            try:
                here = waiting.pop()
                status = here.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(here) as entries:
                    for entry in entries:
                        if is_litter(entry.name):
                            continue
                        if not entry.is_dir():
                            yield here / entry.name
                        elif entry.is_symlink():
                            links.append(here / entry.name)
                        else:
                            waiting.append(here / entry.name)
            except OSError as error:
                raise UniAudioError(f"{show(error.filename)}: cannot be read ({error.strerror})") from error
        links.sort()


def _expand(path: Path, passed_over: Counter[str]) -> list[Path]:
    if is_folder(path):
        found, kind = _in_folder(path, passed_over), "folder"
    elif is_file(path):
        if path.suffix.lower() not in (".txt", ".scp"):
            return [path]
        found, kind = _in_list(path), "list"
    elif glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute too)
        found, kind = [p for match in matches for p in _matched(match, passed_over)], "pattern"
    else:
        return [path]
    if not found:
        others = Discovery([], passed_over).summary()
        raise UsageError(f"{show(path)}: this {kind} holds no audio file{f' ({others})' if others else ''}")
    return found


def _matched(match: Path, passed_over: Counter[str]) -> list[Path]:
    if match.is_dir():
        return _in_folder(match, passed_over)
    return [match] if match.suffix.lower() in EXTENSIONS else []


def _in_folder(folder: Path, passed_over: Counter[str]) -> list[Path]:
    found = []
    for path in walk(folder):
        if path.suffix.lower() in EXTENSIONS:
            found.append(path)
        else:
            passed_over[path.suffix.lower()] += 1
    return found


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
