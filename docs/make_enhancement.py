"""Writes docs/enhancement-results.md, tables of the committed results of `uniaudio eval pairs`.

python docs/make_enhancement.py
"""

from __future__ import annotations

from pathlib import Path

from uniaudio_cli.evaluation.enhancement import EnhancementResults, table

TARGET = Path(__file__).with_name("enhancement-results.md")
FOLDER = Path(__file__).with_name("results")
# What each set is, and whether anything was chosen on it.
SETS = {
    "enhance-voicebank": "VoiceBank+DEMAND, speaker p232: the first four pairs are learnt from and were chosen on, the "
    "other ten are held out",
    "enhance-digits": "FSDD digits of george and yweweler, joined to 9 s, in rain, chainsaw and fire of ESC-10 "
    "(`benchmarks/noisy_digits.py`); four pairs a noise of other speakers and other recordings of the noise; held out",
}
HEAD = """# Enhancement results

Made by `python docs/make_enhancement.py` from the results files in `docs/results/`, which `uniaudio eval pairs` wrote;
a test checks that it is up to date. "Over noisy" is paired on the same recordings; 95 % intervals resample recordings,
or for the digits speaker and noise. DNSMOS is the overall score over windows of 9 s that do not overlap.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join(
        [
            HEAD,
            *(
                line
                for name, about in SETS.items()
                if (FOLDER / f"{name}.json").is_file()
                for line in _section(name, about)
            ),
        ]
    )


def _section(name: str, about: str) -> list[str]:
    results = EnhancementResults.model_validate_json((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [f"## {name}", "", f"{about}.", "", *table(results), ""]


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
