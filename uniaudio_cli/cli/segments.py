"""`uniaudio classify --segments` and `--stream`: labels within long recordings, and of samples as they come."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniaudio_cli.cli import inputs
from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import complain, counted, finish, note, stderr
from uniaudio_cli.cli.label_output import Row, Write, csv_rows, writing
from uniaudio_cli.cli.labelling import row_writers
from uniaudio_cli.cli.output_paths import check_label_file
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.jsonl import JsonlLog, json_line
from uniaudio_cli.core.paths import show

if TYPE_CHECKING:
    from uniaudio_cli.cli.classify import LabelJob
    from uniaudio_cli.inference.results import ErrorResult
    from uniaudio_cli.inference.segments import Segmenter, SegmentResult, Window

SEGMENT_FILES = (".jsonl", ".csv", ".txt")
WINDOW_FILES = (".jsonl", ".csv")
PCM_RATE, BLOCK_SECONDS = 16_000, 0.1


def label_long(job: LabelJob, long: options.LongOptions, files: list[Path]) -> None:
    """Segments of every file, or with --stream a row for every window of stdin."""
    outputs, quiet = job.outputs, job.run.quiet
    what = "--segments" if long.segments else "--stream"
    flags = {
        "--resume": outputs.resume or None,
        "--copy-to": outputs.copy_to,
        "--link-to": outputs.link_to,
        "--embed": outputs.embed,
        "--suggest": outputs.suggest or None,
        "--show-prompt": job.run.show_prompt or None,
        "--dry-run": job.dry_run or None,
    }
    inputs.refuse_flags(flags, f"is for clips of one label; leave out {what}")
    if long.segments and long.stream:
        raise UsageError("--segments and --stream: name one of them")
    if long.stream:
        others = {"--output": outputs.output, "--window-scores": long.window_scores}
        inputs.refuse_flags(others, "--stream prints its rows to stdout; leave it out")
        if [str(file) for file in files] != ["-"]:
            raise UsageError("--stream: reads samples from stdin; give - as the only input")
        stream_labels(_segmenter(job, long), quiet)
        return
    found = inputs.find_inputs(files, quiet)
    if outputs.output is not None:
        check_label_file(outputs.output, job.run.force, SEGMENT_FILES)
    if long.window_scores is not None:
        check_label_file(long.window_scores, job.run.force, WINDOW_FILES)
    segmenter = _segmenter(job, long)
    with ExitStack() as stack:
        write_segments(segmenter, found, _segment_writers(stack, job), _window_writer(stack, job, long), quiet)


def _segmenter(job: LabelJob, long: options.LongOptions) -> Segmenter:
    from uniaudio_cli.inference.segments import Segmenter

    _ = job.demonstrations  # before any model is loaded
    classifier = job.prepared()
    job.announce(classifier, ())
    return Segmenter(classifier, long.window, long.min_seconds)


def write_segments(
    segmenter: Segmenter, files: Sequence[Path], writers: Sequence[Write], windows: Write | None, quiet: bool
) -> None:
    """Segments of each file as rows; a table where there are no writers; the summary and the exit code."""
    from uniaudio_cli.inference.results import ErrorResult

    seconds: dict[str, list[float]] = {}
    rows: list[Row] = []
    length, done = 0.0, 0
    for result in counted(_segmented(segmenter, files, quiet), len(files), "segments", quiet):
        if isinstance(result, ErrorResult):
            complain(result.error, show(result.file))
            for write in writers:
                write({"file": result.file, "error": result.error})
            continue
        done, length = done + 1, length + result.seconds
        for row in ({"file": result.file, **each} for each in result.rows()):
            seconds.setdefault(row["label"], []).append(row["end"] - row["start"])
            for write in writers:
                write(row)
            if not writers:
                rows.append(row)
        if windows is not None:
            for window in result.windows:
                windows(window_row(result.file, window))
    if rows:
        print_segments(rows, several=len(files) > 1)
    if done:
        ranked = sorted(seconds.items(), key=lambda item: -sum(item[1]))
        found = ", ".join(f"{len(each)} {show(label)} ({sum(each):.0f} s)" for label, each in ranked)
        note(f"segments: {found or 'none'}; of {length:.0f} s", quiet)
    finish(done, len(files))


def _segmented(segmenter: Segmenter, files: Sequence[Path], quiet: bool) -> Iterator[SegmentResult | ErrorResult]:
    """Results; of a single file, how far it is labelled is shown on a terminal meanwhile."""
    if len(files) > 1 or quiet or not stderr().is_terminal:
        yield from map(segmenter, files)
        return
    with stderr().status("segments") as status:
        for file in files:
            yield segmenter(file, lambda done: status.update(f"segments: {clock(done)} labelled"))


def window_row(file: str, window: Window) -> dict[str, Any]:
    """What is written of a window: file, start, end, label and scores; label null and no scores for silence."""
    row: dict[str, Any] = {"file": file, "start": round(window.start, 3), "end": round(window.end, 3), "label": None}
    if window.result is None:
        return row
    row |= {"label": window.result.label, "scores": {k: round(p, 6) for k, p in window.result.scores.items()}}
    return row if window.result.similarity is None else {**row, "similarity": round(window.result.similarity, 6)}


def _segment_writers(stack: ExitStack, job: LabelJob) -> list[Write]:
    """What takes each segment: the file of --output, and stdout."""
    output = job.outputs.output
    if output is None or output.suffix.lower() != ".txt":
        is_log = output is not None and output.suffix.lower() == ".jsonl"
        log = stack.enter_context(JsonlLog(output, force=True)) if is_log else None
        columns = ("file", "start", "end", "label", "score", "error")
        return row_writers(stack, output, job.run, log, (), columns)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(output.open("w", encoding="utf-8", errors="surrogateescape", newline="\n"))

    def write(row: Row) -> None:
        """A line of an Audacity label track."""
        if "error" not in row:
            with writing(output):
                file.write(f"{row['start']:.6f}\t{row['end']:.6f}\t{show(row['label'])}\n")

    return [write, *row_writers(stack, None, job.run, None, ())] if job.run.as_json else [write]


def _window_writer(stack: ExitStack, job: LabelJob, long: options.LongOptions) -> Write | None:
    path = long.window_scores
    if path is None:
        return None
    if path.suffix.lower() == ".csv":
        names = sorted({each.label for each in job.demonstrations if each.label is not None})
        chosen = inputs.split_labels(job.labels) or names
        return stack.enter_context(csv_rows(path, chosen, ("file", "start", "end", "label", "similarity")))
    return stack.enter_context(JsonlLog(path, force=True)).write


def print_segments(rows: Sequence[Row], several: bool) -> None:
    """A table for people, in the recordings' order."""
    table = Table()
    if several:
        table.add_column("file", overflow="fold")
    for name in ("start", "end"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("label", overflow="fold")
    table.add_column("p", no_wrap=True)
    for row in rows:
        cells = [Text(show(row["file"]))] if several else []
        place = [clock(row["start"]), clock(row["end"])]
        table.add_row(*cells, *place, Text(show(row["label"])), f"{row['score']:.2f}")
    Console().print(table)


def clock(seconds: float) -> str:
    """Seconds as 1:02:03.4, without hours where there are none."""
    tenths = round(10 * seconds)
    hours, rest = divmod(tenths, 36_000)
    text = f"{rest // 600}:{rest % 600 / 10:04.1f}"
    return f"{hours}:{text:0>7}" if hours else text


# ---- samples as they come


def stream_labels(segmenter: Segmenter, quiet: bool) -> None:
    """A JSON line for every window of stdin as soon as it is complete, with the seconds that it took after that."""
    from uniaudio_cli.audio.stream import stream_pcm

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("--stream: reads samples from stdin, and that is a terminal; pipe 16-kHz 16-bit mono in")
    arrived: list[tuple[int, float]] = []  # samples by then, and when
    worst, count, total = 0.0, 0, 0

    def timed() -> Iterator[np.ndarray]:
        nonlocal total
        for moment, block in _arriving(sys.stdin.buffer, stream_pcm):
            total += len(block)
            arrived.append((total, moment))
            yield block

    for window in segmenter.live(timed(), PCM_RATE):
        needed = round(window.end * PCM_RATE)
        while len(arrived) > 1 and arrived[0][0] < needed:
            arrived.pop(0)
        latency = time.perf_counter() - arrived[0][1]
        worst, count = max(worst, latency), count + 1
        row = {key: value for key, value in window_row("-", window).items() if key != "file"}
        print(json_line({**row, "latency": round(latency, 3)}), flush=True)
    if not count:
        raise UsageError("--stream: stdin held no samples")
    note(f"stream: {count} windows of {total / PCM_RATE:.0f} s; latency {worst:.2f} s at most", quiet)


def _arriving(stream: BinaryIO, read: Any) -> Iterator[tuple[float, np.ndarray]]:
    """(when it came, samples) of each block: a thread reads, so that what waits is not taken for what just came."""
    waiting: queue.SimpleQueue[tuple[float, np.ndarray] | OSError | None] = queue.SimpleQueue()
    # Without the buffer, whose lock would be held by a thread that waits for samples while the program ends.
    raw = getattr(stream, "raw", stream)

    def fill() -> None:
        try:
            for block in read(raw, BLOCK_SECONDS, PCM_RATE):
                waiting.put((time.perf_counter(), block))
            waiting.put(None)
        except OSError as problem:
            waiting.put(problem)

    threading.Thread(target=fill, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, OSError):
            raise UniAudioError(f"--stream: stdin cannot be read ({item.strerror})") from item
        yield item
