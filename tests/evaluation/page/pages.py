"""Small reports with everything a page can show, and names that try to break it."""

from __future__ import annotations

from pathlib import Path

from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.evaluation import runner
from uniaudio_cli.evaluation.folds import plan_folds
from uniaudio_cli.evaluation.manifest import Selection
from uniaudio_cli.evaluation.page import build
from uniaudio_cli.evaluation.results import Answer, Cost, Results
from uniaudio_cli.evaluation.summary import summarise

NASTY = "<script>alert(1)</script>"
LABELS = ("a~b & 'c'", NASTY, 'rain "loud"')


def write_report(folder: Path) -> Results:
    """Clips, results.json and report.html below `folder`, of answers that are right three times in four."""
    clips = folder / "clips"
    rows = ["file_name,label"]
    for number in range(9):
        write_wav(clips / f"clip {number}&<b>.wav", chirps(4_000, number)[0], 16_000)
        label = LABELS[number % 3].replace('"', '""')
        rows.append(f'clip {number}&<b>.wav,"{label}"')
    (clips / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    manifest = plan_folds(Selection(clips), shots=(1, 2))
    answers = []
    for shots in manifest.shots:
        for number, episode in enumerate(manifest.episodes):
            clip = manifest.clips[episode.query]
            for place, system in enumerate(("uniaudio", "YAMNet + logistic regression", "nearest demonstration")):
                right = (number * (place + 3) + shots) % 4 > 0
                others = [label for label in episode.labels if label != clip.label]
                first = clip.label if right else others[number % len(others)]
                p = 0.4 + 0.5 * ((7 * number + 3 * place) % 10) / 10
                scores = {first: p} | {label: (1 - p) / 2 for label in episode.labels if label != first}
                answers.append(
                    Answer(
                        system=system,
                        shots=shots,
                        episode=number,
                        file=clip.file,
                        group=clip.group,
                        truth=clip.label,
                        answer=first,
                        scores=scores,
                        probabilities=place < 2,
                    )
                )
    results = summarise(
        manifest,
        answers,
        runner.REFERENCES,
        lambda file: f"hiss buzz {NASTY}",
        settings={"task": {"name": NASTY}},
        versions={"python": "3"},
        models={"uniaudio": {"lm": NASTY}},
        skipped={"peer": NASTY},
        notes=(NASTY,),
        cost=Cost(answers=len(answers), seconds=12.5, cpu_seconds=10.0, cores=2, by_system={"uniaudio": 1.5}),
    )
    results.write(folder / "report" / "results.json")
    build.write(results, clips, folder / "report" / "report.html")
    return results
