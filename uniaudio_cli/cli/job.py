"""A task, its demonstrations and the models it was asked of: files and texts in, rows and sound files out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli.console import complain, each, finish, is_terminal, json_line, note, progressing, records
from uniaudio_cli.cli.output_paths import check_audio, check_targets, mirrored
from uniaudio_cli.cli.params import ModelOptions, load_kit
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show

if TYPE_CHECKING:
    from uniaudio_cli.inference.pipeline import Reply, Session
    from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class Job:
    """What a command was asked for, whatever the task. `labels`: as typed, with commas."""

    task: Task
    which: ModelOptions
    demos: Path
    shots: int | None
    labels: str | None
    seed: int
    _: KW_ONLY
    as_json: bool
    show_prompt: bool
    quiet: bool
    force: bool

    def session(self) -> Session:
        """The demonstrations chosen and heard, and the models loaded."""
        from uniaudio_cli.data.demonstrations import choose, load_demonstrations

        if self.labels is not None and self.task.demonstration_kind == "pair":
            raise UsageError(f"--labels: the demonstrations of task {self.task.name} have none")
        demonstrations = load_demonstrations(self.demos, self.task.demonstration_kind)
        shots, labels = self.shots or self.task.shots, split_labels(self.labels)
        choose(demonstrations, shots, self.seed, labels)  # what is wrong is said before anything is loaded
        kit = load_kit(self.which, self.quiet)
        return kit.session(self.task, kit.picked(self.task, demonstrations, shots, self.seed, labels), self.seed)

    def open(self) -> Session:
        """The same with labels' demonstrations read by the LLM, so that what does not fit is said once."""
        session = self.session()
        if self.task.output == "label":
            _ = session.readout
        return session

    def say(self, row: Mapping[str, Any], line: str) -> None:
        """One answer: data on stdout where asked for, else a line for people on stderr."""
        if self.as_json:
            print(json_line(row), flush=True)
        else:
            note(line, self.quiet)


def override_task(
    name: str,
    readout: str | None = None,
    repeats: int | None = None,
    levels: str | None = None,
    no_instruction: bool = False,
    abstain_below: float | None = None,
    order: str | None = None,
    pick: str | None = None,
) -> Task:
    """The task with the command's flags in place of its own values."""
    from uniaudio_cli.prompting.task import LEVELS, load_task, override_task

    numbers: tuple[int, ...] | None = None
    if levels is not None:
        numbers = LEVELS.numbers([int(part) if part.isdecimal() else part for part in levels.split(",")])
        if numbers is None:
            raise UsageError(f"--levels {levels}: give numbers separated by commas, such as 0 or 0,1, or prosody")
    elif readout == "label":
        numbers = (0,)  # the paper's prompt; the tasks' finer levels are for likelihood
    return override_task(
        load_task(name),
        readout=readout,
        repeats=repeats,
        levels=numbers,
        instruction="" if no_instruction else None,
        abstain_below=abstain_below,
        order=order,
        pick=pick,
    )


def require(task: Task, command: str, output: str, input: str) -> None:
    """Refuse a task of another kind than the command's."""
    if (task.input, task.output) != (input, output):
        raise UsageError(
            f"task {task.name} turns {task.input} into {task.output}: `uniaudio {command}` cannot do that, "
            f"`uniaudio run {task.name}` can"
        )


def label_all(job: Job, files: list[Path], jsonl: str | None, resume: bool = False) -> None:
    """A label for every file: JSON to `jsonl` as `records` takes it, or a table on a terminal.

    In `jsonl` a file that failed has a row with its `error`. With `resume`, files that have a label there are left out.
    """
    from uniaudio_cli.audio.discovery import find_audio
    from uniaudio_cli.inference.pipeline import in_batches

    found = find_audio(files)
    if job.show_prompt:
        print(job.session().written(found[0]))
        return
    if resume and jsonl in (None, "-"):
        raise UsageError("--resume: goes on with the file of --jsonl; name one")
    if jsonl is not None and jsonl != "-":
        check_targets([Path(jsonl)], job.force or resume)
    done = finished(Path(jsonl)) if resume and jsonl else {}
    waiting = [file for file in found if str(file) not in done]
    if resume:
        note(f"{len(found) - len(waiting)} of {len(found)} clips are done", job.quiet)
    if not waiting:
        return
    session = job.open()
    check_labels(session.labels, done.values(), jsonl)
    tell_conversion(waiting, session.kit.codec.sample_rate, job.quiet)
    to_terminal = jsonl is None and is_terminal()
    rows: list[dict[str, Any]] = []
    labelled = 0
    with records(jsonl, more=resume) as write:
        for some in progressing(in_batches(waiting), len(waiting), "classify", job.quiet):
            started = time.perf_counter()
            replies = session.label_files(some)
            seconds = round((time.perf_counter() - started) / len(some), 3)
            for file, reply in zip(some, replies, strict=True):
                if isinstance(reply, UniAudioError):
                    if isinstance(reply, UsageError) and not labelled:
                        raise reply  # so what is wrong is the command and not one of its clips
                    complain(reply, show(file))
                    if jsonl is not None:
                        write({"file": str(file), "error": str(reply)})
                    continue
                labelled += 1
                row = label_row(file, reply, seconds)
                write(row)
                if to_terminal:
                    rows.append(row)
    if rows:
        print_labels(rows)
    if 0 < labelled < len(waiting):
        note(f"note: {len(waiting) - labelled} of {len(waiting)} clips failed", job.quiet)
    finish(labelled, len(waiting))


def plan_all(job: Job, files: list[Path], jsonl: str | None) -> None:
    """What the demonstrations take of the LLM's context, in rows or a table as `label_all` gives them."""
    from uniaudio_cli.audio.discovery import find_audio

    find_audio(files)
    if jsonl is not None and jsonl != "-":
        check_targets([Path(jsonl)], job.force)
    rooms = job.session().plan()
    with records(jsonl) as write:
        for room in rooms:
            write(
                {
                    "label": room.about,
                    "level": room.level,
                    "shots": len(room.shots),
                    "shot_ids": list(room.shots),
                    "rest_ids": room.rest,
                    "answer_ids": room.answer,
                    "ids": room.ids,
                    "context": room.context,
                    "most_shots": room.most_shots,
                }
            )
    if jsonl is None and is_terminal():
        table = Table("demonstrations of", "words of", "shots", "ids a shot", "ids in all", "of", "shots that fit")
        for room in rooms:
            each = f"{sum(room.shots) / len(room.shots):.0f}"
            numbers = (len(room.shots), each, room.ids, room.context, room.most_shots)
            table.add_row(Text(room.about or "all labels"), room.level or "", *map(str, numbers))
        Console().print(table)
    shots = min(room.most_shots for room in rooms)
    note(f"{shots} shot{'s' * (shots != 1)} would fit, {max(len(room.shots) for room in rooms)} given", job.quiet)


def label_row(file: Path, reply: Reply, seconds: float) -> dict[str, Any]:
    """What is written of a clip that was asked about."""
    scores = sorted((reply.scores or {}).items(), key=lambda item: -item[1])
    margin = scores[0][1] - scores[1][1] if len(scores) > 1 else 1.0
    return {
        "file": str(file),
        "label": reply.label,
        "scores": {label: round(p, 6) for label, p in scores},
        "margin": round(margin, 6),
        "seconds": seconds,
    }


def finished(jsonl: Path) -> dict[str, tuple[str, ...]]:
    """File -> its labels, sorted, for every clip with a row in `jsonl`, which is left with those rows alone.

    Rows of clips that failed are dropped, to be tried again, and so is a last line that was not written to its end.
    """
    if not jsonl.exists():
        return {}
    kept, done = [], {}
    lines = jsonl.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            file, scores = row["file"], row.get("scores")
        except (ValueError, KeyError, TypeError):
            if not line or number == len(lines):
                continue
            raise UsageError(f"{show(jsonl)}:{number}: is no row of this command; give another file") from None
        if scores and file not in done:
            kept.append(line)
            done[file] = tuple(sorted(scores))
    with atomic(jsonl, force=True) as temporary:
        temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    return done


def check_labels(labels: Sequence[str], done: Iterable[tuple[str, ...]], jsonl: str | None) -> None:
    """Refuse to go on with a file whose rows chose among other labels."""
    for theirs in done:
        if theirs != tuple(sorted(labels)):
            raise UsageError(
                f"{show(jsonl or '')}: its rows choose among {', '.join(theirs)}, and the demonstrations are of "
                f"{', '.join(labels)}; give another file or --force without --resume"
            )


def speak_all(job: Job, given: list[str], output: Path | None, think: bool | None) -> None:
    """A spoken answer to every text: of one to the file `output`; of several, or of stdin's lines, into that folder."""
    from uniaudio_cli.audio.io import write_wav

    texts = [one_line(text) for text in (stdin_lines() if given == ["-"] else given)]
    if job.show_prompt:
        print(job.session().written(texts[0]))
        return
    place = needed(output, job.task)
    targets = [place] if len(given) == 1 and given != ["-"] else [place / f"{n}.wav" for n in range(len(texts))]
    check_audio(targets)
    check_targets(targets, job.force)
    session = job.open()
    rate = session.kit.codec.sample_rate
    answer = timed(session, think=bool(job.task.qa_examples) if think is None else think)

    def work(pair: tuple[str, Path]) -> tuple[Reply, float]:
        reply, seconds = answer(pair[0])
        assert reply.wav is not None
        write_wav(pair[1], reply.wav, rate, job.force)
        return reply, seconds

    done = 0
    pairs = list(zip(texts, targets, strict=True))
    for (text, target), (reply, seconds) in each(pairs, work, job.task.name, job.quiet, name=lambda p: show(p[0])):
        assert reply.wav is not None
        done += 1
        said = f", says {reply.answer!r}" if reply.answer else ""
        row = {"text": text, "answer": reply.answer, "output": str(target), "seconds": seconds}
        job.say(row, f"{show(target)}: {reply.wav.shape[-1] / rate:.2f} s{said}")
    finish(done, len(texts))


def stream_one(job: Job, text: str, output: Path | None, think: bool | None) -> None:
    """The spoken answer to one text, written to the file `output` or ("-") to stdout while it is being made."""
    from uniaudio_cli.audio.io import stream_wav

    place, text = needed(output, job.task), one_line(text)
    if text == "-":
        raise UsageError("--stream speaks one text: give it as the argument")
    if job.show_prompt:
        print(job.session().written(text))
        return
    if str(place) != "-":
        if place.suffix.lower() != ".wav":
            raise UsageError(f"{show(place)}: a stream is written as .wav, or to stdout with -o -")
        check_targets([place], job.force)
    session = job.open()
    started = time.perf_counter()
    pieces = session.stream(text, think=bool(job.task.qa_examples) if think is None else think)
    rate = session.kit.codec.sample_rate
    if str(place) == "-":
        count = stream_wav(sys.stdout.buffer, pieces, rate)
    else:
        # In place, for others to read while it grows.
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            count = stream_wav(file, pieces, rate)
    note(f"{show(place)}: {count / rate:.2f} s of audio in {time.perf_counter() - started:.1f} s", job.quiet)


def transform_all(job: Job, files: list[Path], output: Path | None, mix: float = 0.0) -> None:
    """Every file made anew below the folder `output`, the tree of an input folder kept."""
    from uniaudio_cli.audio.discovery import find_audio
    from uniaudio_cli.audio.io import write_wav

    found = find_audio(files)
    if job.show_prompt:
        print(job.session().written(found[0]))
        return
    targets = mirrored(found, files, needed(output, job.task))
    found = list(targets)
    check_targets(targets.values(), job.force)
    session = job.open()
    rate = session.kit.codec.sample_rate
    tell_conversion(found, rate, job.quiet)
    answer = timed(session, mix=mix)

    def work(file: Path) -> float:
        reply, seconds = answer(file)
        assert reply.wav is not None
        write_wav(targets[file], reply.wav, rate, job.force)
        return seconds

    done = 0
    for file, seconds in each(found, work, job.task.name, job.quiet):
        done += 1
        row = {"file": str(file), "output": str(targets[file]), "seconds": seconds}
        job.say(row, f"{show(targets[file])}: {seconds:.1f} s")
    finish(done, len(found))


def timed(session: Session, **options: Any) -> Callable[[Path | str], tuple[Reply, float]]:
    """The session, to be called with a query; its reply and the seconds that took."""

    def answer(query: Path | str) -> tuple[Reply, float]:
        started = time.perf_counter()
        return session(query, **options), round(time.perf_counter() - started, 3)

    return answer


def tell_conversion(files: Iterable[Path], rate: int, quiet: bool) -> None:
    """One note where files are not mono at the codec's rate, whichever and however many they are."""
    from uniaudio_cli.audio.io import layout

    for file in () if quiet else files:
        # What cannot be read is reported when its turn comes.
        with suppress(UniAudioError):
            theirs, channels = layout(file)
            if (theirs, channels) != (rate, 1):
                heard = f"{theirs} Hz, {channels} channel{'s' * (channels > 1)}"
                note(f"note: clips are resampled to {rate} Hz and mixed down to mono ({show(file)} has {heard})")
                return


def print_labels(rows: Iterable[Mapping[str, Any]]) -> None:
    """A table for people."""
    table = Table("clip", "label", "p", "next")
    for row in rows:
        (likeliest, p), *others = row["scores"].items()
        if row["label"] is None:
            likeliest = f"({likeliest}?)"
        following = ", ".join(f"{other} {q:.2f}" for other, q in others[:2])
        table.add_row(Text(show(row["file"])), Text(likeliest), f"{p:.2f}", Text(following))
    Console().print(table)


def needed(output: Path | None, task: Task) -> Path:
    if output is None:
        raise UsageError(f"task {task.name} makes audio: say where with --output")
    return output


def split_labels(labels: str | None) -> list[str] | None:
    """The labels of --labels; two or more, or there is nothing to choose."""
    if labels is None:
        return None
    found = list(dict.fromkeys(label.strip() for label in labels.split(",") if label.strip()))
    if len(found) < 2:
        raise UsageError(f"--labels {show(labels)!r}: a choice takes two or more labels, separated by commas")
    return found


def stdin_lines() -> list[str]:
    """The lines of stdin that hold more than blanks."""
    lines = [line for line in sys.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines() if line.strip()]
    if not lines:
        raise UsageError("stdin holds no text to answer")
    return lines


def one_line(text: str) -> str:
    """White space of any kind and length as one space. Raises UsageError where there is nothing else, or no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"'{show(text)}' is not UTF-8 text") from None
    if not text.strip():
        raise UsageError("there is nothing to answer: the text is empty")
    return " ".join(text.split())
