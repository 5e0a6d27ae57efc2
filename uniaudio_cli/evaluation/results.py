"""The schema of an evaluation's results: results.json and the lines of episodes.jsonl, in a versioned form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.evaluation.confidence import Bin, Coverage
from uniaudio_cli.evaluation.manifest import Document
from uniaudio_cli.evaluation.metrics import Interval

# Version 2 adds the design, precision, reliability, abstention, clips, advice and cost, version 3 the open set; the
# older ones are still read.
SCHEMA_VERSIONS = (1, 2, 3)


class Answer(Document):
    """One system's answer to one episode: a line of episodes.jsonl.

    `scores`: per label, likeliest first. `probabilities`: whether they are probabilities. `similarities`: of the
    product, the clip's open-set score without the label after its own and without its own (`open_set.left_out`).
    """

    system: str
    shots: int
    episode: int
    file: str
    group: str
    truth: str
    answer: str
    scores: dict[str, float]
    probabilities: bool
    similarities: tuple[float, float] | None = None

    @property
    def correct(self) -> bool:
        return self.answer == self.truth


class Rate(Document):
    """A rate or difference with its 95 % interval. `clusters`: 0 where the interval is not bootstrapped over groups."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    @classmethod
    def of(cls, interval: Interval) -> Rate:
        return cls(**{name: getattr(interval, name) for name in cls.model_fields})

    @property
    def interval(self) -> Interval:
        return Interval(self.value, self.low, self.high, self.n, self.clusters)


class ClassCount(Document):
    """Of one label: queries with it, those answered right, and answers that name it.

    `recall`: right of the queries; `precision`: right of the answers that name it; None of none.
    """

    n: int
    correct: int
    answered: int
    recall: float | None = None
    precision: float | None = None

    @classmethod
    def of(cls, n: int, correct: int, answered: int) -> ClassCount:
        shares = {"recall": correct / n if n else None, "precision": correct / answered if answered else None}
        return cls(n=n, correct=correct, answered=answered, **shares)


class SystemResult(Document):
    """One system at one number of shots.

    `by_group`: the plain rate of each group, where there are too few for a bootstrap. `confusion[truth][answer]`.
    `calibration_error`: None where scores are no probabilities; `reliability` and `abstention` are empty then.
    `covered`: the most that can be answered with so many right, where it can.
    """

    accuracy: Rate
    by_group: dict[str, tuple[int, int]]
    per_class: dict[str, ClassCount]
    confusion: dict[str, dict[str, int]]
    calibration_error: float | None
    reliability: tuple[Bin, ...] = ()
    abstention: tuple[Coverage, ...] = ()
    covered: dict[str, Coverage] = Field(default_factory=dict)


class Difference(Document):
    """How much more often `system` is right than `reference`, on the same episodes."""

    system: str
    reference: str
    accuracy: Rate


class Cell(Document):
    """All systems at one number of shots."""

    ways: int
    shots: int
    chance: float
    systems: dict[str, SystemResult]
    differences: tuple[Difference, ...]


class OpenSetResult(Document):
    """Clips of a label told from clips of none: the area under the ROC curve of two scores.

    Every query counts twice: with its label's demonstrations among those of `labels` labels, and with those of
    `labels` others. `similarity`: the score of `classify --unknown`. `probability`: the largest probability.
    """

    labels: int
    similarity: Rate
    probability: Rate


class ClipReview(Document):
    """What the product makes of one clip over all its episodes at the most shots.

    `scores`: means, likeliest first. `doubt`: 1 less the lead of the first over the second. `fits_better`: the label
    that it probably should have. `words`: what the LLM is given of it.
    """

    file: str
    group: str
    truth: str
    answer: str
    right: int
    asked: int
    scores: dict[str, float]
    doubt: float
    fits_better: str | None = None
    words: str = ""


class Advice(Document):
    """A label to add demonstrations of. `taken_for`: the label it is mixed up with most. `show`: clips that help."""

    label: str
    recall: float
    n: int
    taken_for: str
    share: float
    show: tuple[str, ...]


class Cost(Document):
    """What answering took, summed over the runs that a report was made in. `answers`: those that the seconds are of.

    `by_system`: seconds in each row's own answers; what rows share, such as codes, counts where it is first needed.
    """

    answers: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_megabytes: float = 0.0
    workers: int = 1
    cores: int = 0
    by_system: dict[str, float] = Field(default_factory=dict)


class Results(Document):
    """Everything that results.json holds. `skipped`: rows that were not run, and why.

    `folds`, `rounds`: of a cross-validation; 0 for episodes. `suite`, `notes`: what else a reader has to know.
    `open_set`: at the most shots; None where it is not measured.
    """

    schema_version: Literal[1, 2, 3] = 3
    data: str
    clips: int
    labels: tuple[str, ...]
    groups: int
    episodes: int
    rule: str
    half: str
    seed: int
    manifest: str
    settings: dict[str, Any]
    versions: dict[str, str]
    models: dict[str, dict[str, str]]
    skipped: dict[str, str]
    cells: tuple[Cell, ...]
    folds: int = 0
    rounds: int = 0
    suite: str = ""
    notes: tuple[str, ...] = ()
    reviews: tuple[ClipReview, ...] = ()
    advice: tuple[Advice, ...] = ()
    cost: Cost = Cost()
    open_set: OpenSetResult | None = None

    @property
    def deepest(self) -> Cell:
        """The cell of the most shots."""
        return max(self.cells, key=lambda cell: cell.shots)


def read_results(path: Path) -> Results:
    """The results in a results.json, or in the folder that holds one.

    Raises:
        UsageError: there are none, or of another version of the schema.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(
            f"{show(file)}: cannot be read ({problem.strerror}); give a folder of `uniaudio eval`"
        ) from problem
    except ValueError as problem:
        raise UsageError(f"{show(file)}: is not JSON") from problem
    version = rows.get("schema_version") if isinstance(rows, dict) else None
    if version not in SCHEMA_VERSIONS:
        known = ", ".join(map(str, SCHEMA_VERSIONS))
        raise UsageError(f"{show(file)}: has schema version {version}, and this program reads {known}")
    try:
        return Results.model_validate(rows)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{show(file)}: holds no results ({where}: {first['msg']})") from problem
