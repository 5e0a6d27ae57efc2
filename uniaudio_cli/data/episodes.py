"""Labelled clips to seeded N-way K-shot episodes: demonstrations and a query that share no clip. Loads no torch.

A clip's `group` is what it must not share by accident: its speaker, or the recording it was cut from.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar, get_args

from uniaudio_cli.audio.discovery import EXTENSIONS, is_litter
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_folder, show
from uniaudio_cli.data.demonstrations import shuffled
from uniaudio_cli.data.manifest import Note, Row, metadata_file, no_notes, once, read_manifest

T = TypeVar("T")

Rule = Literal["same", "other", "any"]
Half = Literal["development", "test", "all"]

# Names that say whose clip it is: Free Spoken Digits, ESC-10 and ESC-50, Speech Commands, RAVDESS, VCTK, speaker07_2.
DIGITS = r"^(?P<label>\d+)_(?P<group>.+)_\d+$"
KNOWN_NAMES = (
    DIGITS,
    r"^\d-(?P<group>\d+)-[A-Z](-\d+)?$",
    r"^(?P<group>[0-9a-f]{8})_nohash_\d+$",
    r"^\d\d(-\d\d){5}-(?P<group>\d\d)$",
    r"^(?P<group>p\d{3})_\d{3}(_mic\d)?$",
    r"^(?P<group>(speaker|spk|actor)\d+)_\d+$",
)


@dataclass(frozen=True)
class Item:
    """A clip, its label, and its speaker or recording."""

    path: Path
    label: str
    group: str


@dataclass(frozen=True)
class Episode:
    """`labels`: sorted. `demonstrations`: in rounds of one per label. `query`: its label is the right answer."""

    labels: tuple[str, ...]
    demonstrations: tuple[Item, ...]
    query: Item


def load_items(
    source: Path, group_rule: str | None = None, split: str | None = None, note: Note = no_notes
) -> list[Item]:
    """The labelled clips of a folder or a metadata file, by label, then by path.

    A metadata.csv or metadata.jsonl (or the path of one) has columns `file_name`, `label` and, if it likes, `group`.
    Without one, the folder holds `LABEL/clip.wav`, or clips named `DIGIT_SPEAKER_TAKE.wav`: the digit is the label.

    `group_rule`: a regular expression with (?P<group>...), and for loose clips (?P<label>...), searched for in the
    clip's path below the folder without its suffix: "dog/us-m3-1". Without it names of well-known data are understood
    (`KNOWN_NAMES`), and a clip of any other name is a group of its own.

    Raises:
        UsageError: nothing there, or a clip without label or group, or with two labels.
    """
    rule = _compiled(group_rule)
    if is_folder(source) and metadata_file(source) is None and any(_is_clip(path) for path in source.iterdir()):
        rows = once(_from_loose(source, rule), "label", note)
    else:
        rows = read_manifest(source, "label", split, note)
    found = [Item(row.path, row.label, row.group or _group(row.name, rule)) for row in rows]
    if is_folder(source) and metadata_file(source) is None and len({item.label for item in found}) < 2:
        raise UsageError(f"{show(source)}: holds the one label {found[0].label!r}, and a choice takes two or more")
    return sorted(found, key=_order)


def are_recordings(items: Sequence[Item]) -> bool:
    """Whether groups are recordings (each of one label) and not speakers, who say several."""
    return all(len(labels) == 1 for labels in _labels_of_groups(items).values())


def half(items: Sequence[Item], which: Half, seed: int = 0, by: Literal["group", "clip"] | None = None) -> list[Item]:
    """The development or the test half of `items`: disjoint, together everything, the same wherever the folder lies.

    By "group", all clips of a recording go to one side; by "clip", every speaker's takes of a label are split in two.
    By default recordings are split by group and speakers by clip. Both sides get as many clips of a label as the groups
    allow; otherwise a hash of group, label and name decides.
    """
    if which not in get_args(Half):
        raise UsageError(f"half {which!r}: choose {', '.join(get_args(Half))}")
    ordered = sorted(items, key=_order)
    if which == "all":
        return ordered
    by = by or ("group" if are_recordings(items) else "clip")
    units: dict[tuple[str, ...], list[Item]] = {}
    for item in ordered:
        units.setdefault((item.group,) if by == "group" else (item.group, item.label, item.path.name), []).append(item)
    labels = _labels_of_groups(items)
    # Clips on the test side less those on the other: overall per label, and within the label's group.
    balance: Counter[object] = Counter()
    wanted: list[Item] = []
    for digest, unit in sorted((_digest(seed, *key), unit) for key, unit in units.items()):
        whole = frozenset(labels[unit[0].group]) if by == "group" else unit[0].label
        part = (unit[0].group, whole)
        lean = balance[part] or balance[whole]
        to_test = lean < 0 or (lean == 0 and digest[-1] % 2 == 1)
        for key in (part, whole):
            balance[key] += len(unit) if to_test else -len(unit)
        if to_test == (which == "test"):
            wanted += unit
    return sorted(wanted, key=_order)


def episodes(
    items: Sequence[Item], ways: int, shots: int, count: int, seed: int = 0, rule: Rule = "any"
) -> Iterator[Episode]:
    """`count` episodes of `ways` labels with `shots` demonstrations each; 0 for labels by name alone.

    "same": all clips of an episode are of one group. "other": no demonstration is of the query's group. "any": groups
    do not matter. The query is never among the demonstrations.

    Every label is the answer equally often (to one), and every clip that can be a query is one before any is again.
    Episode n depends on `items`, `seed` and n, not on `count` or the order of `items`.

    Raises:
        UsageError: such episodes cannot be made of these clips, or not with every label as the answer.
    """
    if rule not in get_args(Rule):
        raise UsageError(f"rule {rule!r}: choose {', '.join(get_args(Rule))}")
    if ways < 2 or shots < 0 or count < 0:
        raise UsageError(f"{count} episodes, {ways}-way {shots}-shot: at least 2 ways are needed")
    pool = _Pool(sorted(items, key=_order), ways, shots, rule)
    pool.check()
    return (pool.episode(number, seed) for number in range(count))


class _Pool:
    """Clips by label, and which of them can demonstrate what to whom."""

    def __init__(self, items: Sequence[Item], ways: int, shots: int, rule: Rule) -> None:
        self.ways, self.shots, self.rule = ways, shots, rule
        self.clips: dict[str, list[Item]] = {}
        for item in items:
            self.clips.setdefault(item.label, []).append(item)
        self.sizes = Counter((item.label, item.group) for item in items)
        self._shown: dict[tuple[str, str], tuple[str, ...]] = {}

    def may_demonstrate(self, item: Item, query: Item) -> bool:
        if item.path == query.path or self.rule == "any":
            return item.path != query.path
        return (item.group == query.group) == (self.rule == "same")

    def room(self, label: str, query: Item) -> int:
        """How many clips may demonstrate `label` to `query`."""
        ours = self.sizes[label, query.group]
        if self.rule == "other":
            return len(self.clips[label]) - ours
        return (ours if self.rule == "same" else len(self.clips[label])) - (label == query.label)

    def labels_for(self, query: Item) -> tuple[str, ...]:
        """The labels that can be shown to `query`."""
        key = (query.label, query.group)
        if key not in self._shown:
            self._shown[key] = tuple(label for label in self.clips if self.room(label, query) >= self.shots)
        return self._shown[key]

    @cached_property
    def queries(self) -> dict[str, list[Item]]:
        """Label -> clips that can be queries."""

        def can(item: Item) -> bool:
            labels = self.labels_for(item)
            return item.label in labels and len(labels) >= self.ways

        return {label: [item for item in clips if can(item)] for label, clips in self.clips.items()}

    def check(self) -> None:
        what = f"{self.ways}-way {self.shots}-shot"
        if len(self.clips) < self.ways:
            raise UsageError(
                f"{what} episodes take {self.ways} labels, and there are {len(self.clips)} ({self._names()}); "
                "take fewer ways"
            )
        places = {
            "same": "of the query's group",
            "other": "of other groups than the query's",
            "any": "besides the query",
        }
        for label, queries in self.queries.items():
            if not queries:
                raise UsageError(
                    f"{what} episodes, rule {self.rule}: no clip of {label!r} can be the query, as that takes "
                    f"{self.ways} labels, {label!r} among them, with {self.shots} or more clips {places[self.rule]}; "
                    f"take fewer ways or shots, or leave {label!r} out"
                )

    def episode(self, number: int, seed: int) -> Episode:
        turn, place = divmod(number, len(self.clips))
        answer = shuffled(list(self.clips), f"{seed} labels {turn}")[place]
        queries = self.queries[answer]
        again, index = divmod(turn, len(queries))
        query = shuffled(queries, f"{seed} {answer} {again}")[index]
        draw = random.Random(f"{seed} episode {number}")
        others = [label for label in self.labels_for(query) if label != answer]
        labels = sorted([answer, *draw.sample(others, self.ways - 1)])
        drawn = {
            label: draw.sample([item for item in self.clips[label] if self.may_demonstrate(item, query)], self.shots)
            for label in labels
        }
        rounds = [draw.sample(labels, self.ways) for _ in range(self.shots)]
        demonstrations = tuple(drawn[label][shot] for shot, order in enumerate(rounds) for label in order)
        return Episode(tuple(labels), demonstrations, query)

    def _names(self) -> str:
        return ", ".join(self.clips) or "none"


def _order(item: Item) -> tuple[str, Path]:
    return item.label, item.path


def _labels_of_groups(items: Sequence[Item]) -> dict[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for item in items:
        labels.setdefault(item.group, set()).add(item.label)
    return labels


def _digest(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\0".join((str(seed), *names)).encode(errors="surrogateescape")).digest()


def _compiled(rule: str | None) -> re.Pattern[str] | None:
    if rule is None:
        return None
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(f"group rule {rule!r}: is not a regular expression ({error})") from error
    if "group" not in pattern.groupindex:
        raise UsageError(f"group rule {rule!r}: has no (?P<group>...)")
    return pattern


def _group(name: str, rule: re.Pattern[str] | None) -> str:
    """The group of a clip by its path below the folder."""
    if rule is not None:
        return _matched(name, rule)["group"]
    return known_group(name.rpartition("/")[2]) or name


def known_group(stem: str) -> str:
    """The speaker or recording that a file's name without suffix tells, where `KNOWN_NAMES` has its kind; else ""."""
    known = next((match for pattern in KNOWN_NAMES if (match := re.search(pattern, stem))), None)
    return known["group"] if known else ""


def _matched(name: str, rule: re.Pattern[str]) -> dict[str, str]:
    match = rule.search(name)
    if match is None or match["group"] is None:
        raise UsageError(f"{show(name)}: the group rule {rule.pattern!r} finds nothing in this name")
    return match.groupdict()


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not is_litter(path.name) and path.is_file()


def _from_loose(folder: Path, rule: re.Pattern[str] | None) -> list[Row]:
    rows = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_litter(path.name):
            raise UsageError(f"{show(path)}: a folder beside loose clips; keep one kind, or write metadata.csv")
        if not _is_clip(path):
            continue
        pattern = rule or re.compile(DIGITS)
        if "label" not in pattern.groupindex:
            raise UsageError(
                f"group rule {pattern.pattern!r}: has no (?P<label>...), and {show(path)} lies in no folder"
            )
        match = pattern.search(path.stem)
        if match is None or None in (match["label"], match["group"]):
            raise UsageError(f"{show(path)}: lies in no label's folder, and its name is not {pattern.pattern!r}")
        rows.append(Row(path, group=match["group"], label=match["label"], name=path.stem, where=show(path)))
    return rows
