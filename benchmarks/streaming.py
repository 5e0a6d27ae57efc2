"""Latency of streamed speech, and its difference from the audio that is decoded as a whole.

    python benchmarks/streaming.py [--seconds 6] [--codec NAME]

Example digits are joined to one demonstration of this length, which the LLM copies in interleaved layout. Timing starts
after the demonstration is encoded. The reference is one decode of the same codes, without the decoder's noise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav, write_wav
from uniaudio_cli.codec.streaming import receptive_field
from uniaudio_cli.data.demonstrations import Demonstration
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
    task = load_task("text-to-sound").replace(
        layout="interleaved",
        clip=Clip(seconds=options.seconds, pad=False),
        generation=Generation(length="demonstrations", max_seconds=options.seconds),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.wav"
        write_wav(path, torch.cat(clips, dim=1)[:, : int(options.seconds * rate)], rate)
        speaker = kit.speaker([Demonstration(path, "digits", "digits")], task)
    reply = speaker.speak("digits")  # encodes the demonstration and warms the LLM up
    whole = kit.codec.decode([torch.tensor([row]) for row in reply.codes], noise=False)[0]
    started = time.perf_counter()
    pieces, first = [], 0.0
    for piece in speaker.stream("digits"):
        pieces.append(piece)
        if piece.shape[-1] and not first:
            first = time.perf_counter() - started
    took = time.perf_counter() - started
    streamed = torch.cat(pieces, dim=1)
    ahead, behind = receptive_field(kit.codec)
    print(f"{kit.lm.name}, {streamed.shape[-1] / rate:.2f} s of audio\n")
    print("| what | |\n|---|---|")
    frame = 1000 * kit.codec.hop_length / rate
    print(f"| receptive field, ahead / behind | {ahead} / {behind} frames of {frame:.0f} ms |")
    print(f"| first audio | {first:.2f} s, {100 * first / took:.0f} % of {took:.2f} s |")
    print(f"| pieces | {sum(piece.shape[-1] > 0 for piece in pieces)} |")
    print(f"| largest difference to the whole decode | {float((streamed - whole).abs().max()):.1e} |")


if __name__ == "__main__":
    main()
