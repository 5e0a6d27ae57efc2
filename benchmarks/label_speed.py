"""Wall time of `uniaudio classify` as a whole command, against a script with YAMNet and a logistic regression.

    python benchmarks/label_speed.py FOLDER [--shots 3] [--queries 150] [--rounds 3]

FOLDER has a folder of clips for each of five labels. The same clips are shown and asked by both. "New labels" starts
with an empty cache of LLM scores, "seen labels" has them; models are there in both. Rounds take turns; the smallest
time of each counts. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from uniaudio_cli.core.paths import cache_dir

SCRIPT = Path(__file__).parent / "yamnet_script.py"


def link_clips(folder: Path, target: Path, shots: int, queries: int) -> dict[str, str]:
    """Makes target/demos/LABEL and target/clips of links; returns the label of each file in clips."""
    truth = {}
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        clips = sorted(path for path in label.iterdir() if path.is_file())
        (target / "demos" / label.name).mkdir(parents=True)
        (target / "clips").mkdir(exist_ok=True)
        for clip in clips[:shots]:
            (target / "demos" / label.name / clip.name).symlink_to(clip.resolve())
        for clip in clips[shots : shots + queries // 5]:
            (target / "clips" / clip.name).symlink_to(clip.resolve())
            truth[clip.name] = label.name
    return truth


def home_with_models(target: Path) -> Path:
    """A cache folder that has the models of the user's, and no scores of labels."""
    target.mkdir()
    for path in cache_dir().iterdir():
        if path.name in ("llms", "teachers", "judges"):
            (target / path.name).symlink_to(path)
    return target


def timed(command: list[str], home: Path) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "UNIAUDIO_HOME": str(home)}
    )
    return time.perf_counter() - started, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="small")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"YAMNet script": [], "new labels": [], "seen labels": []}
    right: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        truth = link_clips(options.folder, work, options.shots, options.queries)
        for turn in range(options.rounds):
            home = home_with_models(work / f"home{turn}")
            script = [sys.executable, str(SCRIPT), str(work / "demos"), str(work / "clips")]
            answers = work / "labels.csv"
            ours = [sys.executable, "-m", "uniaudio_cli", "classify", str(work / "clips"), "--demos"]
            ours += [str(work / "demos"), "--task", "sound-event", "--model", options.model, "-q", "--force"]
            ours += ["--shots", str(options.shots), "-o", str(answers)]
            for name, command in (("YAMNet script", script), ("new labels", ours), ("seen labels", ours)):
                if name == "seen labels":
                    # What is measured is another process that has the labels' scores, not the clips' codes.
                    shutil.rmtree(home / "codes", ignore_errors=True)
                took, printed = timed(command, home)
                seconds[name].append(took)
                if name == "YAMNet script":
                    found = dict(line.split(",") for line in printed.split())
                else:
                    rows = csv.DictReader(answers.open(encoding="utf-8", newline=""))
                    found = {Path(row["file"]).name: row["label"] for row in rows}
                right[name] = sum(found[clip] == label for clip, label in truth.items()) / len(truth)
    base = min(seconds["YAMNet script"])
    print(f"{len(truth)} clips, 5 labels, {options.shots} shots, {os.cpu_count()} cores, {options.rounds} rounds")
    for name, times in seconds.items():
        print(f"{name}: {min(times):.1f} s, {min(times) / base:.2f} times the script, {100 * right[name]:.1f} % right")


if __name__ == "__main__":
    main()
