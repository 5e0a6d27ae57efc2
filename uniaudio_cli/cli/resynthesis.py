"""`uniaudio run` of a task from audio to audio: recordings in, what the LLM and the codec make of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.audio_output import choose_targets, required_output, write_audio, write_each

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.resynthesis import Resynthesizer
    from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class ResynthesisJob:
    """A task from audio to audio with its demonstrations, models and output."""

    task: Task
    demo: options.DemoOptions
    models: options.ModelOptions
    run: options.RunOptions
    output: Path | None = None
    strength: float = 1.0

    def load(self, found: Sequence[Demonstration]) -> Resynthesizer:
        """The models and the demonstrations' codes."""
        kit = self.models.load(self.run.quiet)
        return kit.resynthesizer(found, self.task, shots=self.demo.shots or self.task.shots, seed=self.demo.seed)


def resynthesize_files(job: ResynthesisJob, files: list[Path]) -> None:
    """Every file cleaned: of one, to the file `job.output`; else below that folder, the tree of a folder kept."""
    quiet = job.run.quiet
    found = inputs.find_inputs(files, quiet)
    if job.run.show_prompt:
        print(job.load(inputs.find_demonstrations(job.task, job.demo, job.run.quiet)).render_prompt(found[0]))
        return
    targets = choose_targets(found, files, required_output(job.output, job.task), job.run.force)
    demonstrations = inputs.find_demonstrations(job.task, job.demo, job.run.quiet)
    session = job.load(demonstrations)
    inputs.announce_demonstrations(demonstrations, session.demonstrations, job.task, quiet)
    inputs.announce_conversion(targets, session.models.codec.sample_rate, quiet, written=True)

    def work(file: Path, target: Path) -> float:
        result = session.enhance(file, job.strength)
        write_audio(target, result.wav, result.sample_rate, job.run.force)
        return result.seconds

    write_each(targets, work, job.task.name, job.run)
