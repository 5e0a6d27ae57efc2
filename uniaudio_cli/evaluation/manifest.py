"""The manifest of an evaluation: which clips demonstrate what to which query, written, hashed and replayed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.data.episodes import Episode, Half, Item, Rule, are_recordings, episodes, half, load_items

CONTENT_RATE = 16_000


class Document(BaseModel):
    """Base of what is written as JSON and read back: frozen, of known keys only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """Everything that decides which episodes are run. Fewer shots than the most are the first rounds of an episode."""

    schema_version: Literal[1] = 1
    data: str
    half: Half
    rule: Rule
    seed: int
    ways: int
    shots: tuple[int, ...]
    clips: tuple[Clip, ...]
    episodes: tuple[PlannedEpisode, ...]

    @cached_property
    def hash(self) -> str:
        """sha256 of the contents, whatever the layout of the file."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def items(self, folder: Path) -> list[Item]:
        """The clips as they lie in `folder`."""
        return [Item(folder / clip.file, clip.label, clip.group) for clip in self.clips]

    def episodes_in(self, folder: Path, shots: int) -> Iterator[Episode]:
        """The episodes with `shots` demonstrations of each label."""
        items = self.items(folder)
        for each in self.episodes:
            shown = each.demonstrations[: shots * len(each.labels)]
            yield Episode(each.labels, tuple(items[place] for place in shown), items[each.query])

    def write(self, path: Path, force: bool = False) -> None:
        """The manifest as JSON, with its hash."""
        with atomic(path, force) as temporary:
            rows = {"hash": self.hash, **self.model_dump(mode="json")}
            temporary.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


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


def plan(
    source: Path,
    *,
    ways: int | None = None,
    shots: Sequence[int] = (1,),
    count: int = 300,
    seed: int = 0,
    rule: Rule | None = None,
    which: Half = "all",
    group_regex: str | None = None,
    groups: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
) -> Manifest:
    """Draw the episodes of a folder of labelled clips (or its metadata file) and check them for leaks.

    Args:
        ways: labels an episode has; None takes all there are. shots: demonstrations of each label, one table row each;
            all share their queries. count: episodes. rule: None takes "other" where clips share groups, else "any".
        which: the development or test half of the clips. groups, labels: only these.

    Raises:
        UsageError: the clips do not give such episodes.
        UniAudioError: a clip cannot be read.
    """
    found = _chosen(load_items(source, group_regex), groups, labels)
    items = half(found, which)
    names = sorted({item.label for item in items})
    if len(names) < 2:
        raise UsageError(f"{show(source)}: an evaluation takes two labels or more, and there are {len(names)}")
    depth, wanted = max(shots), ways or len(names)
    rule = rule or default_rule(items)
    drawn = list(episodes(items, wanted, depth, count, seed, rule))
    folder = source if source.is_dir() else source.parent
    used = {each.path: each for episode in drawn for each in (*episode.demonstrations, episode.query)}
    clips = [used[path] for path in sorted(used)]
    places = {item.path: place for place, item in enumerate(clips)}
    manifest = Manifest(
        data=source.resolve().name,
        half=which,
        rule=rule,
        seed=seed,
        ways=wanted,
        shots=tuple(sorted(set(shots))),
        clips=tuple(
            Clip(file=_below(item.path, folder), label=item.label, group=item.group, content=audio_hash(item.path))
            for item in clips
        ),
        episodes=tuple(
            PlannedEpisode(
                query=places[each.query.path],
                labels=each.labels,
                demonstrations=tuple(places[item.path] for item in each.demonstrations),
            )
            for each in drawn
        ),
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


def audio_hash(path: Path) -> str:
    """sha256 of the decoded audio at 16 kHz in 16 bits, equal for one recording in two lossless files.

    Raises:
        UniAudioError: it cannot be read.
    """
    from uniaudio_cli.audio.io import read_wav  # loads torch

    wav = read_wav(path, CONTENT_RATE)
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
