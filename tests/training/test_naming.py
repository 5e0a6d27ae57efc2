"""Words of level 0 by what its codes carry: matched by co-occurrence, each once, with the codes as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import uniaudio, world
from tests.factories import chirps, codec_in_words
from tests.small_tokenizers import STEMS, byte_bpe
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.data.manifest import Row
from uniaudio_cli.training.naming import assign, association, co_occurrence, name_level0

__all__ = ["uniaudio", "world"]

TAGS = STEMS[6:8]  # names of the made tagger's classes


class MadeTagger:
    """Every clip is of the second class."""

    class_names = tuple(f"{name.title()} of it" for name in TAGS)

    def __init__(self, folder: Path | None = None) -> None:
        pass

    def posterior(self, wav: np.ndarray) -> np.ndarray:
        return np.array([0.01, 0.9], dtype=np.float32)


@pytest.fixture(autouse=True)
def made_background(monkeypatch):
    monkeypatch.setattr("uniaudio_cli.training.naming.background", lambda: np.full(2, 0.1))


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    for number in range(3):
        write_wav(folder / f"{number}.wav", chirps(16_000, seed=number)[0], 16_000)
    return folder


def test_codes_get_the_words_they_meet_most_each_once():
    counts = np.array([[9.0, 1, 0], [8, 0, 5], [0, 3, 0]])
    words = ("rain", "bell", "dog")
    assert assign(association(counts), words, ("a", "b", "c")) == ("rain", "dog", "bell")
    # Words for two of three codes: the code that they fit least keeps its own.
    assert assign(association(counts[:, :2]), words[:2], ("a", "b", "c")) == ("a", "rain", "bell")


def test_a_rare_word_does_not_fit_every_code():
    """One clip of a rare word says less about its code than twenty clips of a common one."""
    scores = association(np.array([[20.0, 2.0, 1.0], [2.0, 20.0, 0.0]]))
    assert scores[0, 0] > 5 * scores[0, 2] > 0
    assert scores[1, 2] < 0


def test_words_come_from_a_speakers_text_and_from_tags(clips):
    codec = codec_in_words(STEMS[:3], STEMS[3:5], STEMS[5:6])
    rows = [Row(clips / "0.wav", kind="speech", text="The paper, and Stone"), Row(clips / "1.wav")]
    counts, words = co_occurrence(codec, rows, MadeTagger(), lambda word: word in STEMS, pytest.fail)
    assert words == sorted(["paper", "stone", TAGS[1]])
    assert counts.sum(0) == pytest.approx([0.5 if word != TAGS[1] else 1.0 for word in words])


def test_a_codec_is_named(clips):
    codec, finer = codec_in_words(STEMS[:3], STEMS[3:5], STEMS[5:6]), {*STEMS[3:6]}
    spoken = STEMS[8:10]
    rows = [
        Row(clips / f"{n}.wav", kind="speech", text=f"{word} {STEMS[3]} unheardof") for n, word in enumerate(spoken)
    ]
    rows += [Row(clips / "2.wav"), Row(clips / "nothing.wav")]
    heard: list[str] = []
    named = name_level0(codec, rows, MadeTagger(), [byte_bpe()], lambda word: word != spoken[0], heard.append)
    assert len(set(named)) == 3
    assert set(named) <= {spoken[1], TAGS[1], *STEMS[:3]}
    assert not {*named} & finer
    assert {spoken[1], TAGS[1]} & set(named)
    assert "nothing.wav" in heard[0]


def test_nothing_to_name_is_an_error(clips):
    with pytest.raises(UniAudioError, match="no clip could be read"):
        name_level0(
            codec_in_words(STEMS[:3], STEMS[3:5], STEMS[5:6]), [Row(clips / "nothing.wav")], MadeTagger(), [byte_bpe()]
        )


def test_the_command_writes_a_description_for_the_same_weights(world, uniaudio, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.codec.frozen.yamnet.YAMNet", MadeTagger)
    monkeypatch.setattr("uniaudio_cli.models.registry.resolve_teacher", lambda *_: tmp_path)
    (clips / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": f"{n}.wav", "kind": "speech", "text": STEMS[9]}) + "\n" for n in range(3))
    )
    flags = ("--codec", world.codec, "--lm", world.lm)
    done = uniaudio("codec", "vocabulary", "name", clips, *flags, "-o", tmp_path / "new.json")
    assert done.code == 0, done.err
    old, new = (
        json.loads(Path(path).read_text()) for path in (world.codec.with_suffix(".json"), tmp_path / "new.json")
    )
    assert {key: value for key, value in new.items() if key != "words"} == {
        key: value for key, value in old.items() if key != "words"
    }
    assert new["words"][1:] == old["words"][1:]
    uniaudio("codec", "vocabulary", "name", clips, *flags, "-o", tmp_path / "new.json").is_error(2, "exists", "--force")
    missing = ("--blocklist", tmp_path / "none.txt", "-o", tmp_path / "other.json")
    uniaudio("codec", "vocabulary", "name", clips, *flags, *missing).is_error(2, "none.txt: cannot be read")
