"""Manifests: metadata.csv, metadata.jsonl, label folders and pairs of folders to typed rows, checked row by row."""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from uniaudio_cli.audio.discovery import EXTENSIONS, Discovery, discover, find_audio, is_litter
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_file, is_folder, show, suggest
from uniaudio_cli.data.duplicates import clip_ids
from uniaudio_cli.data.rows import read_rows

Need = Literal["label", "text", "pair"]
"""What every row must have: a label, a text (or a label to take for one), or a target."""
Note = Callable[[str], None]

NAMES = ("metadata.csv", "metadata.jsonl")
SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"})
HELD_OUT = 20  # without metadata, one group in so many is kept for validation


@dataclass(frozen=True)
class Row:
    """One clip; "" stands for none.

    `group`: its speaker or recording. `kind`: speech, sound, music, or what else a recipe weighs. `text`: its
    transcript, caption or answer. `target`: the clean side of a pair. `name`: its path as listed, without suffix.
    `where`: the line or folder that errors name.
    """

    path: Path
    kind: str = "sound"
    group: str = ""
    split: str = "train"
    text: str = ""
    label: str = ""
    target: Path | None = None
    name: str = ""
    where: str = ""


def no_notes(_: str) -> None:
    """Drops notes."""


def read_manifest(source: Path, need: Need, split: str | None = None, note: Note = no_notes) -> list[Row]:
    """The rows of a metadata file, of a folder with one, or of a folder of label folders or pairs.

    With a metadata.csv or metadata.jsonl, its rows and nothing else, with columns `file_name` and `label`, `text` or
    `target`, and optionally `group`, `split` and `kind`. Without one, `label/clip.wav` (searched through) or, for
    pairs, `noisy/x.wav` beside `clean/x.wav`. A clip listed twice, or there under two names, counts once.

    Args:
        split: only these rows, or the folder of this name where folders are splits.
        note: called with a line for people on what is left out.

    Raises:
        UsageError: something is missing, ambiguous or contradictory; one line with the file and the line number.
    """
    if not is_file(source) and not is_folder(source):
        raise UsageError(f"{show(source)}: no such folder")
    metadata = metadata_file(source)
    if metadata is None and split is not None and is_folder(source / split):
        source, split = source / split, None
        metadata = metadata_file(source)
    if metadata is not None:
        rows = _from_metadata(metadata, need)
        if split is not None:
            rows = [row for row in rows if row.split == split]
        elif len(splits := sorted({row.split for row in rows})) > 1:
            note(f"note: {show(metadata)} has rows of {', '.join(splits)}; all are used")
        if not rows:
            raise UsageError(f"{show(metadata)}: holds no rows{f' of split {split!r}' if split else ''}")
    elif split is not None:
        raise UsageError(f"{show(source)}: holds no split {split!r}")
    else:
        rows = _from_pairs(source) if need == "pair" else _from_label_folders(source, need, note)
    rows = once(rows, need, note)
    if need == "label":
        _check_alike(rows)
    return rows


def metadata_file(source: Path) -> Path | None:
    """The metadata file that `source` is or holds, None where it holds none. Raises UsageError for two."""
    if is_file(source):
        if source.suffix not in (".csv", ".jsonl"):
            raise UsageError(f"{show(source)}: is no folder, and no .csv or .jsonl that lists clips")
        return source
    found = [source / name for name in NAMES if (source / name).exists()]
    if len(found) == 2:
        raise UsageError(f"{show(source)}: holds metadata.csv and metadata.jsonl; keep one of them")
    return found[0] if found else None


def listing(source: Path) -> list[Row]:
    """Every clip that a folder's metadata names, or else of a folder, a file or a list, for training and measuring.

    Without metadata a clip's group is its folder, and one folder in `HELD_OUT` is the validation split.

    Raises:
        UsageError: there is no audio, or a row of the metadata has no file_name.
    """
    metadata = metadata_file(source) if is_folder(source) else None
    if metadata is None:
        return [Row(path, group=str(path.parent), split=_drawn_split(path)) for path in find_audio([source])]
    rows = []
    for where, cells in read_rows(metadata):
        row = Row(source / _cell(cells, "file_name", where), where=where)
        given = {key: str(cells[key]) for key in ("kind", "group", "split", "text") if cells.get(key) not in (None, "")}
        rows.append(replace(row, **given))  # type: ignore[arg-type]
    return rows


def normalise_label(text: str, where: str) -> str:
    """`text` as one line: white space of any kind and length is one space, and Unicode is composed (NFC)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: '{show(text)}' is not UTF-8 text") from error
    if "\0" in text:
        raise UsageError(f"{where}: '{show(text)}' holds a NUL, which no text has")
    return " ".join(unicodedata.normalize("NFC", text).split())


# ---- metadata files


def _from_metadata(file: Path, need: Need) -> list[Row]:
    rows = []
    for where, cells in read_rows(file):
        path = _listed(cells, "file_name", file.parent, where)
        name = Path(str(cells["file_name"])).with_suffix("").as_posix()
        row = replace(Row(path, name=name, where=where), **_optional(cells, where))  # type: ignore[arg-type]
        if need == "pair":
            rows.append(replace(row, target=_listed(cells, "target", file.parent, where)))
            continue
        label = _words(cells, "label", where) if need == "label" or "label" in cells else ""
        text = (_words(cells, "text", where) if "text" in cells or not label else label) if need == "text" else ""
        rows.append(replace(row, label=label, text=text))
    if not rows:
        raise UsageError(f"{show(file)}: holds no rows")
    return rows


def _optional(cells: dict[str, Any], where: str) -> dict[str, str]:
    return {key: _cell(cells, key, where) for key in ("kind", "group", "split") if cells.get(key) not in (None, "")}


def _cell(row: dict[str, Any], column: str, where: str) -> str:
    if column not in row:
        names = ", ".join(show(str(name)) for name in row if name)
        hint = suggest(column, [str(name) for name in row])
        one = next(iter(row), "")
        hint = next((f"; columns are separated by commas, not {s!r}" for s in (";", "\t") if s in one), hint)
        raise UsageError(f"{where}: no column {column!r} among {names}{hint}")
    value = row[column]
    if type(value) not in (str, int) or not str(value).strip():
        raise UsageError(f"{where}: {column!r} is empty or not text")
    return str(value)


def _listed(row: dict[str, Any], column: str, folder: Path, where: str) -> Path:
    cell = _cell(row, column, where)
    # Spreadsheets and file systems write the same accents in different forms.
    for name in dict.fromkeys((cell, *(unicodedata.normalize(form, cell) for form in ("NFC", "NFD")))):
        if is_file(folder / name):
            return folder / name
    raise UsageError(f"{where}: {column!r} is {show(folder / cell)}: no such file")


def _words(row: dict[str, Any], column: str, where: str) -> str:
    return normalise_label(_cell(row, column, where), where)


# ---- folders


def _from_label_folders(folder: Path, need: Need, note: Note) -> list[Row]:
    entries = sorted(path for path in folder.iterdir() if not is_litter(path.name))
    folders = [path for path in entries if path.is_dir()]
    loose = [path for path in entries if path.suffix.lower() in EXTENSIONS and path.is_file()]
    if loose:
        raise UsageError(f"{show(loose[0])}: lies in no label's folder; move it to one named by its label")
    if not folders:
        raise UsageError(f"{show(folder)}: holds no clips; put them in folders named by label, or write metadata.csv")
    if all(path.name.casefold() in SPLITS for path in folders):
        names = ", ".join(path.name for path in folders)
        one = next((path for path in folders if path.name.casefold().startswith("train")), folders[0])
        raise UsageError(f"{show(folder)}: {names}: splits, not labels; name one of them, such as {show(one)}")
    found: dict[Path, Discovery] = {}
    labels: dict[str, Path] = {}
    for each in folders:
        label = normalise_label(each.name, show(each))
        if not label:
            raise UsageError(f"{show(folder)}: holds a folder named by blanks, and that is no label")
        if (other := labels.setdefault(label, each)) != each:
            raise UsageError(
                f"{show(each)}: its name {each.name!a} differs from {other.name!a} in spaces or Unicode form alone; "
                "name them alike"
            )
        found[each] = discover([each])
    if all(path.parent != each for each, clips in found.items() for path in clips.files):
        names = ", ".join(show(each.name) for each in folders[:3])
        raise UsageError(
            f"{show(folder)}: its folders ({names}) hold folders of clips, not clips; name one of them, such as "
            f"{show(folders[0])}, or write metadata.csv"
        )
    passed_over = sum((clips.passed_over for clips in found.values()), Counter[str]())
    if passed_over:
        note(f"note: {show(folder)}: {Discovery([], passed_over).summary()}")
    rows = []
    for each, clips in found.items():
        label = normalise_label(each.name, show(each))
        for path in clips.files:
            name = path.relative_to(folder).with_suffix("").as_posix()
            rows.append(Row(path, label=label, text=label if need == "text" else "", name=name, where=show(each)))
    return rows


def _from_pairs(folder: Path) -> list[Row]:
    noisy, clean = _by_stem(folder / "noisy"), _by_stem(folder / "clean")
    for ours, other, name in ((noisy, clean, "clean"), (clean, noisy, "noisy")):
        for stem in sorted(ours.keys() - other.keys()):
            raise UsageError(f"{show(ours[stem])}: has no partner in {show(folder / name)}")
    return [Row(path, target=clean[stem], name=stem.as_posix(), where=show(path)) for stem, path in noisy.items()]


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


def _drawn_split(path: Path) -> str:
    return "train" if zlib.crc32(path.parent.as_posix().encode()) % HELD_OUT else "validation"


# ---- checks over all rows


def once(rows: Sequence[Row], need: Need, note: Note = no_notes) -> list[Row]:
    """`rows` with every clip once, by path and by content: the first of those that say the same of it.

    Raises:
        UsageError: a clip has two labels.
    """
    clips = clip_ids([row.path for row in rows])
    kept: dict[object, Row] = {}
    counts: Counter[object] = Counter()
    for row, clip in zip(rows, clips, strict=True):
        key: object = (clip, row.text, row.target) if need != "label" else clip
        first = kept.setdefault(key, row)
        counts[key] += 1
        if need == "label" and first.label != row.label:
            raise UsageError(
                f"{row.where}: {show(row.path)} is labelled {row.label!r} here, and the same clip {first.label!r} at "
                f"{first.where}"
            )
    for same, count in counts.items():
        if count > 1:
            note(f"note: {show(kept[same].path)} is there {count} times, by path or content, and counts once")
    return list(kept.values())


def _check_alike(rows: Sequence[Row]) -> None:
    """Refuse labels that differ in case, spaces or the form of their Unicode alone."""
    first: dict[str, tuple[str, str]] = {}
    for row in rows:
        key = "".join(unicodedata.normalize("NFKC", row.label).casefold().split())
        label, where = first.setdefault(key, (row.label, row.where))
        if label != row.label:
            raise UsageError(
                f"{row.where}: the label {row.label!r} differs from {label!r} ({where}) in case, spaces or Unicode "
                "form alone; name them alike"
            )
