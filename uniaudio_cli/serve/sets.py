"""Demonstration sets on disk: named by their content, written whole or not at all, and the shipped examples."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import threading
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import is_file, is_folder
from uniaudio_cli.data.demonstrations import Demonstration, load_demonstrations
from uniaudio_cli.data.manifest import NAMES, normalise_label
from uniaudio_cli.prompting.kinds import DemonstrationKind
from uniaudio_cli.serve.problems import Problem, as_problem
from uniaudio_cli.serve.settings import Limits
from uniaudio_cli.serve.uploads import check_recording, suffix_of

ID = re.compile(r"[0-9a-f]{16}")
EXAMPLES: dict[str, tuple[str, DemonstrationKind, str]] = {
    "example-sounds": ("sounds", "label", "sound-event"),
    "example-digits": ("digits", "text", ""),
    "example-enhance": ("enhance", "pair", ""),
}
NOISY, CLEAN = "noisy", "clean"
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Clip:
    """A clip to be kept in a set. `label`: its label or text, or "noisy" and "clean" of a pair."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True)
class DemoSet:
    """A set as it is kept. `labels`: clips of each label or text; of pairs, {"noisy": n, "clean": n}."""

    id: str
    kind: DemonstrationKind
    task: str
    labels: dict[str, int]
    folder: Path


def examples_folder() -> Path:
    """The shipped clips: inside the installed package, or in the repository."""
    installed = PACKAGE / "examples"
    return installed if installed.is_dir() else PACKAGE.parent / "examples" / "audio"


class SetStore:
    """Sets below a folder. Safe to share between threads."""

    def __init__(self, state: Path, limits: Limits) -> None:
        self.folder, self.limits = state / "sets", limits
        self._lock = threading.Lock()
        self._known: dict[str, DemoSet] = {}
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self.folder.glob(".new-*"):  # of a server that was killed
            shutil.rmtree(left, ignore_errors=True)

    def ids(self) -> list[str]:
        """The examples that are here, then the sets that were made."""
        examples = [name for name, (folder, _, _) in EXAMPLES.items() if (examples_folder() / folder).is_dir()]
        return examples + sorted(path.name for path in self.folder.iterdir() if ID.fullmatch(path.name))

    def get(self, wanted: str) -> DemoSet:
        """The set of this id. Raises Problem 404 where there is none."""
        if wanted not in self._known:
            self._known[wanted] = self._read(wanted)
        return self._known[wanted]

    def _read(self, wanted: str) -> DemoSet:
        if wanted in EXAMPLES:
            name, kind, task = EXAMPLES[wanted]
            folder = examples_folder() / name
            return DemoSet(wanted, kind, task, counts(load_demonstrations(folder, kind)), folder)
        folder = self.folder / wanted
        if not ID.fullmatch(wanted) or not is_file(folder / "set.json"):
            raise Problem(404, "there is no such set; GET /v1/sets lists them")
        about = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        return DemoSet(wanted, about["kind"], about["task"], about["labels"], folder)

    def add(self, clips: Sequence[Clip], kind: DemonstrationKind, task: str) -> tuple[DemoSet, bool]:
        """Keep clips as a set; (the set, whether it is new).

        Raises:
            Problem: 422 for clips that make no set, 413 for too many, 507 where no more sets are kept.
        """
        if len(clips) > self.limits.set_clips:
            raise Problem(413, f"a set may have {self.limits.set_clips} clips, and this has {len(clips)}")
        clips = [Clip(clip.path, clip.name, label_of(clip.label, kind, self.limits)) for clip in clips]
        digests = [hashlib.sha256(clip.path.read_bytes()).hexdigest() for clip in clips]
        content = [[clip.label, digest] for clip, digest in zip(clips, digests, strict=True)]
        if kind != "pair":  # of pairs, the order says what belongs together
            content.sort()
        name = hashlib.sha256(json.dumps([kind, task, content]).encode()).hexdigest()[:16]
        with self._lock:
            if (self.folder / name).is_dir():
                return self.get(name), False
            if len(self.ids()) >= self.limits.sets + len(EXAMPLES):
                raise Problem(507, f"the server keeps {self.limits.sets} sets; delete one first")
            return self._write(name, clips, digests, kind, task), True

    def _write(
        self, name: str, clips: Sequence[Clip], digests: Sequence[str], kind: DemonstrationKind, task: str
    ) -> DemoSet:
        new = self.folder / f".new-{name}"
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir(mode=0o700)
            files = [_keep(clip, digest, new) for clip, digest in zip(clips, digests, strict=True)]
            _write_metadata(new / "metadata.csv", files, clips, kind)
            names = {new / file: clip.name for file, clip in zip(files, clips, strict=True)}
            try:
                labels = counts(load_demonstrations(new, kind))
            except UniAudioError as error:
                raise as_problem(error, {**names, new / "metadata.csv": "the set"}) from error
            made = DemoSet(name, kind, task, labels, self.folder / name)
            about = {key: value for key, value in asdict(made).items() if key in ("kind", "task", "labels")}
            (new / "set.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
            new.rename(made.folder)
            return made
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def remove(self, wanted: str) -> None:
        """Delete a set. Raises Problem 404 where there is none, 403 for an example."""
        found = self.get(wanted)
        if wanted in EXAMPLES:
            raise Problem(403, "the examples cannot be deleted")
        with self._lock:
            self._known.pop(wanted, None)
            shutil.rmtree(found.folder, ignore_errors=True)

    def clips(self, found: DemoSet) -> list[Clip]:
        """What a set was made of."""
        return clips_of(load_demonstrations(found.folder, found.kind), found.kind)


def counts(demonstrations: Iterable[Demonstration]) -> dict[str, int]:
    """Clips of each label or text; of pairs, of each side."""
    given = list(demonstrations)
    if given and given[0].target is not None:
        return {NOISY: len(given), CLEAN: len(given)}
    return dict(sorted(Counter(each.text or each.label or "" for each in given).items()))


def clips_of(demonstrations: Iterable[Demonstration], kind: DemonstrationKind) -> list[Clip]:
    """Demonstrations as clips, the sides of a pair one after the other."""
    found = []
    for each in demonstrations:
        if kind == "pair":
            assert each.target is not None
            found += [Clip(each.audio, each.audio.name, NOISY), Clip(each.target, each.target.name, CLEAN)]
        else:
            found.append(Clip(each.audio, each.audio.name, each.text or each.label or ""))
    return found


def label_of(given: str, kind: DemonstrationKind, limits: Limits) -> str:
    """A label on one line. Raises Problem where it is empty, too long, or for a pair neither "noisy" nor "clean"."""
    try:
        label = normalise_label(given, "label")
    except UniAudioError as error:
        raise as_problem(error, {}) from error
    if not label or not label.isprintable() or len(label) > limits.text:
        raise Problem(422, f"a label is 1 to {limits.text} printable characters")
    if kind == "pair" and label not in (NOISY, CLEAN):
        raise Problem(422, "the labels of pairs are noisy and clean, the n-th noisy clip beside the n-th clean one")
    return label


def _keep(clip: Clip, digest: str, folder: Path) -> str:
    """Copy a clip below `folder`; its path there. The name is made of the label's letters, for people."""
    word = re.sub(r"[^A-Za-z0-9]+", "-", clip.label).strip("-")[:40] or "clips"
    file = f"{word}/{digest[:16]}{suffix_of(clip.path.name) or '.wav'}"
    (folder / word).mkdir(exist_ok=True, mode=0o700)
    shutil.copyfile(clip.path, folder / file)
    return file


def _write_metadata(path: Path, files: Sequence[str], clips: Sequence[Clip], kind: DemonstrationKind) -> None:
    if kind == "pair":
        sides = [
            [file for file, clip in zip(files, clips, strict=True) if clip.label == side] for side in (NOISY, CLEAN)
        ]
        if len(sides[0]) != len(sides[1]):
            raise Problem(422, f"there are {len(sides[0])} noisy and {len(sides[1])} clean clips; pairs take as many")
        rows, column = list(zip(*sides, strict=True)), "target"
    else:
        rows, column = [(file, clip.label) for file, clip in zip(files, clips, strict=True)], kind
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", column), *rows])


def write_zip(found: DemoSet, target: BinaryIO) -> None:
    """A set as a .zip of a folder that `uniaudio classify --demos` takes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as box:
        for path in sorted(found.folder.rglob("*")):
            if path.is_file() and path.name != "set.json":
                box.write(path, f"{found.id}/{path.relative_to(found.folder).as_posix()}")


def clips_below_root(root: Path, given: str, kind: DemonstrationKind, limits: Limits) -> list[Clip]:
    """The demonstrations of a folder of the server, none of which lies outside `root`, links followed.

    Raises:
        Problem: 403 where the folder or something in it leads outside, 422 where it holds no demonstrations.
    """
    top = Path(os.path.realpath(root))
    outside = Problem(403, "the folder is not below --root, or something in it leads outside")
    if "\0" in given or not _is_below(folder := Path(os.path.realpath(top / given)), top):
        raise outside
    if not is_folder(folder):
        raise Problem(422, "there is no such folder below --root")
    # Before anything is read: metadata may be a link, too.
    for number, path in enumerate(_below(folder)):
        if path.is_symlink() and not _is_below(Path(os.path.realpath(path)), top):
            raise outside
        if number > 20 * limits.set_clips:
            raise Problem(413, f"a set may have {limits.set_clips} clips, and this folder has more files")
    hidden = {folder / name: name for name in NAMES} | {folder: given}
    try:
        found = clips_of(load_demonstrations(folder, kind), kind)
    except UniAudioError as error:
        raise as_problem(error, hidden) from error
    if not all(_is_below(Path(os.path.realpath(clip.path)), top) for clip in found):
        raise outside  # a row of the metadata
    if len(found) > limits.set_clips:
        raise Problem(413, f"a set may have {limits.set_clips} clips, and this folder has {len(found)}")
    for clip in found:
        if clip.path.stat().st_size > limits.body:
            raise Problem(413, f"{clip.name}: is larger than {limits.body >> 20} MB")
        check_recording(clip.path, clip.name, limits)
    return found


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        yield from (Path(here) / name for name in (*folders, *files))


def _is_below(path: Path, top: Path) -> bool:
    return path == top or top in path.parents
