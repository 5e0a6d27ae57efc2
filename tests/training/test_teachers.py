"""Teacher targets, their cache on disk, and units."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.parts import FRAME, STEP, LoudnessTeacher, packed, recipe, text_lengths
from uniaudio_cli.audio.features import frame_texture
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.training import teachers
from uniaudio_cli.training.encoders import SentenceEncoder, frame_teacher
from uniaudio_cli.training.teachers import cache_features, embed_texts, teacher_targets
from uniaudio_cli.training.units import cluster_sound_units, cluster_units, frame_directions, whiten


def no_sounds():
    raise AssertionError("unexpected sound teacher")


def never():
    raise AssertionError("unexpected teacher")


def ones(wav):
    """A sound teacher with one embedding for all sounds."""
    return np.ones((len(wav) // 1920, 2), dtype=np.float16)


def teacher_recipe(cache, **changes):
    fields = {"speech_teacher": "org/loudness", "consistency_dim": 3, "unit_dim": 4, "text_teacher": "lengths"}
    return recipe(cache, **{**fields, **changes})


def test_targets_are_computed_once_and_cover_every_clip(tmp_path):
    clips = packed(tmp_path)
    teacher = LoudnessTeacher()
    first = teacher_targets(teacher_recipe(tmp_path / "cache"), clips, lambda: teacher, lambda: text_lengths, no_sounds)
    assert teacher.clips == 4
    second = teacher_targets(teacher_recipe(tmp_path / "cache"), clips, never, never, never)
    steps = len(clips.samples) // STEP
    assert first.features.shape == (steps, 3)
    assert not np.isnan(first.features).any()
    assert first.units.shape == (steps // 2,)
    assert set(np.unique(first.units)) <= {0, 1, 2}
    assert first.semantic.shape == (4, 2)
    assert np.isnan(first.semantic).all(axis=1).tolist() == [False, True, False, False]
    for name in ("features", "units", "semantic"):
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=name == "semantic")


def test_music_has_no_teacher_targets(tmp_path):
    clips = packed(tmp_path)
    clips.kinds[1] = "music"
    found = teacher_targets(teacher_recipe(tmp_path / "cache"), clips, LoudnessTeacher, lambda: text_lengths, no_sounds)
    first, last = clips.frame_range(1)
    assert (found.units[first:last] == -1).all()
    assert np.isnan(found.features[2 * first : 2 * last]).all()
    assert (np.delete(found.units, np.r_[first:last]) >= 0).all()


def test_a_killed_run_of_the_teacher_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(teachers, "LONGEST_STEPS", 4)  # or all would be one batch
    clips = packed(tmp_path)

    class Killed(LoudnessTeacher):
        def __call__(self, wavs):
            if self.clips:
                raise KeyboardInterrupt
            return super().__call__(wavs)

    whole = cache_features(clips, np.arange(4), LoudnessTeacher(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        cache_features(clips, np.arange(4), Killed(), tmp_path / "parts")
    parts = cache_features(clips, np.arange(4), LoudnessTeacher(), tmp_path / "parts")
    assert np.array_equal(whole, parts)


def test_a_text_is_embedded_once_and_vectors_are_standardised():
    read = []

    def teacher(texts):
        read.extend(texts)
        return text_lengths(texts)

    found = embed_texts(np.array(["a dog", "", "rain", "a dog"]), teacher).astype(float)
    assert read == ["a dog", "rain"]
    known = found[[0, 2, 3]]
    assert np.allclose(known.mean(axis=0), 0, atol=1e-2)
    assert np.allclose(known.std(axis=0), 1, atol=1e-2)
    assert np.isnan(embed_texts(np.array(["", ""]), teacher)).all()


def test_whitening_leaves_uncorrelated_dimensions_of_unit_variance():
    random = np.random.default_rng(0)
    features = (random.standard_normal((5000, 8)) @ random.standard_normal((8, 8)) + 3).astype(np.float16)
    features[100:200] = np.nan
    white = whiten(features, 5).astype(float)
    known = np.delete(white, np.s_[100:200], axis=0)
    assert np.allclose(np.cov(known, rowvar=False), np.eye(5), atol=0.05)
    assert np.isnan(white[100:200]).all()


def test_units_tell_two_kinds_of_frame_apart_and_skip_the_unknown():
    steps = np.concatenate([np.tile([1.0, 0.1], (20, 1)), np.tile([-0.1, 1.0], (20, 1)), np.full((20, 2), np.nan)])
    units = cluster_units(steps, [(0, 10), (10, 20), (20, 30)], ["a", "b", "c"], 2)
    assert len(set(units[:10])) == len(set(units[10:20])) == 1
    assert units[0] != units[10]
    assert (units[20:] == -1).all()


def test_a_direction_is_of_four_steps():
    steps = np.array([[4.0, 0], [0, 0], [0, 3], [0, 0]])
    # Steps -1..2 of the first frame (the edge repeated): 8 and 3 over four.
    assert np.allclose(frame_directions(steps), np.array([[8, 3], [0, 3]]) / np.array([[73**0.5], [3.0]]))


def test_a_group_of_many_frames_has_no_more_units_than_one_of_few():
    random = np.random.default_rng(0)
    many = np.concatenate([[4.0, 0] + random.standard_normal((1200, 2)) * 0.3])
    few = np.concatenate([[-4.0, 0] + random.standard_normal((60, 2)) * 0.3])
    steps, ranges = np.concatenate([many, few]), [(0, 600), (600, 630)]
    apart = cluster_units(steps, ranges, ["a", "b"], 8, seed=0)
    alone = len(set(apart[600:]))
    monopoly = len(set(cluster_units(steps, ranges, ["a", "a"], 8, seed=0)[600:]))
    assert alone >= monopoly


def test_sounds_have_units_of_their_own_after_those_of_speech(tmp_path):
    clips = packed(tmp_path)
    clips.kinds[2] = "sound"
    found = teacher_targets(
        teacher_recipe(tmp_path / "cache", sound_teacher="flat", sound_units=1, text_teacher=None),
        clips,
        LoudnessTeacher,
        never,
        lambda: ones,
    )
    sounds = np.zeros(len(found.units), dtype=bool)
    sounds[slice(*clips.frame_range(2))] = True
    assert set(found.units[sounds]) == {2}
    assert set(found.units[~sounds]) <= {0, 1}


def test_units_of_sounds_depend_on_embedding_and_texture():
    embeddings = [np.tile(vector, (12, 1)) for vector in ([1.0, 0], [1.0, 0], [0, 1.0])]
    textures = [np.full((12, 3), value) for value in (-1.0, 1.0, 1.0)]
    units = cluster_sound_units(embeddings, textures, 3)
    assert [len(set(rows)) for rows in units] == [1, 1, 1]
    assert len({rows[0] for rows in units}) == 3
    with pytest.raises(UniAudioError, match="36 frames of sounds"):
        cluster_sound_units(embeddings, textures, 37)


def test_a_texture_is_the_bands_mean_and_spread():
    time = np.arange(12 * 1920) / 16_000
    steady = np.sin(2 * np.pi * 3_000 * time).astype(np.float32)
    beating = steady * (np.sin(2 * np.pi * 4 * time) > 0)
    found = {
        name: frame_texture(wav.astype(np.float32), FRAME) for name, wav in (("steady", steady), ("beating", beating))
    }
    assert found["steady"].shape == (12, 80)
    loudest = int(found["steady"][6, :40].argmax())
    assert loudest > 20
    assert found["beating"][6, 40 + loudest] > 5 * found["steady"][6, 40 + loudest]


def test_more_units_than_frames_are_refused():
    with pytest.raises(UniAudioError, match="2 frames"):
        cluster_units(np.ones((4, 2)), [(0, 2)], ["a"], 3)


def test_a_transformers_whisper_encodes(tmp_path):
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
    )
    WhisperModel(config).save_pretrained(tmp_path)
    teacher = frame_teacher(tmp_path, STEP)
    assert teacher.dimensions == 16
    wavs = [np.random.RandomState(0).standard_normal(count).astype(np.float32) for count in (4 * STEP, 7 * STEP)]
    found = teacher(wavs)
    assert [rows.shape for rows in found] == [(4, 16), (7, 16)]
    # The other clips of the batch do not change a clip's features.
    assert np.allclose(found[0].astype(float), teacher(wavs[:1])[0].astype(float), atol=0.05)


def test_no_whisper_in_a_folder(tmp_path):
    with pytest.raises(UsageError, match="no Whisper"):
        frame_teacher(tmp_path, STEP)


def test_a_text_embedding_does_not_depend_on_the_batch(tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "rain"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=8, **size)).save_pretrained(tmp_path)
    read = SentenceEncoder(tmp_path)
    both = read(["rain", "a dog a dog"])
    assert both.shape == (2, 16)
    assert np.allclose(both[:1], read(["rain"]), atol=1e-5)
    assert not np.allclose(both[0], both[1])
