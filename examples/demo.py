"""The tour behind `make demo`: classify clips, speak answers, enhance a noisy file, all with one frozen LLM.

python examples/demo.py [--output FOLDER] [--model PRESET]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav, write_wav

AUDIO = Path(__file__).parent / "audio"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    options = parser.parse_args()
    console = Console()
    started = time.perf_counter()
    console.print(f"loading {options.model}: a codec, and an LLM that has never seen audio")
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rate = kit.codec.sample_rate
    table = Table("what", "given", "answer", "seconds", title=f"{kit.lm.name}, frozen, on {kit.lm.device}")

    def timed(what: str, given: str, answer: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        table.add_row(what, given, answer, f"{now - clock:.1f}")
        clock = now

    queries = sorted((AUDIO / "sound-queries").rglob("*.flac"))
    right = 0
    clock = time.perf_counter()
    for query, reply in zip(queries, kit.classify(queries, AUDIO / "sounds", "sound-event"), strict=True):
        truth = query.parent.name
        right += reply.label == truth
        mark = "" if reply.label == truth else f" (it is {truth})"
        timed("classify", str(query.relative_to(AUDIO)), f"{reply.label}{mark}")

    written = []
    for text in ("seven", "one plus one"):
        reply = kit.speak(text, AUDIO / "digits", think=True)
        written.append(options.output / f"{text.replace(' ', '-')}.wav")
        write_wav(written[-1], reply.wav, rate, force=True)
        timed("tts", repr(text), f"says {reply.answer!r}")

    noisy = sorted((AUDIO / "enhance-queries" / "noisy").glob("*.flac"))[0]
    reply = kit.enhance(noisy, AUDIO / "enhance")
    written.append(options.output / f"enhanced-{noisy.stem}.wav")
    write_wav(written[-1], reply.wav, rate, force=True)
    timed("enhance", str(noisy.relative_to(AUDIO)), f"{read_wav(written[-1], rate).shape[-1] / rate:.2f} s of audio")

    console.print(table)
    console.print(f"{right} of {len(queries)} sounds named right (chance: {len(queries) / 6:.0f}); wrote:")
    for path in written:
        console.print(f"  {path}", highlight=False)
    console.print(f"in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
