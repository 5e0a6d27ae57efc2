"""The manifest of an evaluation: which clips demonstrate what to which query, written, hashed and replayed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.data.episodes import Episode, Half, Item, Rule, are_recordings, episodes, half, load_items
from uniaudio_cli.data.manifest import Note, no_notes
from uniaudio_cli.evaluation.superclasses import Superclasses, by_superclass

CONTENT_RATE = 16_000
Drawn = TypeVar("Drawn")


class Document(BaseModel):
    """Base of what is written as JSON and read back: frozen, of known keys only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def write(self, path: Path, force: bool = False) -> None:
        """The document as JSON."""
        self._write(self.model_dump(mode="json"), path, force)

    @staticmethod
    def _write(rows: Mapping[str, Any], path: Path, force: bool) -> None:
        with atomic(path, force) as temporary:
            temporary.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


class Clip(Document):
    """A clip: `file` below the data folder, and the sha256 of its decoded audio."""

    file: str
    label: str
    group: str
    content: str


class PlannedEpisode(Document):
    """Places in `Manifest.clips`; `demonstrations` come in rounds of one per label."""

    query: int
    labels: tuple[str, ...]
    demonstrations: tuple[int, ...]


class Manifest(Document):
    """Everything that decides which episodes are run. Fewer shots than the most are the first rounds of an episode.

    `folds`, `rounds`: of a cross-validation; 0 where episodes are drawn one by one.
    """

    schema_version: Literal[1] = 1
    data: str
    half: Half
    rule: Rule
    seed: int
    ways: int
    shots: tuple[int, ...]
    clips: tuple[Clip, ...]
    episodes: tuple[PlannedEpisode, ...]
    folds: int = 0
    rounds: int = 0

    @cached_property
    def hash(self) -> str:
        """sha256 of the contents, whatever the layout of the file."""
        values = self.model_dump(mode="json")
        # Manifests that were written before there were folds keep their hash.
        values = {key: value for key, value in values.items() if value or key not in ("folds", "rounds")}
        return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def items(self, folder: Path) -> list[Item]:
        """The clips as they lie in `folder`."""
        return [Item(folder / clip.file, clip.label, clip.group) for clip in self.clips]

    def episodes_in(self, folder: Path, shots: int) -> Iterator[Episode]:
        """The episodes with `shots` demonstrations of each label, all of a label that has fewer."""
        items = self.items(folder)
        for each in self.episodes:
            counts: Counter[str] = Counter()
            shown = []
            for item in (items[place] for place in each.demonstrations):
                counts[item.label] += 1
                if counts[item.label] <= shots:
                    shown.append(item)
            yield Episode(each.labels, tuple(shown), items[each.query])

    def write(self, path: Path, force: bool = False) -> None:
        """The manifest as JSON, with its hash."""
        self._write({"hash": self.hash, **self.model_dump(mode="json")}, path, force)


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        UsageError: it cannot be read, is no manifest, or was changed after it was written.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        expected = rows.pop("hash")
        manifest = Manifest.model_validate(rows)
    except OSError as problem:
        raise UsageError(f"{show(path)}: cannot be read ({problem.strerror})") from problem
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        reason = problem.errors()[0]["msg"] if isinstance(problem, ValidationError) else type(problem).__name__
        raise UsageError(f"{show(path)}: is no manifest of episodes ({reason})") from problem
    if manifest.hash != expected:
        raise UsageError(f"{show(path)}: does not match its hash, so it was changed after it was written")
    return manifest


@dataclass(frozen=True)
class Selection:
    """Which clips of a folder or metadata file are used.

    `which`: the development or test half. `group_regex`: as `load_items`. `groups`, `labels`: only these. `layout`: of
    a public corpus, by its name in `layouts.LAYOUTS`. `without`: clips that are left out. `superclasses`: as
    `by_superclass`; the other fields then select by super-class and class.
    """

    source: Path
    which: Half = "all"
    group_regex: str | None = None
    groups: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    layout: str | None = None
    without: frozenset[Path] = frozenset()
    superclasses: Superclasses | None = None

    @property
    def folder(self) -> Path:
        """What the manifest's paths start from."""
        return self.source if self.source.is_dir() else self.source.parent

    def items(self, note: Note = no_notes) -> list[Item]:
        """The clips, by label and path.

        Raises:
            UsageError: none fit, or they have fewer than two labels.
        """
        there = [item for item in self._all(note) if item.path not in self.without]
        if self.superclasses is not None:
            there = by_superclass(there, self.superclasses, note)
        found = half(_chosen(there, self.groups, self.labels), self.which)
        names = sorted({item.label for item in found})
        if len(names) < 2:
            raise UsageError(f"{show(self.source)}: an evaluation takes two labels or more, and there are {len(names)}")
        return found

    def _all(self, note: Note) -> list[Item]:
        if self.layout is None:
            return load_items(self.source, self.group_regex, note=note)
        from uniaudio_cli.evaluation.layouts import LAYOUTS

        return LAYOUTS[self.layout](self.source)


class UnusableClipsError(UniAudioError):
    """Clips that cannot be read, are silent, or are shorter than 20 ms. `reasons`: what is wrong with each, by path."""

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        super().__init__(next(iter(reasons.values())))
        self.reasons = reasons


def without_unusable(draw: Callable[[Selection, Note], Drawn], selection: Selection, note: Note) -> Drawn:
    """`draw(selection, note)`, and again without the clips that turn out to be unusable; notes name them."""
    while True:
        notes: list[str] = []
        try:
            drawn = draw(selection, notes.append)
        except UnusableClipsError as problem:
            for reason in problem.reasons.values():
                note(f"note: left out: {reason}")
            selection = replace(selection, without=selection.without | problem.reasons.keys())
        else:
            for line in notes:
                note(line)
            return drawn


def plan(
    selection: Selection,
    *,
    ways: int | None = None,
    shots: Sequence[int] = (1,),
    count: int = 300,
    seed: int = 0,
    rule: Rule | None = None,
    note: Note = no_notes,
) -> Manifest:
    """Draw `count` episodes of the selected clips and check them for leaks. Unusable clips are left out, with a note.

    Args:
        ways: labels an episode has; None takes all there are. shots: demonstrations of each label, one table row each;
            all share their queries. rule: None takes "other" where clips share groups, else "any".

    Raises:
        UsageError: the clips do not give such episodes.
    """

    def draw(selection: Selection, note: Note) -> Manifest:
        items = selection.items(note)
        which = rule or default_rule(items)
        wanted = ways or len({item.label for item in items})
        drawn = list(episodes(items, wanted, max(shots), count, seed, which))
        return write_down(selection, drawn, rule=which, seed=seed, ways=wanted, shots=tuple(sorted(set(shots))))

    return without_unusable(draw, selection, note)


def write_down(selection: Selection, drawn: Sequence[Episode], **facts: Any) -> Manifest:
    """The manifest of drawn episodes, checked for leaks. `facts`: the other fields of `Manifest`.

    Raises:
        UsageError: a query is, or holds the same audio as, a demonstration. UnusableClipsError: names all such clips.
    """
    used = {each.path: each for episode in drawn for each in (*episode.demonstrations, episode.query)}
    clips = [used[path] for path in sorted(used)]
    contents = _contents([item.path for item in clips])
    places = {item.path: place for place, item in enumerate(clips)}
    manifest = Manifest(
        data=selection.source.resolve().name,
        half=selection.which,
        clips=tuple(
            Clip(
                file=_below(item.path, selection.folder),
                label=item.label,
                group=item.group,
                content=content,
            )
            for item, content in zip(clips, contents, strict=True)
        ),
        episodes=tuple(
            PlannedEpisode(
                query=places[each.query.path],
                labels=each.labels,
                demonstrations=tuple(places[item.path] for item in each.demonstrations),
            )
            for each in drawn
        ),
        **facts,
    )
    check_leaks(manifest)
    return manifest


def default_rule(items: Sequence[Item]) -> Rule:
    """ "other" where demonstrations can come from other groups than the query's, else "any"."""
    groups = {item.group for item in items}
    if len(groups) in (1, len(items)):
        return "any"
    by_label: dict[str, set[str]] = {}
    for item in items:
        by_label.setdefault(item.label, set()).add(item.group)
    enough = all(len(each) > 1 for each in by_label.values())
    return "other" if enough or (are_recordings(items) and enough) else "any"


def check_leaks(manifest: Manifest) -> None:
    """Refuse episodes whose query is, or sounds exactly as, a demonstration, or shares its group against the rule.

    Raises:
        UsageError: names the first such pair of clips.
    """
    clips = manifest.clips
    for number, episode in enumerate(manifest.episodes):
        query = clips[episode.query]
        for place in episode.demonstrations:
            shown = clips[place]
            pair = f"{show(shown.file)} and {show(query.file)}"
            if shown.file == query.file:
                raise UsageError(f"episode {number}: {show(query.file)} is both query and demonstration")
            if shown.content == query.content:
                raise UsageError(
                    f"episode {number}: {pair} hold the same audio, one as demonstration and one as query; remove one"
                )
            if manifest.rule == "other" and shown.group == query.group:
                raise UsageError(
                    f"episode {number}: {pair} are of one group ({show(query.group)}), and rule other forbids that"
                )


def check_contents(manifest: Manifest, folder: Path, hashed: Callable[[Path], str] | None = None) -> None:
    """Refuse to replay a manifest on other clips than it was made of.

    Raises:
        UsageError: a clip holds other audio. UniAudioError: one is missing or cannot be read.
    """
    for clip in manifest.clips:
        if (hashed or audio_hash)(folder / clip.file) != clip.content:
            raise UsageError(f"{show(folder / clip.file)}: holds other audio than the manifest was made with")


def _contents(paths: Sequence[Path]) -> list[str]:
    """`audio_hash` of each. Raises UnusableClipsError."""
    found, reasons = [], {}
    for path in paths:
        try:
            found.append(audio_hash(path))
        except UniAudioError as problem:
            reasons[path] = str(problem)
    if reasons:
        raise UnusableClipsError(reasons)
    return found


def audio_hash(path: Path) -> str:
    """sha256 of the decoded audio at 16 kHz in 16 bits, equal for one recording in two lossless files.

    Raises:
        UniAudioError: it cannot be read, is silent, or is shorter than 20 ms.
    """
    from uniaudio_cli.audio.io import check_audible, read_wav  # loads torch

    wav = read_wav(path, CONTENT_RATE)
    check_audible(wav, CONTENT_RATE, str(path))
    samples = (wav.clamp(-1, 1) * 32_767).round().short()
    return hashlib.sha256(samples.numpy().tobytes()).hexdigest()


def _chosen(items: Iterable[Item], groups: Sequence[str] | None, labels: Sequence[str] | None) -> list[Item]:
    found = list(items)
    for what, wanted in (("group", groups), ("label", labels)):
        there = {getattr(item, what) for item in found}
        missing = [name for name in wanted or () if name not in there]
        if missing:
            listed = ", ".join(sorted(there)[:12])
            raise UsageError(f"no clip has the {what} {show(missing[0])!r}; there are {listed}")
        if wanted:
            found = [item for item in found if getattr(item, what) in wanted]
    return found


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if folder in path.parents else path.as_posix()
