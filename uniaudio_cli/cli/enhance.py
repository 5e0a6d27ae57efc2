"""`uniaudio enhance`: noisy recordings in, cleaned ones out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.audio_output import report, required_output, write_audio
from uniaudio_cli.cli.console import complain, counted, finish
from uniaudio_cli.cli.output_paths import audio_targets, check_targets, is_stdout
from uniaudio_cli.cli.report_page import pair_page
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.enhance import Enhancer
    from uniaudio_cli.prompting.task import Task


@options.expand
def enhance(
    files: options.Files,
    *,
    task: options.TaskName = "enhance",
    demo: options.DemoOptions,
    output: options.Output = None,
    run: options.RunOptions,
    mix: options.Mix = 0.0,
    report: options.PairReport = None,
    models: options.ModelOptions,
) -> None:
    """Clean noisy recordings from a few (noisy, clean) pairs."""
    chosen = inputs.choose_task(task, demo)
    inputs.require_kind(chosen, "enhance", "enhance")
    enhance_files(EnhancementJob(chosen, demo, models, run, output, mix, report), files)


@dataclass(frozen=True)
class EnhancementJob:
    """A task from audio to audio with its demonstrations, models and output."""

    task: Task
    demo: options.DemoOptions
    models: options.ModelOptions
    run: options.RunOptions
    output: Path | None = None
    mix: float = 0.0
    report: Path | None = None

    def load(self, found: Sequence[Demonstration]) -> Enhancer:
        """The models and the demonstrations' codes."""
        kit = self.models.load(self.run.quiet)
        return kit.enhancer(found, self.task, shots=self.demo.shots or self.task.shots, seed=self.demo.seed)


def enhance_files(job: EnhancementJob, files: list[Path]) -> None:
    """Every file cleaned: of one, to the file `job.output`; else below that folder, the tree of a folder kept."""
    quiet = job.run.quiet
    found = inputs.find_inputs(files, quiet)
    if job.run.show_prompt:
        print(job.load(inputs.find_demonstrations(job.task, job.demo, job.run.quiet)).render_prompt(found[0]))
        return
    output = required_output(job.output, job.task)
    if is_stdout(output):
        if len(found) > 1:
            raise UsageError(f"--output {output}: takes one input, and there are {len(found)}; name a folder")
        targets = {found[0]: output}
    else:
        targets = audio_targets(found, files, output)
        check_targets(targets.values(), job.run.force)
    demonstrations = inputs.find_demonstrations(job.task, job.demo, job.run.quiet)
    page = pair_page(job.report, "uniaudio enhance", job.run.force)
    enhancer = job.load(demonstrations)
    found = list(targets)
    inputs.announce_demonstrations(demonstrations, enhancer.demonstrations, job.task, quiet)
    inputs.announce_conversion(found, enhancer.models.codec.sample_rate, quiet, written=True)
    done = 0
    for file in counted(found, len(found), job.task.name, quiet):
        started = time.perf_counter()
        try:
            result = enhancer.enhance(file, job.mix)
            write_audio(targets[file], result.wav, result.sample_rate, job.run.force)
        except UniAudioError as problem:
            if isinstance(problem, UsageError) and not done:
                raise
            complain(problem, show(file))
            report(job.run, {"file": str(file), "error": str(problem)})
            continue
        done += 1
        if page is not None:
            page.add(str(file), {"input": file, "enhanced": result.wav}, result.sample_rate)
        seconds = round(time.perf_counter() - started, 3)
        row = {"file": str(file), "output": str(targets[file]), "seconds": seconds}
        report(job.run, row, f"{show(targets[file])}: {result.seconds:.2f} s in {seconds:.1f} s")
    if page is not None and job.report is not None and done:
        page.write(job.report, f"{done} enhanced recordings", f"By the task {job.task.name}.")
    finish(done, len(found))
