"""Assemble the open training audio by Debian package name: packages in, 16 kHz FLAC files and metadata.jsonl out.

    python recipes/open_audio.py OUT [--packages PACKAGE,...] [--debs FOLDER]

Every package is fetched by `apt-get download` (or taken from --debs), unpacked without being installed, and
converted to mono 16 kHz FLAC under OUT/PACKAGE/. OUT/metadata.jsonl names each clip's `group` (one speaker, voice
pack or collection: what a speaker-disjoint split must keep together), `kind` (speech, sound, music), `split`,
`licence` and `text` (what its file name says of it); OUT/DATA_CARD.md sums up what came out. Needs `soundfile`,
`librosa` and, for the G.722 prompts, `av` (pip install '.[train]').
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from uniaudio_cli.audio.load_librosa import load_librosa

SAMPLE_RATE = 16_000
WORDS = "wamerican-small"
SHORTEST_SECONDS = 0.12
EXTENSIONS = {".ogg", ".wav", ".flac", ".mp3", ".g722"}
# Classes of ESC-10 that are kept for judging: recordings of the same things stay out of training.
JUDGED_SOUNDS = re.compile(r"helicopter|rooster|cockerel|clock|watch|wave|sea$|beach|ocean|sneez", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """One Debian package and how its file names are read.

    `describe(path)` gets the path inside the package and returns (group, kind), or None to leave the file out.
    """

    name: str
    licence: str
    describe: Callable[[str], tuple[str, str] | None]
    split: str = "train"


def _part(kind: str, pattern: str) -> Callable[[str], tuple[str, str] | None]:
    """The group is what the pattern's brackets catch in the path; files that do not match are left out."""
    compiled = re.compile(pattern)

    def describe(path: str) -> tuple[str, str] | None:
        match = compiled.search(path)
        return ("-".join(match.groups()), kind) if match else None

    return describe


def _fillets(path: str) -> tuple[str, str] | None:
    # room-voice-line.ogg: the second part of the name is the character who speaks.
    parts = Path(path).stem.split("-")
    return (parts[1] if len(parts) > 2 and parts[1] in ("m", "v") else f"other-{parts[0]}", "speech")


def _qabcs(path: str) -> tuple[str, str] | None:
    if "/noises/" in path:
        return None if JUDGED_SOUNDS.search(Path(path).stem) else ("noises", "sound")
    match = re.search(r"/abcs/([^/]+)/sounds/", path)
    return (match.group(1), "speech") if match else None


def _tuxpaint(path: str) -> tuple[str, str] | None:
    match = re.search(r"_desc_([a-zA-Z_]+)\.ogg$", path)
    if match:
        return match.group(1), "speech"
    if path.endswith("_desc.ogg"):
        return "en", "speech"
    return None if JUDGED_SOUNDS.search(Path(path).stem) else ("effects", "sound")


def _hedgewars(path: str) -> tuple[str, str] | None:
    if "/voices/" in path:
        return Path(path).parent.name, "speech"
    return ("music", "music") if "/Music/" in path else ("effects", "sound")


PACKAGES = (
    Package("tuxpaint-stamps-default", "GPL-2", _tuxpaint),
    Package("fillets-ng-data-cs", "GPL-2", _fillets),
    Package("fillets-ng-data-nl", "GPL-2", _fillets),
    *(
        Package(
            f"asterisk-core-sounds-{language}-g722", "CC-BY-3.0 / CC-BY-SA-3.0", _part("speech", r"/sounds/([^/]+)/")
        )
        for language in ("en", "es", "fr", "it", "ru")
    ),
    Package("festvox-ru", "BSD-like", _part("speech", r"/(msu_ru_nsh)_clunits/wav/")),
    Package("qabcs-data", "GPL-3+ / CC0", _qabcs),
    Package("klettres-data", "GPL-2+", _part("speech", r"/klettres/([^/]+)/")),
    Package("gcin-voice", "GPL / LGPL-3 / CC-BY", _part("speech", r"/([^/]+)\.ogg$")),
    Package("hedgewars-data", "GFDL-1.3", _hedgewars),
    Package("sonic-pi-samples", "mostly CC0", _part("sound", r"/(samples)/")),
    Package("ufoai-sound", "GPL-2 / CC-BY / CC-BY-SA", _part("sound", r"(sound|music)/")),
    # One speaker a language, none of them in the packages above by name: the validation speakers.
    Package("ktuberling-data", "GPL-2+", _part("speech", r"/sounds/([^/]+)/"), split="validation"),
)


def caption(inside: str) -> str:
    """What a clip's file name says of it, in words: "digits/5.g722" -> "digits 5"; "" where it only counts."""
    path = Path(inside)
    words = re.sub(r"[^a-z0-9]+", " ", f"{path.parent.name} {path.stem}".lower()).split()
    known = [word for word in words if not re.fullmatch(r"sounds?|desc|voices?|wav|[a-z]{2}", word)]
    return " ".join(known) if any(word.isalpha() for word in known) else ""


def read(path: Path) -> np.ndarray:
    """Mono float32 at 16 kHz, [T]."""
    if path.suffix.lower() == ".g722":
        import av

        with av.open(str(path), format="g722") as container:
            frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        return np.concatenate(frames).astype(np.float32) / 32768
    wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return load_librosa().resample(wav.mean(axis=1), orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")


def convert(source: Path, target: Path) -> float:
    """Write `source` as FLAC; seconds written, 0 where the clip is unreadable, silent or too short."""
    try:
        wav = read(source)
    except (soundfile.LibsndfileError, OSError, ValueError) as problem:
        print(f"left out {source}: {problem}", file=sys.stderr)
        return 0.0
    if len(wav) < SHORTEST_SECONDS * SAMPLE_RATE or np.abs(wav).max() < 1e-3 or not np.isfinite(wav).all():
        return 0.0
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, np.clip(wav, -1, 1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return len(wav) / SAMPLE_RATE


def fetch(package: str, debs: Path) -> Path:
    """The package's .deb in `debs`, downloaded if it is not there."""
    found = sorted(debs.glob(f"{package}_*.deb"))
    if not found:
        subprocess.run(["apt-get", "download", package], cwd=debs, check=True)
        found = sorted(debs.glob(f"{package}_*.deb"))
    return found[-1]


def unpack(deb: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(path inside the package, file on disk) of every audio file, archives inside the package opened too."""
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["dpkg", "-x", str(deb), str(folder)], check=True)
        for archive in folder.rglob("*.pk3"):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(archive.with_suffix(""))
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            yield "/" + path.relative_to(folder).as_posix(), path


def assemble(out: Path, packages: tuple[Package, ...], debs: Path) -> list[dict[str, object]]:
    """Fetch, unpack and convert; the rows of metadata.jsonl, in a fixed order."""
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor() as pool:
        for package in packages:
            jobs = []
            files = unpack(fetch(package.name, debs), out / ".unpacked" / package.name)
            for number, (inside, source) in enumerate(files):
                described = package.describe(inside)
                if described is None:
                    continue
                target = Path(package.name) / f"{number:05d}.flac"
                jobs.append((described, inside, target, pool.submit(convert, source, out / target)))
            for number, ((group, kind), inside, target, job) in enumerate(jobs):
                if seconds := job.result():
                    rows.append(
                        {
                            "file_name": target.as_posix(),
                            "group": f"{package.name}/{group}",
                            "kind": kind,
                            "split": "validation" if kind == "sound" and number % 10 == 0 else package.split,
                            "seconds": round(seconds, 3),
                            "licence": package.licence,
                            "text": caption(inside),
                            "source": inside,
                        }
                    )
            print(
                f"{package.name}: {sum(r['file_name'].startswith(package.name + '/') for r in rows)} clips", flush=True
            )  # type: ignore[attr-defined]
    return rows


def word_list(debs: Path, out: Path) -> str:
    """English words, one a line: what tells the LLM's whole words from its fragments."""
    folder = out / ".unpacked" / WORDS
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["dpkg", "-x", str(fetch(WORDS, debs)), str(folder)], check=True)
    return (folder / "usr/share/dict/american-english-small").read_text(encoding="utf-8")


def data_card(rows: list[dict[str, object]]) -> str:
    """A Markdown table: clips, minutes, groups and licence per package and kind."""
    table: dict[tuple[str, str, str], list[dict[str, object]]] = {}
    for row in rows:
        package = str(row["file_name"]).split("/")[0]
        table.setdefault((package, str(row["kind"]), str(row["split"])), []).append(row)
    lines = ["| package | kind | split | clips | minutes | groups | licence |", "|---|---|---|---|---|---|---|"]
    for (package, kind, split), members in table.items():
        minutes = sum(float(str(row["seconds"])) for row in members) / 60
        groups = len({row["group"] for row in members})
        licence = members[0]["licence"]
        lines.append(f"| {package} | {kind} | {split} | {len(members)} | {minutes:.1f} | {groups} | {licence} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", default=",".join(package.name for package in PACKAGES))
    parser.add_argument("--debs", type=Path, help="a folder of .deb files to use and to keep")
    options = parser.parse_args()
    debs = options.debs or options.out / ".debs"
    debs.mkdir(parents=True, exist_ok=True)
    wanted = set(options.packages.split(","))
    if unknown := wanted - {package.name for package in PACKAGES}:
        parser.error(f"unknown packages: {', '.join(sorted(unknown))}")
    (options.out / "words.txt").write_text(word_list(debs.resolve(), options.out))
    rows = assemble(options.out, tuple(package for package in PACKAGES if package.name in wanted), debs.resolve())
    (options.out / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (options.out / "DATA_CARD.md").write_text(data_card(rows))
    print(data_card(rows))


if __name__ == "__main__":
    main()
