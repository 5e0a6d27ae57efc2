"""Frozen encoders: the Whisper encoder against transformers', YAMNet's patches, the levels made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.codec.frozen.parts import ct2_variables, tiny_whisper, write_ct2, write_levels, write_whisper, write_yamnet
from tests.factories import chirps
from uniaudio_cli.audio.levels import SOUNDS, SPEECH, TAGS
from uniaudio_cli.audio.load_librosa import load_librosa
from uniaudio_cli.codec.frozen.ct2 import read_variables
from uniaudio_cli.codec.frozen.levels import WEIGHTS, FrozenLevels
from uniaudio_cli.codec.frozen.whisper import FRAME, WhisperEncoder, WhisperFrames, encoder_state, trimmed
from uniaudio_cli.codec.frozen.yamnet import SILENCE, Patches, YAMNet
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError

WAV = chirps(40_000, 3)[0, 0].numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small encoders and their codebooks; no test changes them."""
    path = tmp_path_factory.mktemp("frozen")
    write_levels(path)
    return path


def test_the_encoder_equals_transformers(folder):
    ours, theirs = WhisperEncoder.of(encoder_state(folder / "whisper" / "model.bin")), tiny_whisper()
    mel = torch.randn(2, 80, 300, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(mel), theirs(mel).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_int8_variables_are_multiplied_out(tmp_path):
    write_ct2(tmp_path / "m.bin", {"w": np.array([[2, 4]], np.int8), "w_scale": np.array([4.0], np.float32)})
    assert read_variables(tmp_path / "m.bin", "w")["w"].tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize("content", [b"", b"\x06\0\0\0\xff", b"\x63\0\0\0"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(UniAudioError, match=r"model\.bin: not a CTranslate2 model"):
        read_variables(tmp_path / "model.bin")


def test_a_model_without_encoder_is_refused(tmp_path):
    variables = ct2_variables({k: v.numpy() for k, v in tiny_whisper().state_dict().items()})
    del variables["encoder/conv1/weight"]
    write_ct2(tmp_path / "model.bin", variables)
    with pytest.raises(UniAudioError, match=r"no Whisper encoder, it lacks .*conv1/weight"):
        encoder_state(tmp_path / "model.bin")


def test_frames_hold_the_clip_without_its_silence(tmp_path):
    write_whisper(tmp_path)
    silent = np.zeros(16_000, np.float32)
    found = WhisperFrames(tmp_path)(np.concatenate([silent, WAV, silent]))
    assert len(trimmed(WAV)) / FRAME <= len(found.features) <= (len(WAV) + 4096) / FRAME
    assert found.features.shape == (len(found.loudness), 128)
    assert len(WhisperFrames(tmp_path)(np.tile(WAV, 3)).features) > 150  # more than one window
    assert len(WhisperFrames(tmp_path)(silent).features) == 50


def test_trim_as_librosa():
    librosa = load_librosa()
    wav = np.concatenate([np.zeros(9_000, np.float32), WAV, 1e-4 * WAV])
    np.testing.assert_array_equal(trimmed(wav), librosa.effects.trim(wav, top_db=35)[0])


def test_patches_come_every_half_second(tmp_path):
    write_yamnet(tmp_path)
    yamnet = YAMNet(tmp_path)
    patches = yamnet.patches(WAV)
    assert patches.embedding.shape == (4, 1024)
    np.testing.assert_allclose(patches.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(yamnet.posterior(0.1 * WAV), yamnet.posterior(WAV), atol=1e-6)
    assert yamnet.posterior(WAV)[SILENCE] == 0
    assert yamnet.class_names[2] == "Sound 2, made"


def test_silent_patches_count_nothing():
    posterior = np.zeros((2, 521))
    posterior[0, 3], posterior[1, SILENCE] = 1, 1
    patches = Patches(np.ones((2, 1024)), posterior)
    assert patches.weights.tolist() == [1, 0]
    assert patches.mean_posterior[3] == 1
    assert Patches(patches.embedding[1:], posterior[1:]).weights.tolist() == [1]


def test_a_folder_without_class_map_is_refused(tmp_path):
    with pytest.raises(MissingWeightsError, match="lacks the class map"):
        _ = YAMNet(tmp_path).class_names


def test_levels_load_their_own_encoder_alone(folder):
    asked = []

    def resolve(name):
        asked.append(name)
        return folder / name

    levels = FrozenLevels(resolve, folder / "levels.safetensors")
    sounds = levels[SOUNDS](WAV)
    assert asked == ["yamnet"]
    assert sounds.feature.shape == (4,)
    assert len(levels.words(SOUNDS, sounds.codes)) == 4
    assert levels[SPEECH](WAV).feature.shape == (3 * 8,)
    assert levels[SOUNDS](WAV).codes == sounds.codes
    tags = levels[TAGS](WAV)
    assert tags.feature.shape == (521,)
    assert 0.9 < tags.feature.sum() < 1.1
    assert 0 < len(tags.codes) <= 5
    assert levels.words(TAGS, tags.codes)[0].startswith("Sound ")
    assert asked == ["yamnet", "whisper"]


def test_another_encoder_than_the_fitted_one_is_refused(folder):
    levels = FrozenLevels(lambda name: folder / name, folder / "levels.safetensors")
    pinned = levels.options["speech"].replace(sha256={"model.bin": "0" * 64})
    levels.__dict__["options"] = {"speech": pinned}
    with pytest.raises(UniAudioError, match="not the file that the codebooks of this level belong to"):
        levels[SPEECH]


def test_the_shipped_codebooks():
    levels = FrozenLevels(lambda name: pytest.fail("no encoder is needed"))
    assert WEIGHTS.stat().st_size < 1_000_000
    sounds, speech = levels.units(SOUNDS), levels.units(SPEECH)
    assert (sounds.size, sounds.segments, speech.size, speech.books, speech.segments) == (1024, 1, 1024, 4, 3)
    for name, units in (("sounds", sounds), ("speech", speech)):
        assert len(levels.options[name].words) == units.size
        assert all(np.isfinite(value).all() for value in units.tensors().values())
