"""`uniaudio classify` without demonstrations: labels by their names."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note, stderr
from uniaudio_cli.cli.labelling import Labelling
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.cli.labelling import Timed
    from uniaudio_cli.inference.names import TaggedClip, ZeroShotClassifier
    from uniaudio_cli.inference.results import ErrorResult
    from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class ZeroShotJob(Labelling):
    """Labels by name, and what stands for them. `abstain_below`: the task's."""

    labels: tuple[str, ...]
    descriptions: dict[str, str]
    abstain_below: float

    @classmethod
    def of(
        cls,
        task: Task,
        labels: str | None,
        descriptions: Path | None,
        models: options.ModelOptions,
        run: options.RunOptions,
        outputs: options.LabelOutputs,
    ) -> ZeroShotJob:
        """The job of a command line; without --labels, the labels are those that are described.

        Raises:
            UsageError: there are no labels, or a description is of none of them.
        """
        described = inputs.read_descriptions(descriptions) if descriptions else {}
        names = inputs.split_labels(labels) or list(described)
        if not names:
            raise UsageError("classify takes --demos FOLDER of labelled clips, or --labels NAME,NAME to choose among")
        if len(names) < 2:
            raise UsageError(f"--descriptions: describes the one label {show(names[0])!r}, and a choice takes two")
        if unknown := [label for label in described if label not in names]:
            raise UsageError(f"--descriptions: {show(unknown[0])!r} is not among --labels {', '.join(names)}")
        return cls(models, run, outputs, tuple(names), described, task.abstain_below or 0.0)

    def load(self) -> ZeroShotClassifier:
        """The tagger and the LLM's scores of the labels."""
        from uniaudio_cli.api import load_zero_shot

        quiet = self.run.quiet
        session = load_zero_shot(
            self.labels,
            self.descriptions,
            **self.models.zero_shot_arguments,
            abstain_below=self.abstain_below,
            progress=lambda line: note(line, quiet),
        )
        if session.meaningless:
            names = ", ".join(show(label) for label in session.meaningless)
            note(
                f"warning: labels that name no sound are a guess ({names}): describe them with --descriptions, or show "
                f"clips of them with --demos",
                quiet,
            )
        return session

    def settings(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "descriptions": self.descriptions,
            "abstain_below": self.abstain_below,
            "lm": self.models.zero_shot_lm,
            "dtype": self.models.dtype,
            "bits": self.models.bits,
        }

    def stops_early(self, found: Sequence[Path]) -> bool:
        if self.run.show_prompt:
            print(self.load().render_prompt())
        return self.run.show_prompt

    def prepared(self) -> ZeroShotClassifier:
        session = self.load()
        with stderr(self.run.quiet or not stderr().is_terminal).status("scoring labels"):
            session.prepare()
        return session

    def results(self, session: ZeroShotClassifier, found: Sequence[Path], waiting: Sequence[Path]) -> Timed:
        """Of all clips, as they are calibrated together; those that wait are kept."""
        tagged: list[TaggedClip | ErrorResult] = []
        seconds = []
        for file in found:
            started = time.perf_counter()
            tagged.append(session.tag(file))
            seconds.append(round(time.perf_counter() - started, 3))
        wanted = {os.path.realpath(file) for file in waiting}
        for file, result, spent in zip(found, session.label(tagged), seconds, strict=True):
            if os.path.realpath(file) in wanted:
                yield result, spent
