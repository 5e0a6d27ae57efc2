"""Compares what two versions made of the same inputs: labels, scores and waves.

    python benchmarks/compare_outputs.py BEFORE AFTER

Each folder holds label files (.jsonl, as `uniaudio classify -o` writes them) and audio (.wav, .flac) under equal names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def records(file: Path) -> dict[str, dict[str, Any]]:
    """File name -> record, for each clip with scores."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {Path(row["file"]).as_posix().split("audio/")[-1]: row for row in rows if row.get("scores")}


def compare_labels(before: Path, after: Path) -> str:
    """One line: equal labels and the largest difference of a score."""
    first, second = records(before), records(after)
    same = sum(row["label"] == second[name]["label"] for name, row in first.items())
    worst = max(
        abs(p - second[name]["scores"][label]) for name, row in first.items() for label, p in row["scores"].items()
    )
    return f"{before.name}: {same} of {len(first)} labels equal, scores within {worst:.1e}"


def compare_audio(before: Path, after: Path) -> str:
    """One line: equal length and the largest difference of a sample."""
    (first, rate), (second, other) = (soundfile.read(file, dtype="float64") for file in (before, after))
    if rate != other or first.shape != second.shape:
        return f"{before.name}: {first.shape} at {rate} Hz against {second.shape} at {other} Hz"
    return f"{before.name}: {len(first)} samples within {np.abs(first - second).max():.1e}"


def main() -> int:
    """Print a line a file; 1 where a file is missing."""
    before, after = map(Path, sys.argv[1:3])
    names = sorted(file.relative_to(before) for file in before.rglob("*") if file.suffix in (".jsonl", ".wav", ".flac"))
    missing = [name for name in names if not (after / name).is_file()]
    for name in names:
        if name not in missing:
            compare = compare_labels if name.suffix == ".jsonl" else compare_audio
            print(compare(before / name, after / name))
    for name in missing:
        print(f"{name}: missing")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
