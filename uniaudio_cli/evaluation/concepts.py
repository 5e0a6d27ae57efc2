"""Zero-shot concepts: labels that no class of the tagger names, such as "dangerous" for chainsaws and fire."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from uniaudio_cli.audio.discovery import find_audio
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_folder, show
from uniaudio_cli.core.schema import FROM_LIST, Schema
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.data.manifest import Note, no_notes
from uniaudio_cli.evaluation.job import Job, ModelNames
from uniaudio_cli.evaluation.manifest import Document, Manifest, Selection, without_unusable, write_down
from uniaudio_cli.evaluation.metrics import balanced_accuracy, balanced_difference
from uniaudio_cli.evaluation.results import Answer, Rate
from uniaudio_cli.evaluation.systems import PRODUCT, Controls
from uniaudio_cli.prompting.task import load_task

Classes = Annotated[tuple[str, ...], FROM_LIST]


class Concept(Schema):
    """A question and its labels; a clip of a class takes the label that the class stands under."""

    question: str
    labels: dict[str, Classes]


class Concepts(Schema):
    """A file of concepts by name."""

    concepts: dict[str, Concept]

    def jobs(
        self,
        data: Path,
        names: ModelNames,
        controls: Controls = "fast",
        note: Note = no_notes,
        only: Collection[str] | None = None,
    ) -> Iterator[tuple[str, Job]]:
        """A job for each concept of which two labels or more have clips in `data`; every clip is asked once.

        `only`: concepts of these names.
        """
        task = load_task("sound-event")
        for name, concept in self.concepts.items():
            if only is not None and name not in only:
                continue
            manifest = without_unusable(partial(self._manifest, name, concept), Selection(data), note)
            if manifest is not None:
                yield name, Job(manifest, data, task, names, controls)

    @staticmethod
    def _manifest(name: str, concept: Concept, selection: Selection, note: Note) -> Manifest | None:
        data, items = selection.source, list[Item]()
        missing = []
        for label, classes in concept.labels.items():
            for kind in classes:
                clips = [path for path in clips_of(data, kind) if path not in selection.without]
                missing += [] if clips else [kind]
                items += [Item(path, label, kind) for path in clips]
        labels = tuple(sorted({item.label for item in items}))
        if missing:
            note(f"note: {name}: no clips of {', '.join(map(show, missing))} in {show(data)}")
        if len(labels) < 2:
            note(f"note: {name}: left out, as fewer than two of its labels have clips")
            return None
        # Labels without clips stay out: nobody could be right with them.
        drawn = [Episode(labels, (), item) for item in items]
        ways = len(labels)
        made = write_down(selection, drawn, rule="any", seed=0, ways=ways, shots=(0,), folds=1, rounds=1)
        return made.model_copy(update={"data": name})


class ConceptsSummary(Document):
    """Over all concepts, every class of every concept counting the same.

    `accuracy`: by system, `gain`: of the product over it, paired; both resample classes. `by_concept`: accuracy by
    concept and system. `chance`: the mean of 1 / labels over concepts.
    """

    schema_version: Literal[1] = 1
    suite: str
    lm: str
    concepts: int
    clips: int
    chance: float
    accuracy: dict[str, Rate]
    gain: dict[str, Rate]
    by_concept: dict[str, dict[str, float]]


def clips_of(data: Path, kind: str) -> list[Path]:
    """The clips of a class such as esc10/rain: a folder of that name, or files whose name it is."""
    folder = data / kind
    if is_folder(folder):
        return sorted(find_audio([folder]))
    parent, stem = folder.parent, folder.name.casefold()
    if not is_folder(parent):
        return []
    spelled = {stem, stem.replace(" ", "_"), stem.replace(" ", "-")}
    return sorted(path for path in find_audio([parent]) if path.parent == parent and path.stem.casefold() in spelled)


def summarise(
    suite: str, lm: str, answers: Mapping[str, Sequence[Answer]], chances: Mapping[str, float]
) -> ConceptsSummary:
    """`answers`, `chances`: by concept.

    Raises:
        UsageError: there are no answers.
    """
    if not answers:
        raise UsageError(f"suite {suite}: none of its concepts has clips of two labels")
    # A class of a concept is a group: "danger esc10/rain".
    every = [
        each.model_copy(update={"group": f"{name} {each.group}"}) for name, some in answers.items() for each in some
    ]
    by_system: dict[str, list[Answer]] = {}
    for each in every:
        by_system.setdefault(each.system, []).append(each)
    ours = by_system[PRODUCT]
    right = [each.correct for each in ours]
    groups = [each.group for each in ours]
    found = {name: [each.correct for each in some] for name, some in by_system.items()}
    return ConceptsSummary(
        suite=suite,
        lm=lm,
        concepts=len(answers),
        clips=len({each.file for each in every}),
        chance=sum(chances.values()) / len(chances),
        accuracy={name: Rate.of(balanced_accuracy(some, groups)) for name, some in found.items()},
        gain={
            name: Rate.of(balanced_difference(right, some, groups)) for name, some in found.items() if name != PRODUCT
        },
        by_concept={
            concept: {
                name: balanced_accuracy(
                    [each.correct for each in some if each.system == name],
                    [each.group for each in some if each.system == name],
                ).value
                for name in by_system
            }
            for concept, some in answers.items()
        },
    )
