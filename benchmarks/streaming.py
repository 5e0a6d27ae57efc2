"""How soon is streamed audio heard, and is it the same audio? One long demonstration in; seconds and differences out.

    python benchmarks/streaming.py [--seconds 6] [--codec NAME]

Example digits are joined to one demonstration of so many seconds, which the LLM writes again in frame order. The clock
starts once the demonstration is read. The whole decode is of the same ids at once, noise off.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import torch

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav, write_wav
from uniaudio_cli.codec.streaming import reach
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.prompting.prompt import Text
from uniaudio_cli.prompting.task import Clip, Generation, load_task

DIGITS = Path(__file__).parent.parent / "examples" / "audio" / "digits"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    options = parser.parse_args()
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rate = kit.codec.sample_rate
    clips = [read_wav(path, rate) for path in sorted(DIGITS.rglob("*.flac"))]
    task = dataclasses.replace(
        load_task("text-to-sound"),
        order="frames",
        clip=Clip(options.seconds, pad=False),
        generation=Generation("demonstrations", max_seconds=options.seconds),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.wav"
        write_wav(path, torch.cat(clips, dim=1)[:, : int(options.seconds * rate)], rate)
        session = kit.session(task, [Demonstration(path, "digits", "digits")])
    reply = session("digits")  # reads the demonstration, and makes the LLM's copy for writing
    assert reply.codes is not None
    whole = kit.codec.decode([torch.tensor([row]) for row in reply.codes], noise=False)[0]
    _, grammar = session.opened([Text("digits")], about="digits")
    started = time.perf_counter()
    pieces, heard = [], 0.0
    for piece in session.stream("digits"):
        pieces.append(piece)
        if piece.shape[-1] and not heard:
            heard = time.perf_counter() - started
    took = time.perf_counter() - started
    streamed = torch.cat(pieces, dim=1)
    ahead, behind = reach(kit.codec)
    print(f"{kit.lm.name}, {streamed.shape[-1] / rate:.2f} s of audio, {grammar.most} groups of frames\n")
    print("| what | |\n|---|---|")
    frame = 1000 * kit.codec.hop_length / rate
    print(f"| the decoder looks ahead / behind | {ahead} / {behind} frames of {frame:.0f} ms |")
    print(f"| first audio | {heard:.2f} s, {100 * heard / took:.0f} % of {took:.2f} s |")
    print(f"| pieces | {sum(piece.shape[-1] > 0 for piece in pieces)} |")
    print(f"| largest difference to the whole decode | {float((streamed - whole).abs().max()):.1e} |")


if __name__ == "__main__":
    main()
