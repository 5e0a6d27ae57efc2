"""`--report`: labelled clips, or recordings before and after, as a page to listen through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from uniaudio_cli.cli.console import note
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import is_file, show

if TYPE_CHECKING:
    from torch import Tensor

    from uniaudio_cli.evaluation.page.build import ClipRow
    from uniaudio_cli.evaluation.page.pairs import PairPage
    from uniaudio_cli.inference.classify import Classifier
    from uniaudio_cli.inference.results import ErrorResult, LabelResult

    Results = Iterable[tuple[LabelResult | ErrorResult, float]]

# Doubt (1 less the lead of the first label over the second) from which the page's text counts a clip.
DOUBTFUL = 0.6


def pair_page(page: Path | None, command: str, force: bool, heading: str = "Before and after") -> PairPage | None:
    """The page of recordings that a command fills, side by side; None without --report. Raises as `check_page`."""
    check_page(page, force)
    if page is None:
        return None
    from uniaudio_cli.evaluation.page.pairs import PairPage

    return PairPage(command, heading)


def check_page(page: Path | None, force: bool) -> None:
    """Refuse a page that cannot be made, before any work.

    Raises:
        UsageError: it is there already, or is no .html. MissingLibrary: a library is not installed.
    """
    if page is None:
        return
    from uniaudio_cli.evaluation.page.build import require

    if page.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {show(page)}: is an HTML page; name it something.html")
    if is_file(page) and not force:
        raise UsageError(f"{show(page)}: already exists (pass --force to overwrite it)")
    require()


def transcriber(offline: bool, quiet: bool) -> Callable[[Tensor, int], str] | None:
    """What Whisper base recognises in a wav [1, T] at a rate; None, with a note, where it is not here."""
    from uniaudio_cli.evaluation.judges import Transcriber
    from uniaudio_cli.inference.encoder import resampled
    from uniaudio_cli.models.registry import resolve_judge

    try:
        recognise = Transcriber(resolve_judge("whisper-base", offline, lambda line: note(line, quiet)))
    except UniAudioError as problem:
        note(f"note: the page shows no transcripts: {problem}", quiet)
        return None
    return lambda wav, rate: recognise(resampled(wav[0].numpy(), rate))


def reviewed(
    stack: ExitStack, page: Path | None, results: Results, words: Callable[[str], str], quiet: bool
) -> Results:
    """The results as they are; once `stack` is left, `page` lists those that have come. `words`: given to the LLM."""
    if page is None:
        return results
    rows: list[ClipRow] = []
    stack.callback(_write, page, rows, quiet)
    return _kept(results, rows, words)


def words_of(classifier: Classifier) -> Callable[[str], str]:
    """What the LLM is given of a clip, by its file."""
    from uniaudio_cli.evaluation.words import prompt_words

    return lambda file: prompt_words(classifier.models, classifier.task, Path(file))


def _kept(
    results: Results, rows: list[ClipRow], words: Callable[[str], str]
) -> Iterator[tuple[LabelResult | ErrorResult, float]]:
    from uniaudio_cli.evaluation.page.build import ClipRow
    from uniaudio_cli.inference.results import ErrorResult

    for result, seconds in results:
        if not isinstance(result, ErrorResult):
            scores, doubt = [*result.scores.items()], 1 - result.margin
            row = ClipRow(len(rows), result.file, result.label, scores, doubt, words=words(result.file))
            rows.append(row)
        yield result, seconds


def _write(page: Path, rows: list[ClipRow], quiet: bool) -> None:
    from uniaudio_cli.evaluation.page.build import write_review

    if not rows:
        return
    doubtful = sum(row.doubt > DOUBTFUL for row in rows)
    about = f"{doubtful} of {len(rows)} labels have another one close behind."
    write_review(rows, page, f"{len(rows)} labelled clips", about)
    note(f"{show(page)}: {len(rows)} clips to listen through", quiet)
