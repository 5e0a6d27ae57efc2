"""Cross-validation as a manifest: every clip is labelled by demonstrations from the other folds, several times over."""

from __future__ import annotations

import math
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.data.demonstrations import shuffled
from uniaudio_cli.data.episodes import Episode, Item, Rule
from uniaudio_cli.data.manifest import Note, no_notes
from uniaudio_cli.evaluation.manifest import Manifest, Selection, default_rule, without_unusable, write_down

# Rounds go on until about so many answers are there, as one draw of demonstrations says little; at most so many.
ANSWERS, MOST_ROUNDS = 200, 5


def plan_folds(
    selection: Selection,
    *,
    folds: int = 5,
    shots: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    rule: Rule | None = None,
    note: Note = no_notes,
) -> Manifest:
    """A cross-validation over all selected clips, checked for leaks.

    Speakers or recordings are kept together under rule "other" (the default where clips share them). All queries of a
    fold share demonstrations, as one classifier would. Folds are drawn anew in every round. `note` takes a line for
    each thing that the clips do not give: labels with one clip and unusable clips are left out, and a label with few
    shows what it has.

    Args:
        folds: most parts; fewer where there are fewer groups. shots: demonstrations of each label, 0 for none.

    Raises:
        UsageError: fewer than two labels have two clips.
    """
    if rule == "same":
        raise UsageError("rule same: takes --episodes, as folds keep a speaker's clips apart")
    draw = partial(_draw, folds=folds, shots=shots, seed=seed, rule=rule)
    return without_unusable(draw, selection, note)


def _draw(
    selection: Selection, note: Note, *, folds: int, shots: Sequence[int], seed: int, rule: Rule | None
) -> Manifest:
    items = _usable(selection, note)
    labels = sorted({item.label for item in items})
    rule = rule or default_rule(items)
    _describe_groups(items, rule, note)
    facts = {"folds": 1, "rounds": 1}
    if max(shots) == 0:
        drawn = [Episode(tuple(labels), (), item) for item in items]
    else:
        parts = _parts(items, folds, rule, note)
        rounds = max(1, min(MOST_ROUNDS, math.ceil(ANSWERS / len(items))))
        drawn = [each for turn in range(rounds) for each in _round(items, parts, max(shots), seed + turn, rule)]
        facts = {"folds": parts, "rounds": rounds}
        shots = _possible(drawn, shots, note)
        missing = len(items) - len({each.query.path for each in drawn})
        if missing:
            note(f"note: {missing} of {len(items)} clips are never asked: no other group shows their label")
    return write_down(
        selection, drawn, rule=rule, seed=seed, ways=len(labels), shots=tuple(sorted(set(shots))), **facts
    )


def _usable(selection: Selection, note: Note) -> list[Item]:
    """The clips of labels with two clips or more."""
    items = selection.items(note)
    counts = Counter(item.label for item in items)
    single = sorted(label for label, count in counts.items() if count < 2)
    if len(counts) - len(single) < 2:
        raise UsageError(
            f"{show(selection.source)}: fewer than two labels have two clips, and a clip cannot be tested by itself; "
            f"add a clip to {', '.join(map(show, single[:5]))}"
        )
    if single:
        note(f"note: left out, as a label takes two clips: {', '.join(map(show, single))}")
    return [item for item in items if item.label not in single]


def _describe_groups(items: Sequence[Item], rule: Rule, note: Note) -> None:
    """What the figures hold for, where groups say less than they should."""
    groups = {item.group for item in items}
    if len(groups) == 1:
        note(
            f"note: all clips are of one group ({show(next(iter(groups)))}), so figures hold for it alone; add clips "
            "of other speakers or recordings to learn more"
        )
    elif len(groups) == len(items):
        note(
            "note: no speakers or recordings are known, so every clip counts as its own; where clips share one, "
            "figures are too high without --group-regex or a column `group` in metadata.csv"
        )
    elif rule == "any":
        by_label: dict[str, set[str]] = {}
        for item in items:
            by_label.setdefault(item.label, set()).add(item.group)
        few = sorted(label for label, some in by_label.items() if len(some) < 2)
        why = f"{', '.join(map(show, few[:5]))}: clips of one group alone" if few else "by rule any"
        note(f"note: demonstrations may share the query's speaker or recording ({why}), so figures may be too high")


def _parts(items: Sequence[Item], folds: int, rule: Rule, note: Note) -> int:
    """How many folds these clips give."""
    units = {(item.label, item.group if rule == "other" else str(item.path)) for item in items}
    groups = len({unit for _, unit in units})
    parts = min(folds, groups, max(Counter(label for label, _ in units).values()))
    if parts < folds:
        what = "groups" if rule == "other" and groups == parts else "clips of a label"
        note(f"note: {parts} folds, as there are no more {what}")
    return parts


def _round(items: Sequence[Item], parts: int, depth: int, seed: int, rule: Rule) -> Iterator[Episode]:
    """One episode a clip, fold by fold. A label that a fold cannot show is none of its labels."""
    places = _fold_of(items, parts, seed, rule)
    for part in range(parts):
        draw = random.Random(f"{seed} fold {part}")
        others: dict[str, list[Item]] = {}
        for item, place in zip(items, places, strict=True):
            if place != part:
                others.setdefault(item.label, []).append(item)
        shown = {label: draw.sample(clips, min(depth, len(clips))) for label, clips in others.items()}
        turns = [[label for label in sorted(shown) if len(shown[label]) > turn] for turn in range(depth)]
        demonstrations = tuple(
            shown[label][turn]
            for turn, labels in enumerate(turns)
            for label in shuffled(labels, f"{seed} fold {part} {turn}")
        )
        for item, place in zip(items, places, strict=True):
            if place == part and item.label in shown and len(shown) > 1:
                yield Episode(tuple(sorted(shown)), demonstrations, item)


def _fold_of(items: Sequence[Item], parts: int, seed: int, rule: Rule) -> list[int]:
    """The fold of each clip: labels spread evenly, groups whole under rule "other"."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = [item.label for item in items]
    kind = StratifiedGroupKFold if rule == "other" else StratifiedKFold
    places = [0] * len(items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label with fewer clips than folds
        splits = kind(parts, shuffle=True, random_state=seed).split(labels, labels, [item.group for item in items])
        for part, (_, test) in enumerate(splits):
            for place in test:
                places[place] = part
    return places


def _possible(drawn: Sequence[Episode], shots: Sequence[int], note: Note) -> list[int]:
    """The shots that some label has."""
    counts = [Counter(item.label for item in each.demonstrations) for each in drawn]
    most = max(max(each.values()) for each in counts)
    possible = sorted({min(shot, most) for shot in shots})
    if possible != sorted(set(shots)):
        note(f"note: {max(shots)} shots: there are {most} at most, so shots are {', '.join(map(str, possible))}")
    few = sorted({label for each in counts for label, count in each.items() if count < max(possible)})
    if few:
        fewest = min(each[label] for each in counts for label in few if label in each)
        note(f"note: shown with fewer than {max(possible)} clips, at the least {fewest}: {', '.join(map(show, few))}")
    return possible
