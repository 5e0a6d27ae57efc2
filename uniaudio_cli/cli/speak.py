"""`uniaudio tts`: texts in, spoken answers in the demonstrations' voice out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.audio_output import report, required_output, write_audio
from uniaudio_cli.cli.console import complain, counted, finish, note
from uniaudio_cli.cli.output_paths import check_targets, is_stdout, text_targets
from uniaudio_cli.cli.report_page import check_page, pair_page, transcriber
from uniaudio_cli.core.errors import AbstainedError, UniAudioError, UsageError
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.results import SpeechResult
    from uniaudio_cli.inference.speak import Speaker
    from uniaudio_cli.prompting.task import Task


@options.expand
def tts(
    text: Annotated[str, typer.Argument(help="Question or text, such as '2 + 3'; - reads lines from stdin.")],
    *,
    task: options.TaskName = "spoken-answer",
    demo: options.DemoOptions,
    output: options.Output = None,
    run: options.RunOptions,
    voice: options.Voice = None,
    think: options.Think = True,
    abstain_below: options.AbstainBelow = None,
    stream: options.Stream = False,
    page: options.SpokenReport = None,
    models: options.ModelOptions,
) -> None:
    """Speak a text, or a short answer to a question, in the voice of the demonstrations."""
    chosen = inputs.choose_task(task, demo, layout="interleaved" if stream else None, abstain_below=abstain_below)
    inputs.require_kind(chosen, "speak", "tts")
    speak_texts(SpeechJob(chosen, demo, models, run, output, voice, think, stream, page), [text])


@dataclass(frozen=True)
class SpeechJob:
    """A task from text to audio with its demonstrations, models and output. `page`: an HTML page to write."""

    task: Task
    demo: options.DemoOptions
    models: options.ModelOptions
    run: options.RunOptions
    output: Path | None = None
    voice: str | None = None
    think: bool = True
    stream: bool = False
    page: Path | None = None

    def demonstrations(self) -> list[Demonstration]:
        """Those of the folder by `voice`, or all of them."""
        from uniaudio_cli.data.demonstrations import of_voice

        found = inputs.find_demonstrations(self.task, self.demo, self.run.quiet)
        if self.voice is not None:
            return of_voice(found, self.voice)
        if len(voices := sorted({each.voice for each in found} - {""})) > 1:
            note(f"note: demonstrations by {', '.join(voices)}; --voice NAME takes those of one", self.run.quiet)
        return found

    def load(self, found: Sequence[Demonstration]) -> Speaker:
        """The models and the demonstrations' codes."""
        kit = self.models.load_to_speak(self.run.quiet, self.task.levels)
        return kit.speaker(found, self.task, shots=self.demo.shots or self.task.shots, seed=self.demo.seed)


def speak_texts(job: SpeechJob, given: list[str]) -> None:
    """A spoken answer to every text: of one, to the file `job.output`; of several, numbered into that folder."""
    if job.stream and given[1:] + [text for text in given if text == "-"]:
        raise UsageError("--stream speaks one text: give it as the argument")
    texts = inputs.read_texts(given)
    if job.run.show_prompt:
        print(job.load(job.demonstrations()).render_prompt(texts[0]))
        return
    output = required_output(job.output, job.task)
    if job.stream or is_stdout(output):
        if not is_stdout(output):
            if output.suffix.lower() != ".wav":
                raise UsageError(f"{show(output)}: a stream is written as .wav, or to stdout with -o -")
            check_targets([output], job.run.force)
        elif len(texts) > 1:
            raise UsageError(f"--output {output}: takes one text, and there are {len(texts)}; name a folder")
        targets = [output]
    else:
        targets = text_targets(len(texts), output)
        check_targets(targets, job.run.force)
    if job.page is not None and (job.stream or is_stdout(output)):
        raise UsageError("--report: shows files; name one with --output, without --stream")
    check_page(job.page, job.run.force)
    demonstrations = job.demonstrations()
    speaker = job.load(demonstrations)
    inputs.announce_demonstrations(demonstrations, speaker.demonstrations, job.task, job.run.quiet)
    if job.stream:
        stream_text(job, speaker, texts[0], output)
    else:
        _speak_all(job, speaker, texts, targets)


def _speak_all(job: SpeechJob, speaker: Speaker, texts: Sequence[str], targets: Sequence[Path]) -> None:
    done = abstained = 0
    page = pair_page(job.page, "uniaudio tts", job.run.force, "What is spoken")
    recognise = transcriber(job.models.offline, job.run.quiet) if page is not None else None
    pairs = list(zip(texts, targets, strict=True))
    for text, target in counted(pairs, len(pairs), job.task.name, job.run.quiet):
        started = time.perf_counter()
        try:
            result = speaker.speak(text, job.think)
            write_audio(target, result.wav, result.sample_rate, job.run.force)
        except AbstainedError as problem:
            abstained += 1
            report(job.run, _row(text, problem.answer, problem.probability, False), str(problem))
            continue
        except UniAudioError as problem:
            if isinstance(problem, UsageError) and not done:
                raise
            complain(problem, show(text))
            report(job.run, {"text": text, "error": str(problem)})
            continue
        done += 1
        if page is not None:
            said = [f"says {result.answer!r}"] if result.answer else []
            if recognise is not None:
                said.append(f"Whisper base recognises {recognise(result.wav, result.sample_rate)!r}")
            page.add(text, {"spoken": result.wav}, result.sample_rate, lines=said)
        seconds = round(time.perf_counter() - started, 3)
        row = _row(text, result.answer, result.probability, result.confident, str(target), seconds, result.thought)
        report(job.run, row, f"{show(target)}: {result.seconds:.2f} s{_about(result)}")
    if page is not None and job.page is not None and page.total:
        page.write(job.page, f"{page.total} spoken answers", f"Task {job.task.name}.")
        note(f"{show(job.page)}: {page.total} answers to listen to", job.run.quiet)
    if abstained and done + abstained == len(texts):
        raise typer.Exit(AbstainedError.exit_code)
    finish(done, len(texts))


def _row(
    text: str,
    answer: str,
    probability: float | None,
    confident: bool,
    output: str | None = None,
    seconds: float | None = None,
    thought: str = "",
) -> dict[str, object]:
    """A record of --json. `output`: None where the answer was too unlikely to be spoken."""
    rounded = None if probability is None else float(f"{probability:.4g}")
    said: dict[str, object] = {"text": text, "answer": answer, "probability": rounded, "confident": confident}
    return said | ({"thought": thought} if thought else {}) | {"output": output, "seconds": seconds}


def _about(result: SpeechResult) -> str:
    """What is said, and how sure the LLM is of it."""
    if not result.answer:
        return ""
    if result.probability is None or not result.written:
        return f", says {result.answer!r}"
    return f", answers {result.answer!r}, p {result.probability:.2f}{'' if result.confident else ', not confident'}"


def stream_text(job: SpeechJob, speaker: Speaker, text: str, output: Path) -> None:
    """The spoken answer to one text, written to the file `output` or to stdout while it is generated."""
    from uniaudio_cli.audio.io import stream_wav
    from uniaudio_cli.cli.label_output import writing

    started = time.perf_counter()
    pieces = speaker.stream(text, job.think)
    rate = speaker.models.codec.sample_rate
    # A text that is refused leaves no empty file behind.
    pieces = chain([next(pieces)], pieces)
    if is_stdout(output):
        count = stream_wav(sys.stdout.buffer, pieces, rate)
    else:
        # In place, for others to read while it grows.
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            with output.open("wb") as file:
                count = stream_wav(file, pieces, rate)
    note(f"{show(output)}: {count / rate:.2f} s of audio in {time.perf_counter() - started:.1f} s", job.run.quiet)
