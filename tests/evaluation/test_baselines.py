"""The peers' recipes on stand-ins for their encoders, and the real ones where their weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import MissingWeightsError
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation import baselines
from uniaudio_cli.evaluation.baselines import WhisperNearest, YAMNetLogisticRegression, peak_normalised
from uniaudio_cli.evaluation.systems import MissingLibrary, Setup
from uniaudio_cli.prompting.task import load_task
from uniaudio_cli.training.encoders import CTranslate2Whisper


@pytest.fixture(scope="module")
def episode(tmp_path_factory) -> Episode:
    """Low and high tones, two of each to demonstrate; the query is a low one."""
    folder, items = tmp_path_factory.mktemp("tones"), []
    for label, pitch in (("low", 200), ("high", 2_000)):
        for take in range(3):
            time = torch.arange(24_000) / 16_000
            wav = 0.1 * (take + 1) * torch.sin(2 * torch.pi * pitch * (1 + 0.02 * take) * time)
            path = folder / f"{label}-{take}.wav"
            write_wav(path, wav[None], 16_000)
            items.append(Item(path, label, path.stem))
    low, high = items[:3], items[3:]
    return Episode(("high", "low"), (low[0], high[0], low[1], high[1]), low[2])


def setup_of(episode: Episode) -> Setup:
    items = [*episode.demonstrations, episode.query]
    return Setup(lambda: pytest.fail("the product is not needed"), load_task("sound-event"), items, offline=True)


class FakeYAMNet:
    """Patches of silence have another embedding and a high posterior of silence."""

    def __init__(self, folder: Path) -> None:
        self.patches = 0

    def frames(self, wav: np.ndarray) -> np.ndarray:
        return np.repeat(np.abs(wav[:: 16_000 // 100]), 64).reshape(-1, 64)

    def __call__(self, patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.patches += 1
        silent = patch.max() == 0
        posterior = np.full(521, 1e-4)
        posterior[baselines.YAMNET_SILENCE] = 1.0 if silent else 0.0
        return np.eye(1024)[0 if silent else 1], posterior


def test_yamnet_leaves_silence_out_and_scales_to_ten(monkeypatch, tmp_path, episode):
    monkeypatch.setattr("uniaudio_cli.codec.frozen.yamnet.YAMNet", FakeYAMNet)
    monkeypatch.setattr("uniaudio_cli.models.registry.resolve_teacher", lambda *_: tmp_path)
    monkeypatch.setattr(baselines, "require_modules", lambda *_: None)
    system = YAMNetLogisticRegression(setup_of(episode))
    wav = torch.cat([torch.zeros(1, 48_000), chirps(48_000, 1)[0].clamp(min=0.01)], dim=1)
    write_wav(tmp_path / "half.wav", wav, 16_000)
    feature = system.feature(tmp_path / "half.wav")
    assert np.linalg.norm(feature) == pytest.approx(10.0)
    assert feature[1] > 9.9
    done = system.yamnet.patches
    assert done == 1 + (600 - 96) // 48
    system.feature(tmp_path / "half.wav")
    assert system.yamnet.patches == done
    scores = system.predict(episode)
    assert set(scores) == {"high", "low"}
    assert sum(scores.values()) == pytest.approx(1.0)


def test_whisper_uses_the_clips_own_frames(monkeypatch, tmp_path, episode):
    def crossings(wav: np.ndarray) -> np.ndarray:
        assert len(wav) >= 3 * 16_000
        found = np.abs(np.diff(np.sign(wav[: len(wav) // 160 * 160]), prepend=0)).reshape(-1, 160).sum(axis=1)
        return np.stack([found, np.ones(len(found))])

    monkeypatch.setattr("uniaudio_cli.models.registry.resolve_judge", lambda *_: tmp_path)
    monkeypatch.setattr(baselines, "whisper_log_mel", crossings)
    monkeypatch.setattr(CTranslate2Whisper, "encode", lambda _, mels: mels[:, :, ::2].transpose(0, 2, 1))
    system = WhisperNearest(setup_of(episode))
    scores = system.predict(episode)
    assert max(scores, key=lambda label: scores[label]) == "low"
    assert set(system.features) == {item.path for item in (*episode.demonstrations, episode.query)}


def test_clips_are_brought_to_one_peak(tmp_path, episode):
    assert np.abs(peak_normalised(episode.query.path)).max() == pytest.approx(1.0)
    write_wav(tmp_path / "silence.wav", torch.zeros(1, 1_600), 16_000)
    assert not peak_normalised(tmp_path / "silence.wav").any()


def test_a_missing_library_is_said():
    with pytest.raises(MissingLibrary, match=r"needs no_such_library: pip install 'uniaudio\[eval\]'"):
        baselines.require_modules("no_such_library")


@pytest.mark.slow
@pytest.mark.parametrize("system", [YAMNetLogisticRegression, WhisperNearest])
def test_real_peers_tell_low_from_high(system, episode):
    """Only where their weights are: nothing is fetched for a test."""
    try:
        scores = system(setup_of(episode)).predict(episode)
    except (MissingWeightsError, MissingLibrary):
        pytest.skip("no weights or no runtime")
    assert max(scores, key=lambda label: scores[label]) == "low"
