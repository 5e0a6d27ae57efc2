from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.factories import chirps, small_codec
from tests.kits import CLIP, codec_of, label_task, labelled, make_kit
from uniaudio_cli.inference.code_cache import CodeCache

WAV = chirps(CLIP, 3)[0]


@pytest.fixture
def kit(tmp_path):
    kit = make_kit()
    return dataclasses.replace(kit, remembered=CodeCache(tmp_path / "codes", kit.codec))


def test_a_clip_is_encoded_once_in_two_runs(kit, clips, monkeypatch):
    encoded = []
    listen = type(kit.codec).listen
    monkeypatch.setattr(type(kit.codec), "listen", lambda self, wav: encoded.append(wav) or listen(self, wav))
    first = kit.session(label_task(), labelled(clips))
    count = len(encoded)
    assert count == len(labelled(clips))
    assert kit.session(label_task(), labelled(clips)).examples == first.examples
    assert len(encoded) == count
    first(clips / "5.wav")
    first(clips / "5.wav")  # queries are not kept
    assert len(encoded) == count + 2
    assert len(list(Path(kit.remembered.folder).rglob("*.json"))) == count


def test_codes_are_of_one_codec_and_one_clip(kit, tmp_path):
    remembered = kit.remembered
    codes = kit.hear(WAV).codes
    assert remembered.codes(WAV) is None
    remembered.keep(WAV, codes)
    assert remembered.codes(WAV) == codes
    assert remembered.codes(WAV * 0.999) is None
    same = CodeCache(remembered.folder, codec_of("words"))
    assert same.codes(WAV) == codes
    assert CodeCache(remembered.folder, small_codec(seed=1)).codes(WAV) is None


@pytest.mark.parametrize("content", ["", "{}", "[[1]]", "[[1], [2], [99999]]", "[1, 2, 3]"])
def test_what_is_spoilt_is_heard_anew(kit, content):
    expected = kit.hear(WAV)
    assert kit.hear_again(WAV) == expected
    kit.remembered.file(WAV).write_text(content)
    assert kit.remembered.codes(WAV) is None
    assert kit.hear_again(WAV) == expected == kit.hear_again(WAV)


def test_where_nothing_can_be_kept_nothing_is_lost(kit, tmp_path):
    (tmp_path / "codes").write_text("a file where a folder should be")
    assert kit.hear_again(WAV) == kit.hear(WAV)
    assert kit.remembered.codes(WAV) is None
