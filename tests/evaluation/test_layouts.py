"""Adapters of public corpora, each on a made miniature with the real layout."""

from __future__ import annotations

import pytest

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation.layouts import LAYOUTS, voicebank_demand

# Layout: the files of a miniature, and label and group of those that are clips of it.
MINIATURES = {
    "fsdd": (
        ["recordings/7_jackson_32.wav", "recordings/0_lucas_0.wav", "metadata.py", "README.md"],
        {"7_jackson_32.wav": ("7", "jackson"), "0_lucas_0.wav": ("0", "lucas")},
    ),
    "speech-commands": (
        ["yes/0a7c2a8d_nohash_0.wav", "no/0a7c2a8d_nohash_1.wav", "no/1b4c9b89_nohash_0.wav",
         "_background_noise_/pink_noise.wav", "LICENSE"],
        {"0a7c2a8d_nohash_0.wav": ("yes", "0a7c2a8d"), "0a7c2a8d_nohash_1.wav": ("no", "0a7c2a8d"),
         "1b4c9b89_nohash_0.wav": ("no", "1b4c9b89")},
    ),
    "arabic-commands": (
        ["dataset/backward/00000021_NO_01.wav", "dataset/zoom/00000004_NO_10.wav", "dataset/zoom/notes.txt"],
        {"00000021_NO_01.wav": ("backward", "00000021"), "00000004_NO_10.wav": ("zoom", "00000004")},
    ),
    "ravdess": (
        ["Actor_12/03-01-06-01-02-01-12.wav", "Actor_01/03-01-01-01-01-01-01.wav",
         "Actor_01/03-02-05-01-01-01-01.wav", "Actor_01/01-01-05-01-01-01-01.mp4"],
        {"03-01-06-01-02-01-12.wav": ("fearful", "12"), "03-01-01-01-01-01-01.wav": ("neutral", "01")},
    ),
    "esd": (
        ["0011/Angry/0011_000351.wav", "0020/Sad/test/0020_001060.wav", "0001/Angry/0001_000351.wav",
         "0011/0011.txt"],
        {"0011_000351.wav": ("Angry", "0011"), "0020_001060.wav": ("Sad", "0020")},
    ),
    "audio-folder": (
        ["train/dog/1.wav", "train/cat/2.wav", "test/dog/3.wav", "test/cat/4.wav"],
        {"3.wav": ("dog", "dog/3"), "4.wav": ("cat", "cat/4")},
    ),
}  # fmt: skip
ESC50 = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
1-100038-A-14.wav,1,14,chirping_birds,False,100038,A
2-100032-B-0.wav,2,0,dog,True,100032,B
"""


def write(folder, files):
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]))


@pytest.mark.parametrize("layout", MINIATURES)
def test_a_miniature_is_read(tmp_path, layout):
    files, expected = MINIATURES[layout]
    write(tmp_path, files)
    assert {item.path.name: (item.label, item.group) for item in LAYOUTS[layout](tmp_path)} == expected


@pytest.mark.parametrize(("layout", "labels"), [("esc50", {"dog", "chirping_birds"}), ("esc10", {"dog"})])
def test_esc_is_read_from_its_table(tmp_path, layout, labels):
    write(tmp_path, [f"audio/{line.split(',')[0]}" for line in ESC50.splitlines()[1:]])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(ESC50)
    items = LAYOUTS[layout](tmp_path)
    assert {item.label for item in items} == labels
    assert [item.group for item in items if item.label == "dog"] == ["100032", "100032"]
    assert all(item.path.is_file() for item in items)


def test_speech_commands_keep_to_their_test_list(tmp_path):
    write(tmp_path, MINIATURES["speech-commands"][0])
    (tmp_path / "testing_list.txt").write_text("no/1b4c9b89_nohash_0.wav\n")
    assert [item.path.name for item in LAYOUTS["speech-commands"](tmp_path)] == ["1b4c9b89_nohash_0.wav"]


VOICEBANK = [
    *(f"{side}_trainset_28spk_wav/p226_00{n}.wav" for side in ("noisy", "clean") for n in range(1, 9)),
    *(f"{side}_testset_wav/{side}_testset_wav/p{n}.wav" for side in ("noisy", "clean") for n in ("232_001", "257_434")),
    "noisy_testset_wav/noisy_testset_wav/p232_009.wav",
]


def test_voicebank_is_read_with_its_log(tmp_path):
    write(tmp_path, VOICEBANK)
    (tmp_path / "logfiles").mkdir()
    (tmp_path / "logfiles" / "log_testset.txt").write_text("p232_001 living 17.5\np257_434 bus 2.5\n\n")
    corpus = voicebank_demand(tmp_path)
    assert [pair.audio.name for pair in corpus.judged] == ["p232_001.wav", "p257_434.wav"]
    for pair in corpus.judged:
        assert pair.target is not None
        assert (pair.target.name, pair.target.parent.name) == (pair.audio.name, "clean_testset_wav")
    assert corpus.conditions == {"p232_001": "17.5 dB", "p257_434": "2.5 dB"}
    shown, judged = corpus.split(4)
    assert [pair.audio.name for pair in shown] == [f"p226_00{n}.wav" for n in (1, 3, 5, 7)]
    assert judged == list(corpus.judged)


def test_a_test_set_alone_is_learnt_from_too(tmp_path):
    write(tmp_path, [f"{side}/p232_00{n}.flac" for side in ("noisy", "clean") for n in range(3)])
    corpus = voicebank_demand(tmp_path)
    shown, judged = corpus.split(2)
    assert [[pair.audio.stem for pair in some] for some in (shown, judged)] == [["p232_000", "p232_001"], ["p232_002"]]
    with pytest.raises(UsageError, match="none is left to judge"):
        corpus.split(3)
    with pytest.raises(UsageError, match="holds no noisy_testset_wav"):
        voicebank_demand(tmp_path / "noisy")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"fsdd", "audio-folder"}))
def test_another_folder_is_refused(tmp_path, layout):
    write(tmp_path, ["dog/1.wav", "cat/2.wav"])
    with pytest.raises(UsageError, match=r"is no ESC-50|no file of this corpus"):
        LAYOUTS[layout](tmp_path)
