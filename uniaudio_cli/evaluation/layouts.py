"""Public corpora as they are unpacked, to labelled clips with their speaker or recording."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import is_file, is_folder, show
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Item, known_group, load_items
from uniaudio_cli.data.manifest import SPLITS, listing

RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
ESD_EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")

Layout = Callable[[Path], list[Item]]


def fsdd(folder: Path) -> list[Item]:
    """Free Spoken Digits: recordings/DIGIT_SPEAKER_TAKE.wav, or the files themselves."""
    inner = folder / "recordings" if is_folder(folder / "recordings") else folder
    return load_items(inner)


def esc50(folder: Path, ten: bool = False) -> list[Item]:
    """ESC-50: audio/*.wav named in meta/esc50.csv; clips of one source file are one recording."""
    table = folder / "meta" / "esc50.csv"
    if not is_file(table):
        raise UsageError(f"{show(folder)}: is no ESC-50, as it has no meta/esc50.csv")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not ten or row["esc10"] == "True"]
    return [Item(folder / "audio" / row["filename"], row["category"], row["src_file"]) for row in rows]


def esc10(folder: Path) -> list[Item]:
    """The ten classes of ESC-50 that are marked as ESC-10."""
    return esc50(folder, ten=True)


def speech_commands(folder: Path) -> list[Item]:
    """Speech Commands v2: WORD/SPEAKER_nohash_TAKE.wav; of testing_list.txt where that is there."""
    found = _matching(folder, "*/*.wav", r"^(?P<label>[^_/][^/]*)/(?P<group>[0-9a-f]{8})_nohash_\d+\.wav$")
    listed = folder / "testing_list.txt"
    if is_file(listed):
        wanted = set(listed.read_text(encoding="utf-8").split())
        found = [item for item in found if item.path.relative_to(folder).as_posix() in wanted]
    return found


def arabic_commands(folder: Path) -> list[Item]:
    """Arabic Speech Commands: (dataset/)WORD/CONTRIBUTOR_..._TAKE.wav, or WORD/speakerNN_TAKE.flac."""
    inner = folder / "dataset" if is_folder(folder / "dataset") else folder
    return _matching(inner, "*/*.*", r"^(?P<label>[^/]+)/(?P<group>(speaker)?\d+)_(\w+_)?\d+\.(wav|flac)$")


def ravdess(folder: Path) -> list[Item]:
    """RAVDESS speech: (Actor_NN/)modality-vocal-emotion-intensity-statement-repetition-actor.wav, sound alone."""
    items = _matching(folder, "**/*.wav", r"(^|/)03-01-(?P<label>0[1-8])(-\d\d){3}-(?P<group>\d\d)\.wav$")
    return [Item(item.path, RAVDESS_EMOTIONS[int(item.label) - 1], item.group) for item in items]


def esd(folder: Path) -> list[Item]:
    """Emotional Speech Data, the English speakers 0011 to 0020: SPEAKER/EMOTION/(SPLIT/)SPEAKER_TAKE.wav."""
    emotions = "|".join(ESD_EMOTIONS)
    return _matching(
        folder, "00*/*/**/*.wav", rf"^(?P<group>00(1[1-9]|20))/(?P<label>{emotions})/([a-z]+/)?\d{{4}}_\d{{6}}\.wav$"
    )


def audio_folder(folder: Path) -> list[Item]:
    """A Hugging Face AudioFolder: metadata.csv or LABEL/clip.wav, in a test split where there are splits."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if is_folder(folder) else []
    if names and all(name.casefold() in SPLITS for name in names):
        return load_items(folder / next((name for name in names if name.casefold().startswith("test")), names[0]))
    return load_items(folder)


def any_folder(folder: Path) -> list[Item]:
    """Every clip of a folder. Groups are those of its metadata, of well-known names, or else its inner folders."""
    return [
        Item(
            row.path, row.label, (row.group if row.where else "") or known_group(row.path.stem) or str(row.path.parent)
        )
        for row in listing(folder)
    ]


@dataclass(frozen=True)
class PairCorpus:
    """Pairs of noisy and clean recordings.

    `learnt`: to choose demonstrations from; `judged`: the test set. `conditions`: by file name, such as "2.5 dB".
    """

    learnt: tuple[Demonstration, ...]
    judged: tuple[Demonstration, ...]
    conditions: Mapping[str, str]

    def split(self, shots: int) -> tuple[list[Demonstration], list[Demonstration]]:
        """(shown, judged): `shots` pairs spread evenly over those to learn from, and the test set without them.

        Raises:
            UsageError: no pair is left to judge.
        """
        step = max(1, len(self.learnt) // shots)
        shown = list(self.learnt[::step][:shots])
        judged = [pair for pair in self.judged if pair not in shown]
        if not judged:
            raise UsageError(f"all {len(shown)} pairs are learnt from, and none is left to judge")
        return shown, judged


def voicebank_demand(folder: Path) -> PairCorpus:
    """VoiceBank+DEMAND: {noisy,clean}_{trainset_28spk,testset}_wav/SPEAKER_NUMBER.wav and log_testset.txt.

    Archives that were unpacked into a folder of their own name, and the test set alone in noisy/ and clean/, are read
    too; without a training set the test pairs are learnt from. The log names noise and ratio of each file.

    Raises:
        UsageError: the folder holds no such pairs.
    """
    judged = _pairs(folder, "testset") or _pairs(folder, "")
    if not judged:
        raise UsageError(
            f"{show(folder)}: holds no noisy_testset_wav/ and clean_testset_wav/ with files of equal names"
        )
    learnt = next((found for name in ("trainset_28spk", "trainset_56spk") if (found := _pairs(folder, name))), judged)
    log = next(iter(sorted(folder.glob("**/log_testset.txt"))), None)
    lines = log.read_text(encoding="utf-8").splitlines() if log else []
    conditions = {words[0]: f"{words[2]} dB" for line in lines if len(words := line.split()) == 3}
    return PairCorpus(tuple(learnt), tuple(judged), conditions)


def voicebank_clean(folder: Path) -> list[Item]:
    """The clean sides of VoiceBank+DEMAND's test set, by speaker. Raises UsageError as `voicebank_demand`."""
    clean = [pair.target for pair in voicebank_demand(folder).judged]
    return [Item(path, "", known_group(path.stem) or path.stem) for path in clean if path is not None]


def _pairs(folder: Path, part: str) -> list[Demonstration]:
    """The pairs of one part, by name: "testset" lies in noisy_testset_wav/ and clean_testset_wav/."""
    sides = []
    for side in ("noisy", "clean"):
        name = f"{side}_{part}_wav" if part else side
        inner = folder / name / name if is_folder(folder / name / name) else folder / name
        sides.append({path.stem: path for path in sorted(inner.glob("*")) if path.suffix in (".wav", ".flac")})
    noisy, clean = sides
    return [Demonstration(noisy[stem], target=clean[stem]) for stem in noisy if stem in clean]


PAIR_LAYOUTS: Mapping[str, Callable[[Path], PairCorpus]] = {"voicebank-demand": voicebank_demand}
LAYOUTS: Mapping[str, Layout] = {
    "fsdd": fsdd,
    "esc50": esc50,
    "esc10": esc10,
    "speech-commands": speech_commands,
    "arabic-commands": arabic_commands,
    "ravdess": ravdess,
    "esd": esd,
    "audio-folder": audio_folder,
}
# Clips for a codec: no labels are needed.
RECORDING_LAYOUTS: Mapping[str, Layout] = {**LAYOUTS, "folder": any_folder, "voicebank-demand": voicebank_clean}


def _matching(folder: Path, pattern: str, name: str) -> list[Item]:
    """Files below `folder` whose path there matches; its groups `label` and `group` say whose and what.

    Raises:
        UsageError: there are none.
    """
    found = sorted(_items(folder, pattern, re.compile(name)), key=lambda item: (item.label, item.path))
    if not found:
        raise UsageError(f"{show(folder)}: holds no file of this corpus's layout; name the folder it was unpacked to")
    return found


def _items(folder: Path, pattern: str, name: re.Pattern[str]) -> Iterator[Item]:
    for path in folder.glob(pattern):
        if match := name.search(path.relative_to(folder).as_posix()):
            yield Item(path, match["label"], match["group"])
