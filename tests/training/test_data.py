"""Audio folders to packed audio and crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.parts import FRAME, audio, packed
from uniaudio_cli.audio.transforms import level_db
from uniaudio_cli.codec.architectures.small import warp_mel
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.data.manifest import listing
from uniaudio_cli.training.augment import add_noise, add_reverb, band_limit
from uniaudio_cli.training.data import TARGETS_FOLDER, Crops, load_packed, pack


def crops(clips, **changes):
    fields = {"split": "train", "batch_size": 3, "crop_frames": 4, "weights": {}, "gain_db": 0.0}
    return Crops(clips, **{**fields, "seed": 0, **changes})


def test_packed_clips_start_on_frames_at_one_level(tmp_path):
    clips = packed(tmp_path)
    assert (clips.starts % FRAME == 0).all()
    assert (clips.lengths % FRAME == 0).all()
    assert clips.splits.tolist() == ["train", "train", "train", "validation"]
    assert clips.texts.tolist() == ["word 0", "", "word 0", "word 1"]
    assert level_db(torch.from_numpy(clips.clip(2))[None], 16_000) == pytest.approx(-23, abs=0.5)
    assert clips.frame_range(0) == (0, 13)  # 1.5 s are 12.5 frames of 120 ms


def test_the_cache_is_reused_until_the_listing_changes(tmp_path):
    packed(tmp_path)
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    (tmp_path / "cache" / TARGETS_FOLDER).mkdir()
    written = (tmp_path / "cache" / "audio.int16").stat().st_mtime_ns
    pack([tmp_path / "audio"], tmp_path / "cache", 16_000, -23.0, FRAME)
    assert (tmp_path / "cache" / "audio.int16").stat().st_mtime_ns == written
    assert (tmp_path / "cache" / TARGETS_FOLDER).exists()
    pack([tmp_path / "audio" / "0.wav"], tmp_path / "cache", 16_000, -23.0, FRAME)
    clips = load_packed(tmp_path / "cache")
    assert len(clips.starts) == 1
    assert not (tmp_path / "cache" / TARGETS_FOLDER).exists()  # of other audio
    assert (tmp_path / "cache" / "notes.txt").read_text() == "mine"


def test_a_folder_without_metadata_is_grouped_by_folder(tmp_path):
    audio(tmp_path / "a")
    (tmp_path / "a" / "metadata.jsonl").unlink()
    rows = listing(tmp_path)
    assert len(rows) == 4
    assert {row.group for row in rows} == {str(tmp_path / "a")}
    assert len({row.split for row in rows}) == 1  # a group is never torn apart


@pytest.mark.parametrize("text", ["{", "[1]", '{"name": "0.wav"}', "null"])
def test_bad_metadata_names_its_file(tmp_path, text):
    audio(tmp_path)
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(UniAudioError, match=r"metadata\.jsonl"):
        listing(tmp_path)


def test_missing_audio_is_an_error(tmp_path):
    with pytest.raises(UniAudioError, match="packed audio"):
        load_packed(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UniAudioError, match="no readable audio"):
        pack([tmp_path / "x"], tmp_path / "cache", 16_000, None, FRAME)
    with pytest.raises(UniAudioError, match="no clip of the split 'test'"):
        crops(packed(tmp_path), split="test")


def test_a_mistyped_path_keeps_the_cache(tmp_path):
    clips = packed(tmp_path)
    (tmp_path / "cache" / TARGETS_FOLDER).mkdir()
    with pytest.raises(UniAudioError, match="nowhere: no readable audio"):
        pack([tmp_path / "nowhere"], tmp_path / "cache", 16_000, -23.0, FRAME)
    assert (tmp_path / "cache" / TARGETS_FOLDER).exists()
    assert np.array_equal(load_packed(tmp_path / "cache").clip(0), clips.clip(0))
    with pytest.raises(UniAudioError, match="no readable audio"):
        pack([tmp_path / "nowhere"], tmp_path / "new", 16_000, -23.0, FRAME)
    assert not (tmp_path / "new").exists()


def test_a_batch_depends_on_its_number_rank_and_seed_alone(tmp_path):
    clips = packed(tmp_path)
    first, second = crops(clips, degrade_probability=0.5), crops(clips, degrade_probability=0.5)
    second.batch(7)
    a, b = first.batch(3), second.batch(3)
    assert np.array_equal(a.clean, b.clean)
    assert np.array_equal(a.encoder_input, b.encoder_input)
    for other in (first.batch(4), first.batch(3, rank=1), crops(clips, seed=1).batch(3)):
        assert not np.array_equal(a.clean, other.clean)
    assert a.clean.shape == (3, 1, 4 * FRAME)


def test_a_crop_lies_at_its_frame(tmp_path):
    clips = packed(tmp_path)
    batch = crops(clips).batch(0)
    for row, clip, frame in zip(batch.clean[:, 0], batch.clips, batch.frames, strict=True):
        piece = clips.clip(int(clip))[frame * FRAME :][: 4 * FRAME]
        assert np.allclose(row[: len(piece)], piece, atol=1e-4)
        assert not row[len(piece) :].any()


def test_without_degradation_the_input_is_the_target(tmp_path):
    clips = packed(tmp_path)
    plain = crops(clips).batch(0)
    assert plain.encoder_input is plain.clean
    spoiled = crops(clips, degrade_probability=1.0).batch(0)
    assert np.array_equal(spoiled.clean, plain.clean)
    assert all(not np.allclose(a, b) for a, b in zip(spoiled.encoder_input, spoiled.clean, strict=True))


def test_noise_has_the_given_snr():
    random = np.random.default_rng(0)
    wav, noise = (random.standard_normal(16_000).astype(np.float32) for _ in range(2))
    added = add_noise(wav, 5 * noise, snr_db=6.0) - wav
    assert 10 * np.log10(np.square(wav).mean() / np.square(added).mean()) == pytest.approx(6.0, abs=0.01)
    assert add_noise(wav, np.zeros_like(wav), 0.0) is wav


def test_a_band_limit_removes_the_upper_band_and_reverberation_follows_the_sound():
    time = np.arange(16_000) / 16_000
    low, high = np.sin(2 * np.pi * 500 * time), np.sin(2 * np.pi * 6000 * time)
    heard = band_limit((low + high).astype(np.float32), 3_000, 16_000)
    assert np.abs(heard - low)[1000:-1000].max() < 0.02
    click = np.zeros(16_000, dtype=np.float32)
    click[100] = 1.0
    after = add_reverb(click, 0.2, 16_000, np.random.default_rng(0))
    assert after[100] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(after[:100]).max() < 1e-5
    assert np.abs(after[200:1000]).max() > 10 * np.abs(after[3000:]).max()


def test_a_tempo_change_raises_pitch_and_moves_the_targets(tmp_path):
    from tests.training.parts import recipe, teacher_targets
    from uniaudio_cli.training.augment import change_tempo
    from uniaudio_cli.training.batches import training_batch

    time = np.arange(16_000) / 16_000
    spectrum = np.abs(np.fft.rfft(change_tempo(np.sin(2 * np.pi * 1_000 * time).astype(np.float32), 1.25)))
    assert len(spectrum) == pytest.approx(6_401, abs=8)
    assert spectrum.argmax() * 16_000 / 12_800 == pytest.approx(1_250, abs=5)
    clips = packed(tmp_path)
    settings = recipe(tmp_path / "cache", speech_teacher="loudness", consistency_dim=3, unit_dim=4)
    targets = teacher_targets(settings, clips)
    batch = crops(clips, tempo=0.3, batch_size=8).batch(0)
    assert batch.tempos.min() < 0.9 < 1.1 < batch.tempos.max()
    given = training_batch(batch, clips, targets, 4, torch.device("cpu"))
    for row in range(8):
        first, last = clips.frame_range(int(batch.clips[row]))
        for frame in range(4):
            there = first + int(batch.frames[row]) + int((frame + 0.5) * batch.tempos[row])
            assert int(given.units[row, frame]) == (int(targets.units[there]) if there < last else -1)


def test_band_limits_apply_to_input_and_target(tmp_path):
    clips = packed(tmp_path)
    wide, narrow = crops(clips).batch(0), crops(clips, band_limit_probability=1.0).batch(0)
    assert narrow.encoder_input is narrow.clean
    for a, b in zip(wide.clean[:, 0], narrow.clean[:, 0], strict=True):
        above = [np.abs(np.fft.rfft(x))[len(x) * 5_000 // 16_000 :].sum() for x in (a, b)]
        assert above[1] < 0.05 * above[0]


def test_warped_bands_are_interpolated():
    mel = torch.arange(20.0)[None, :, None].expand(3, 20, 5)
    found = warp_mel(mel, torch.tensor([1.0, 0.5, 1.2]))
    assert torch.allclose(found[0], mel[0], atol=1e-4)
    assert torch.allclose(found[1], 0.5 * mel[1], atol=1e-4)
    assert torch.allclose(found[2], (1.2 * mel[2]).clamp(max=19), atol=1e-4)


def test_vtlp_factors_do_not_change_the_crops(tmp_path):
    clips = packed(tmp_path)
    plain, drawn = (Crops(clips, "train", 8, 6, {}, 3.0, 0, vtlp=vtlp).batch(3) for vtlp in (0.0, 0.2))
    assert np.array_equal(plain.encoder_input, drawn.encoder_input)
    assert (plain.vtlp_factors == 1).all()
    assert drawn.vtlp_factors.min() > 1 / 1.2 - 1e-6
    assert drawn.vtlp_factors.max() < 1.2 + 1e-6
    assert len(set(drawn.vtlp_factors.tolist())) > 4
