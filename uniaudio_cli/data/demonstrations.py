"""A folder of clips, or its metadata file, to demonstrations (paths, labels, texts). Opens no audio, knows no codec."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uniaudio_cli.audio.discovery import EXTENSIONS, find_audio
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_file, is_folder, show, suggest
from uniaudio_cli.prompting.task import DemonstrationKind

T = TypeVar("T")

# Clips of a label that are looked at where the most typical are wanted.
CANDIDATES = 50


@dataclass(frozen=True)
class Demonstration:
    """One worked example: a clip and its label, the text it answers, or the clean `target` of the noisy clip."""

    audio: Path
    label: str | None = None
    text: str | None = None
    target: Path | None = None


def load_demonstrations(folder: Path, wants: DemonstrationKind) -> list[Demonstration]:
    """The demonstrations in `folder`, by label, then by path.

    With a metadata.csv or metadata.jsonl, its rows and nothing else: `file_name` and `label`, `text` (or `label`, read
    out) or `target`. Without one, `label/clip.wav` (searched through; the label serves as text too) or, for pairs,
    `noisy/x.wav` beside `clean/x.wav`.

    Raises:
        UsageError: the folder, a row or a file is missing, or does not say what `wants` asks for.
    """
    if not is_folder(folder):
        raise UsageError(f"{show(folder)}: {'is a file, not a folder' if is_file(folder) else 'no such folder'}")
    metadata = [file for file in (folder / "metadata.csv", folder / "metadata.jsonl") if file.exists()]
    if len(metadata) == 2:
        raise UsageError(f"{show(folder)}: holds metadata.csv and metadata.jsonl; keep one of them")
    if metadata:
        found = _from_metadata(metadata[0], wants)
    else:
        found = _from_pairs(folder) if wants == "pair" else _from_labels(folder, wants)
    labels = {demonstration.label for demonstration in found}
    if wants == "label" and len(labels) < 2:
        raise UsageError(f"{show(folder)}: holds the one label {labels.pop()!r}, and a choice takes two or more")
    return sorted(found, key=lambda demonstration: (_group(demonstration), demonstration.audio))


def choose(
    demonstrations: Sequence[Demonstration],
    shots: int,
    seed: int,
    labels: Collection[str] | None = None,
    ranked: Callable[[list[Demonstration], int], list[Demonstration]] | None = None,
) -> list[Demonstration]:
    """`shots` demonstrations of each label (all of a label that has fewer), of all labels or of those in `labels`.

    Texts count as labels, and pairs as one label. Seeded, in rounds of one demonstration a label, each round in an
    order of its own. What is drawn for a label depends on neither the other labels nor `shots`: one shot is the first
    of three.

    `ranked`: what puts a label's demonstrations, drawn at random and `CANDIDATES` at most, in the order that shots are
    taken in; as drawn where None.

    Raises:
        UsageError: a label that no demonstration has.
    """
    groups: dict[str, list[Demonstration]] = {}
    for demonstration in demonstrations:
        groups.setdefault(_group(demonstration), []).append(demonstration)
    for label in labels or ():
        if label not in groups:
            raise UsageError(f"no demonstration of {label!r}{suggest(label, groups)}; there are {', '.join(groups)}")
    kept = sorted(groups if labels is None else set(labels))
    drawn = {label: _shuffled(groups[label], f"{seed} {label}") for label in kept}
    if ranked is not None:
        drawn = {label: ranked(drawn[label][: max(CANDIDATES, shots)], shots) for label in kept}
    drawn = {label: drawn[label][:shots] for label in kept}
    chosen: list[Demonstration] = []
    for number in range(max(map(len, drawn.values()), default=0)):
        order = _shuffled(kept, f"{seed} round {number}")
        chosen += [drawn[label][number] for label in order if number < len(drawn[label])]
    return chosen


def _group(demonstration: Demonstration) -> str:
    return demonstration.text or demonstration.label or ""


def _shuffled(items: Sequence[T], seed: str) -> list[T]:
    return random.Random(seed).sample(items, len(items))


def _from_labels(folder: Path, wants: DemonstrationKind) -> list[Demonstration]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    loose = [path for path in entries if path.suffix.lower() in EXTENSIONS and path.is_file()]
    if loose:
        raise UsageError(f"{show(loose[0])}: lies in no label's folder; move it to one named by its label")
    if not folders:
        raise UsageError(f"{show(folder)}: holds no clips; put them in folders named by label, or write metadata.csv")
    found = []
    for each in folders:
        label = _one_line(each.name, show(each))
        if not label:
            raise UsageError(f"{show(folder)}: holds a folder named by blanks, and that is no label")
        text = label if wants == "text" else None
        found += [Demonstration(audio, label, text) for audio in find_audio([each])]
    return found


def _from_pairs(folder: Path) -> list[Demonstration]:
    noisy, clean = _by_stem(folder / "noisy"), _by_stem(folder / "clean")
    for ours, other, name in ((noisy, clean, "clean"), (clean, noisy, "noisy")):
        for stem in sorted(ours.keys() - other.keys()):
            raise UsageError(f"{show(ours[stem])}: has no partner in {show(folder / name)}")
    return [Demonstration(audio, target=clean[stem]) for stem, audio in noisy.items()]


def _by_stem(side: Path) -> dict[Path, Path]:
    """Path below `side` without its suffix -> file."""
    if not is_folder(side):
        raise UsageError(f"{show(side)}: no such folder; pairs lie in noisy/ and clean/, or are listed in metadata.csv")
    found: dict[Path, Path] = {}
    for path in find_audio([side]):
        stem = path.relative_to(side).with_suffix("")
        if stem in found:
            raise UsageError(f"{show(path)}: another {show(found[stem].name)} lies beside it; keep one of them")
        found[stem] = path
    return found


def _from_metadata(file: Path, wants: DemonstrationKind) -> list[Demonstration]:
    found = []
    for where, row in _rows(file):
        audio = _listed(row, "file_name", file.parent, where)
        if wants == "pair":
            found.append(Demonstration(audio, target=_listed(row, "target", file.parent, where)))
            continue
        label = _words(row, "label", where) if wants == "label" or "label" in row else None
        text = (_words(row, "text", where) if "text" in row or not label else label) if wants == "text" else None
        found.append(Demonstration(audio, label, text))
    if not found:
        raise UsageError(f"{show(file)}: holds no rows")
    return found


def _rows(file: Path) -> Iterator[tuple[str, dict]]:
    """(where, row) of each row of a .csv with a header, or of a .jsonl."""
    try:
        content = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{show(file)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{show(file)}: is not UTF-8 text") from error
    if file.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(content), skipinitialspace=True)
        try:
            for row in reader:
                yield f"{show(file)}:{reader.line_num}", row
        except csv.Error as error:
            raise UsageError(f"{show(file)}: {error}") from error
    else:
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                yield f"{show(file)}:{number}", _object(line, f"{show(file)}:{number}")


def _object(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: is not JSON") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: is not a JSON object of names and values")
    return row


def _cell(row: dict, column: str, where: str) -> str:
    if column not in row:
        raise UsageError(f"{where}: no column {column!r} among {', '.join(show(str(name)) for name in row)}")
    value = row[column]
    if type(value) not in (str, int) or not str(value).strip():
        raise UsageError(f"{where}: {column!r} is empty or not text")
    return str(value)


def _listed(row: dict, column: str, folder: Path, where: str) -> Path:
    path = folder / _cell(row, column, where)
    if not is_file(path):
        raise UsageError(f"{where}: {column!r} is {show(path)}: no such file")
    return path


def _words(row: dict, column: str, where: str) -> str:
    return _one_line(_cell(row, column, where), where)


def _one_line(text: str, where: str) -> str:
    """`text` as one line of a prompt: white space of any kind and length is one space."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: '{show(text)}' is not UTF-8 text") from error
    return " ".join(text.split())
