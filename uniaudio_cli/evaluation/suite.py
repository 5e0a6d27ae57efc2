"""Suites: YAML files that name a corpus's layout, a task and the runs of a table; a user points at the data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from typing_extensions import Self

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_file, show, suggest
from uniaudio_cli.core.schema import FROM_LIST, NOT_BLANK, Schema, load_yaml, require
from uniaudio_cli.core.strict_yaml import parse_yaml
from uniaudio_cli.data.manifest import Note, no_notes
from uniaudio_cli.evaluation.concepts import Concepts
from uniaudio_cli.evaluation.controls import CONTROLS
from uniaudio_cli.evaluation.folds import plan_folds
from uniaudio_cli.evaluation.job import Job, ModelNames
from uniaudio_cli.evaluation.layouts import LAYOUTS, PAIR_LAYOUTS, RECORDING_LAYOUTS
from uniaudio_cli.evaluation.manifest import Manifest, Selection, plan
from uniaudio_cli.prompting.task import load_task

FOLDER = Path(__file__).parent / "suites"
Text = Annotated[str, Field(pattern=NOT_BLANK)]


class Run(Schema):
    """One report of a suite; a table row for each number of shots and each system."""

    name: Text = Field(description="Of the run's folder in the report.")
    ways: int | None = Field(default=None, ge=2, description="Labels in an episode; null for all, by cross-validation.")
    shots: Annotated[tuple[int, ...], FROM_LIST] = Field(default=(1, 3, 5), description="Demonstrations per label.")
    episodes: int | None = Field(
        default=None, ge=1, description="Episodes; null for 300, or with all labels for folds."
    )
    rule: Literal["same", "other", "any"] | None = Field(default=None, description="Groups that demonstrate.")
    groups: Annotated[tuple[str, ...], FROM_LIST] = Field(default=(), description="Only these speakers.")
    labels: Annotated[tuple[str, ...], FROM_LIST] = Field(default=(), description="Only these labels.")
    half: Literal["development", "test", "all"] = Field(default="all", description="Clips that are used.")
    superclasses: dict[str, Annotated[tuple[str, ...], FROM_LIST]] = Field(
        default_factory=dict, description="Super-classes and their classes: labels are the first, groups the second."
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Task keys that differ in this run.")
    controls: Annotated[tuple[str, ...], FROM_LIST] = Field(
        default=(), description="Rows that change demonstrations or queries on purpose."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for control in self.controls:
            require(control in CONTROLS, "controls", f"of {', '.join(CONTROLS)}", control)
        classes = [name for names in self.superclasses.values() for name in names]
        several = len(self.superclasses) != 1 and all(self.superclasses.values())
        require(several, "superclasses", "two or more lists of classes", list(self.superclasses))
        require(len(classes) == len(set(classes)), "superclasses", "lists without a class twice", classes)
        require(all(shot >= 0 for shot in self.shots) and bool(self.shots), "shots", "numbers from 0 up", self.shots)
        return self


class Suite(Schema):
    """A table of runs on one corpus. `about`: what it is and where the data comes from."""

    name: Text
    about: Text
    layout: Text
    task: Text
    runs: Annotated[tuple[Run, ...], FROM_LIST]

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.layout in LAYOUTS, "layout", f"one of {', '.join(LAYOUTS)}", self.layout)
        names = [run.name for run in self.runs]
        require(bool(names) and len(names) == len(set(names)), "runs", "runs of different names", names)
        return self

    def jobs(
        self,
        data: Path,
        names: ModelNames,
        seed: int = 0,
        note: Note = no_notes,
        only: Collection[str] | None = None,
    ) -> Iterator[tuple[Run, Job]]:
        """Each run with its job on the corpus in `data`. `only`: runs of these names.

        Raises:
            UsageError: the folder has another layout, or too few clips for a run.
        """
        for run in self.runs:
            if only is not None and run.name not in only:
                continue
            task = load_task(self.task, run.settings)
            yield run, Job(self.manifest(run, data, seed, note), data, task, names, rows_added=run.controls)

    def manifest(self, run: Run, data: Path, seed: int, note: Note) -> Manifest:
        """The episodes of a run."""
        chosen = Selection(
            data,
            run.half,
            groups=run.groups or None,
            labels=run.labels or None,
            layout=self.layout,
            superclasses=run.superclasses or None,
        )
        if run.ways is None and run.episodes is None and run.rule != "same":
            return plan_folds(chosen, shots=run.shots, seed=seed, rule=run.rule, note=note)
        return plan(
            chosen, ways=run.ways, shots=run.shots, count=run.episodes or 300, seed=seed, rule=run.rule, note=note
        )


class PairSuite(Schema):
    """Enhancement on a public corpus of pairs. `shots`: pairs that are learnt from; `about`: as of `Suite`."""

    name: Text
    about: Text
    layout: Text
    shots: int = Field(default=4, ge=1, description="Pairs that are learnt from.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.layout in PAIR_LAYOUTS, "layout", f"one of {', '.join(PAIR_LAYOUTS)}", self.layout)
        return self


class ReconstructionSuite(Schema):
    """What a codec keeps of a corpus's clips; there is no task. `about`: as of `Suite`."""

    kind: Literal["reconstruction"]
    name: Text
    about: Text
    layout: Text
    segments: int = Field(default=200, ge=2, description="Most segments of 3 s, evenly over groups.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.layout in RECORDING_LAYOUTS, "layout", f"one of {', '.join(RECORDING_LAYOUTS)}", self.layout)
        return self


class SoundSuite(Schema):
    """Sounds made from their names after demonstrations. `about`, `layout`, `task`: as of `Suite`."""

    kind: Literal["text-to-sound"]
    name: Text
    about: Text
    layout: Text
    task: Text = "text-to-sound"
    draws: int = Field(default=3, ge=1, description="Choices of demonstrations; each makes a sound of every label.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Task keys that differ.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.layout in LAYOUTS, "layout", f"one of {', '.join(LAYOUTS)}", self.layout)
        return self


class OtherKind(Schema):
    """What a file of an unknown kind is read as, so that the error names the kinds there are."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["reconstruction", "text-to-sound"]


AnySuite = Suite | Concepts | PairSuite | ReconstructionSuite | SoundSuite
KINDS: Mapping[str, type[Schema]] = {"reconstruction": ReconstructionSuite, "text-to-sound": SoundSuite}


def suites() -> Mapping[str, Path]:
    """The shipped suites by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load_suite(name: str) -> AnySuite:
    """A shipped suite, or one in a .yaml file; a file of concepts is one of labels by name, a layout of pairs makes one
    of enhancement, and `kind` names what has no task.

    Raises:
        UsageError: there is no such suite, or it is not one.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else suites().get(name)
    if path is None or not is_file(path):
        known = suites()
        raise UsageError(
            f"no suite {show(name)!r}{suggest(name, known)}; there are {', '.join(known)}, or a .yaml file"
        )
    found: AnySuite = load_yaml(path, _kind(path))  # type: ignore[assignment]
    return found


def _kind(path: Path) -> type[Schema]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # said by `load_yaml`
        values = None
    if not isinstance(values, dict):
        return Suite
    if "concepts" in values:
        return Concepts
    if "kind" in values:
        return KINDS.get(str(values["kind"]), OtherKind)
    return PairSuite if values.get("layout") in PAIR_LAYOUTS else Suite
