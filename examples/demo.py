"""The tour behind `make demo`: classify clips, speak answers, enhance a noisy file, all with one frozen LLM.

python examples/demo.py [--output FOLDER] [--model PRESET]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor

import uniaudio_cli
from uniaudio_cli.api import Kit
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.evaluation.judges import WhisperJudge
from uniaudio_cli.inference.results import ErrorResult
from uniaudio_cli.models.registry import resolve_judge

AUDIO = Path(__file__).parent / "audio"
Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    options = parser.parse_args()
    console = Console()
    started = time.perf_counter()
    console.print(f"loading {options.model}: a codec, and a text LLM that was not trained on audio")
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rows = [*classify(kit), *speak(kit, options.output), *enhance(options.output)]
    table = Table("what", "given", "answer", title=f"{kit.lm.name}, frozen, on {kit.lm.device}")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"audio is in {options.output}; {time.perf_counter() - started:.0f} s in all", highlight=False)


def classify(kit: Kit) -> Iterator[Row]:
    """Sounds, each labelled from five demonstrations a label."""
    queries = sorted((AUDIO / "sound-queries").rglob("*.flac"))
    correct = 0
    for query, result in zip(queries, kit.classify(queries, AUDIO / "sounds", "sound-event"), strict=True):
        if isinstance(result, ErrorResult):
            raise SystemExit(result.error)
        truth = query.parent.name
        correct += result.label == truth
        note = "" if result.label == truth else f" (it is {truth})"
        yield "classify", str(query.relative_to(AUDIO)), f"{result.label}{note}"
    yield "classify", "in all", f"{correct} of {len(queries)} correct, {len(queries) / 6:.0f} by chance"


# A text and the answer that is right.
ANSWERS = {
    "seven": "seven",
    "one plus one": "two",
    "the number of legs of a spider": "eight",
    "9, 8, 7, what is next?": "six",
}


def speak(kit: Kit, output: Path) -> Iterator[Row]:
    """Four answers in the demonstrations' voice; a mark where a recogniser finds the right one in the audio."""
    speaker = kit.speaker(AUDIO / "digits")
    judge = recogniser(speaker.texts)
    for number, (text, right) in enumerate(ANSWERS.items(), start=1):
        result = speaker.speak(text)
        path = output / f"answer-{number}.wav"
        write_wav(path, result.wav, result.sample_rate, force=True)
        found = judge(result.wav) if judge else None
        mark = "" if judge is None else " [green]\N{CHECK MARK}[/green]" if found == right else f" (it is {right!r})"
        yield "tts", repr(text), f"says {result.answer!r}{mark} ({path.name})"


def recogniser(texts: Sequence[str]) -> Callable[[Tensor], str | None] | None:
    """A free Whisper, which may find any words; None where faster-whisper is not installed."""
    try:
        return WhisperJudge(resolve_judge(), texts).free
    except UniAudioError:
        return None


def enhance(output: Path) -> Iterator[Row]:
    """One noisy recording, cleaned after eight pairs; neither the LLM nor the codec takes part."""
    noisy = min((AUDIO / "enhance-queries" / "noisy").glob("*.flac"))
    result = uniaudio_cli.load_enhancer(AUDIO / "enhance").enhance(noisy)
    path = output / f"enhanced-{noisy.stem}.wav"
    write_wav(path, result.wav, result.sample_rate, force=True)
    yield "enhance", str(noisy.relative_to(AUDIO)), f"{result.seconds:.2f} s of audio ({path.name})"


if __name__ == "__main__":
    main()
