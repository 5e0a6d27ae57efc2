"""The tour behind `make demo`: classify clips, speak answers, enhance a noisy file, all with one frozen LLM.

python examples/demo.py [--output FOLDER] [--model PRESET]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import uniaudio_cli
from uniaudio_cli.api import Kit
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.inference.results import ErrorResult

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
    rows = [*classify(kit), *speak(kit, options.output), *enhance(kit, options.output)]
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


def speak(kit: Kit, output: Path) -> Iterator[Row]:
    """Two answers in the demonstrations' voice."""
    texts = ("seven", "one plus one")
    for text, result in zip(texts, kit.speak(texts, AUDIO / "digits"), strict=True):
        if isinstance(result, ErrorResult):
            raise SystemExit(result.error)
        path = output / f"{text.replace(' ', '-')}.wav"
        write_wav(path, result.wav, result.sample_rate, force=True)
        yield "tts", repr(text), f"says {result.answer!r} ({path.name})"


def enhance(kit: Kit, output: Path) -> Iterator[Row]:
    """One noisy recording, cleaned."""
    noisy = min((AUDIO / "enhance-queries" / "noisy").glob("*.flac"))
    for result in kit.enhance(noisy, AUDIO / "enhance"):
        if isinstance(result, ErrorResult):
            raise SystemExit(result.error)
        path = output / f"enhanced-{noisy.stem}.wav"
        write_wav(path, result.wav, result.sample_rate, force=True)
        yield "enhance", str(noisy.relative_to(AUDIO)), f"{result.seconds:.2f} s of audio ({path.name})"


if __name__ == "__main__":
    main()
