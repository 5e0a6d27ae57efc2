"""Writes docs/spoken-answers.md, tables of the committed results of `uniaudio eval answers`.

python docs/make_answers.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("spoken-answers.md")
FOLDER = Path(__file__).with_name("results")
HEAD = """# Spoken answers: results

Made by `python docs/make_answers.py` from the results files in `docs/results/`, which
`uniaudio eval answers --demos VOICE/ -o REPORT/` wrote; a test checks that it is up to date. The questions are 20 a
suite, written and committed before their first run; wording, thresholds and examples were chosen on 80 others
(`--half development`). Right answers by text in %. Intervals are Wilson's, 95 %. The paper reports
85, 65 and 60 % by difficulty with LLaMA-2 7B, on other questions.
"""
SPEECH = """
"By speech": right by text, and free Whisper base finds the answer's words in the audio. An answer's audio depends on
its words alone, so each word is generated and judged once.
"""
LITERAL = """## Literal texts

Every demonstrated text as it is spoken, beside its best demonstration through the codec ("copy"). DNSMOS: overall
quality, 1 to 5.

| voice | | n | free Whisper | Whisper among the texts | DNSMOS |
|---|---|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("answers-*.json")]
    found = sorted(read, key=lambda each: (each["settings"]["answer_lm"], each["settings"]["demos"]))
    text = HEAD + (SPEECH if any("speech" in result for result in found) else "")
    for result in found:
        if result["suites"]:
            text += f"\n## {result['settings']['answer_lm']}, {result['settings']['questions']}\n\n{_questions(result)}"
    rows = [row for result in found if "speech" in result for row in _literal(result)]
    return f"{text}\n{LITERAL}{''.join(rows)}" if rows else text


def _questions(result: dict[str, Any]) -> str:
    """Suites by system, then refusals and confidence."""
    suites, speech = result["suites"], result.get("speech")
    systems = list(next(iter(suites.values())))
    titles = [*systems, *(["by speech"] if speech else [])]
    lines = ["| questions | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for suite, cell in suites.items():
        cells = [_rate(cell[system]) for system in systems]
        cells += [_rate(speech["questions"][suite]["free"])] if speech else []
        lines.append(f"| {suite} | {' | '.join(cells)} |")
    refused, chance = result["refused"], 100 * result["chance"]
    lines += [
        "",
        f"Chance is {chance:.0f} %. Of {refused['n']} texts that no number answers, {refused['right']} are refused.",
    ]
    sure = result["confidence"]
    parts = [f"{each['right']} of {each['n']} answers that are {name} are right" for name, each in sure.items()]
    lines.append(f"With the threshold {result['settings']['task']['doubtful_below']:g}, {', '.join(parts)}.")
    return "\n".join(lines) + "\n"


def _literal(result: dict[str, Any]) -> list[str]:
    rows = []
    for system, cell in result["speech"]["literal"].items():
        mos = cell["dnsmos"]
        rows.append(
            f"| {result['settings']['demos']} | {system} | {cell['free']['n']} | {_rate(cell['free'])} | "
            f"{_rate(cell['closed'])} | {mos['value']:.2f} [{mos['low']:.2f}, {mos['high']:.2f}] |\n"
        )
    return rows


def _rate(cell: dict[str, Any]) -> str:
    return f"{100 * cell['value']:.0f} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
