"""What a codec keeps: clips joined to pieces of at least 3 s, encoded and decoded; STOI, PESQ and code usage.

    python benchmarks/reconstruction.py FOLDER [--codec NAME] [--pieces 100] [--by REGEX]

Clips are ordered by what the regex's bracket catches in their names (FSDD: `_(.+?)_`, the speaker), so that a piece has
one speaker where it can. STOI and PESQ need `pystoi` and `pesq`; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import re
import statistics
from itertools import islice
from pathlib import Path

from uniaudio_cli import audio, models
from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.quality import joined, measure, usage


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default=models.DEFAULT_CODEC)
    parser.add_argument("--pieces", type=int, default=100)
    parser.add_argument("--by", default="()")
    options = parser.parse_args()
    files = models.resolve_codec(options.codec)
    codec = load_codec(files.weights, files.config, files.words)

    def group(path: Path) -> str:
        match = re.search(options.by, path.name)
        return match.group(1) if match else ""

    clips = sorted(audio.find_audio([options.folder]), key=lambda path: (group(path), path))
    # Every so many clips, so that a few pieces still cover the whole folder.
    clips = clips[:: max(1, len(clips) // (8 * options.pieces))]
    wavs = (audio.read_wav(path, codec.sample_rate) for path in clips)
    found = [measure(codec, piece) for piece in islice(joined(wavs, codec.sample_rate), options.pieces)]
    print(f"{options.folder.name}: {len(found)} pieces; mean, and 95 % interval of the mean over pieces\n")
    print("| measure | mean |\n|---|---|")
    for name in sorted({name for piece in found for name in piece.measures}):
        values = [piece.measures[name] for piece in found if name in piece.measures]
        reach = 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        print(f"| {name} | {statistics.mean(values):.3f} +- {reach:.3f} (n={len(values)}) |")
    for level, row in enumerate(usage([piece.codes for piece in found], codec.config.sizes)):
        print(f"| level {level} | {row['used']} of {row['codes']} codes used, perplexity {row['perplexity']} |")


if __name__ == "__main__":
    main()
