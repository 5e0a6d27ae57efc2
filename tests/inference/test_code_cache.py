from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.factories import chirps, small_codec
from tests.kits import CLIP, codec_of, label_task, labelled, make_kit, speech_task
from uniaudio_cli.api import Kit
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.encoder import AudioEncoder

WAV = chirps(CLIP, 3)[0]


@pytest.fixture
def cache(tmp_path):
    return CodeCache(tmp_path / "codes", codec_of("words"))


@pytest.fixture
def kit(cache):
    plain = make_kit()
    return Kit(plain.codec, plain.lm, plain.vocabulary, cache)


def test_a_demonstration_is_encoded_once_in_two_runs(kit, cache, clips, monkeypatch):
    encoded = []
    encode_batch = type(kit.codec).encode_batch
    monkeypatch.setattr(
        type(kit.codec), "encode_batch", lambda self, wavs: encoded.extend(wavs) or encode_batch(self, wavs)
    )
    first = kit.session(label_task(), labelled(clips))
    count = len(encoded)
    assert count == len(labelled(clips))
    assert kit.session(label_task(), labelled(clips)).examples == first.examples
    assert len(encoded) == count
    first(clips / "5.wav")
    first(clips / "5.wav")  # queries are not kept
    assert len(encoded) == count + 2
    assert len(list(Path(cache.folder).rglob("*.json"))) == count


def test_an_entry_belongs_to_one_codec_and_one_clip(kit, cache):
    codes = kit.encoder.encode(WAV).codes
    assert cache.codes(WAV) is None
    cache.keep(WAV, codes)
    assert cache.codes(WAV) == codes
    assert cache.codes(WAV * 0.999) is None
    same = CodeCache(cache.folder, codec_of("words"))
    assert same.codes(WAV) == codes
    assert CodeCache(cache.folder, small_codec(seed=1)).codes(WAV) is None


@pytest.mark.parametrize("content", ["", "{}", "[[1]]", "[[1], [2], [99999]]", "[1, 2, 3]"])
def test_a_broken_entry_is_encoded_again(kit, cache, content):
    expected = kit.encoder.encode(WAV)
    assert kit.encoder.encode_cached(WAV) == expected
    cache.file(WAV).write_text(content)
    assert cache.codes(WAV) is None
    assert kit.encoder.encode_cached(WAV) == expected == kit.encoder.encode_cached(WAV)


def test_a_folder_that_cannot_be_written_loses_nothing(kit, cache, tmp_path):
    (tmp_path / "codes").write_text("a file where a folder should be")
    assert kit.encoder.encode_cached(WAV) == kit.encoder.encode(WAV)
    assert cache.codes(WAV) is None


def test_an_array_belongs_to_one_clip_and_what_it_depends_on(kit, cache):
    array = np.array([[0.25, 0.5]], dtype=np.float16)
    assert cache.array(WAV, "speech 1") is None
    cache.keep_array(WAV, "speech 1", array)
    assert (cache.array(WAV, "speech 1") == array).all()
    assert cache.array(WAV, "speech 2") is None
    assert cache.array(WAV * 0.999, "speech 1") is None


def np_file(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"no array", np_file(np.array([np.nan], dtype=np.float16)), np_file(np.array([{}, "pickled"]))],
)
def test_a_file_that_holds_no_array_is_no_entry(cache, content):
    cache.keep_array(WAV, "speech", np.zeros(2, dtype=np.float16))
    cache.file(WAV, "speech").write_bytes(content)
    assert cache.array(WAV, "speech") is None


def test_the_level_speech_is_measured_once(clips, cache, monkeypatch):
    plain = make_kit()
    encoder = AudioEncoder(plain.codec, cache, plain.encoder.frozen)
    clip = speech_task().clip
    first = encoder.speech_features(clips / "1.wav", clip)
    assert first.shape[0] == 2
    assert np.linalg.norm(first, axis=1) == pytest.approx([1, 1], abs=1e-2)
    monkeypatch.setattr(AudioEncoder, "decode", lambda *_: pytest.fail("it is kept"))
    assert (encoder.speech_features(clips / "1.wav", clip) == first).all()
    with pytest.raises(UsageError, match="no frozen encoders"):
        AudioEncoder(plain.codec).speech_features(clips / "1.wav", clip)
