"""Prosody measures, their codes, and their way through the vocabulary and the classifier."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kits import RATE, label_task, labelled, make_kit, speech_task, write_clips
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.audio.levels import PROSODY
from uniaudio_cli.audio.prosody import MEASURES, WORDS, measure_prosody, prosody_codes, prosody_feature
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.trial import trial_prompt
from uniaudio_cli.prompting.task import load_task, override_task
from uniaudio_cli.prompting.vocabulary import InvalidCodesError


def voice(hertz: float, seconds: float = 1.0, gain: float = 0.1, sweep: float = 0.0) -> Tensor:
    """Ten harmonics of a pitch that rises by `sweep` semitones, float32 [1, T]."""
    time = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    phase = 2 * math.pi * torch.cumsum(hertz * 2 ** (sweep * time / seconds / 12), 0) / RATE
    wav = sum(torch.sin(k * phase) / k for k in range(1, 11))
    return (gain * wav)[None].float()  # type: ignore[index]


def values(wav: Tensor) -> dict[str, float]:
    return {m.name.split(",")[0]: value for m, value in zip(MEASURES, measure_prosody(wav, RATE), strict=True)}


@pytest.mark.parametrize("hertz", [80.0, 120.0, 200.0, 330.0])
def test_pitch_is_that_of_the_voice(hertz):
    assert values(voice(hertz))["pitch"] == pytest.approx(12 * math.log2(hertz / 50), abs=0.3)


def test_each_measure_follows_what_it_is_of():
    plain = values(voice(120.0))
    assert values(voice(120.0, sweep=8.0))["movement"] > plain["movement"] + 2
    assert values(voice(120.0, gain=0.01))["loudness"] == pytest.approx(plain["loudness"] - 20, abs=0.1)
    assert values(voice(120.0, seconds=2.0))["length"] == pytest.approx(plain["length"] + 1)
    assert values(voice(240.0))["brightness"] == pytest.approx(plain["brightness"] + 1, abs=0.2)
    broken = voice(120.0) * (torch.arange(RATE) // 1_600 % 2)
    assert values(broken)["tempo"] > plain["tempo"] + 1


@pytest.mark.parametrize("wav", [torch.zeros(1, 1), torch.zeros(1, RATE), torch.full((1, 100), 0.5)])
def test_what_has_no_pitch_has_words_all_the_same(wav):
    assert [WORDS[code] for code in prosody_codes(measure_prosody(wav, RATE))][:2] == ["rough", "flat"]


def test_codes_are_the_bins_in_order():
    for place, measure in enumerate(MEASURES):
        edges = [measure.start + measure.step * n for n in range(len(measure.words) - 1)]
        middle = [each.start for each in MEASURES]
        found = []
        for value in (-math.inf, *(edge + 1e-6 for edge in edges)):
            middle[place] = value
            found.append(WORDS[prosody_codes(middle)[place]])
        assert tuple(found) == measure.words
        middle[place] = edges[-1] + 100 * measure.step
        assert WORDS[prosody_codes(middle)[place]] == measure.words[-1]
        middle[place] = edges[1] - 0.3 * measure.step
        assert [WORDS[prosody_codes(middle, moved)[place]] for moved in (0.0, 0.25, 0.5)] == [
            *(2 * [measure.words[1]]),
            measure.words[2],
        ]
    assert len(set(WORDS)) == len(WORDS)


def test_the_words_are_the_vocabularys():
    vocabulary = make_kit().vocabulary
    codes = prosody_codes(measure_prosody(voice(120.0), RATE))
    assert vocabulary.words([codes], [PROSODY]) == [[WORDS[code] for code in codes]]
    ids = vocabulary.ids([codes], [PROSODY])
    assert vocabulary.tokenizer.decode(ids).split() == [WORDS[code] for code in codes]
    assert set(ids) <= set(vocabulary.audio_ids((PROSODY,)))
    assert vocabulary.ids([codes, [0, 1]], [PROSODY, 0]) == ids + vocabulary.ids([[0, 1]], [0])
    with pytest.raises(InvalidCodesError, match=f"prosody has codes 0 to {len(WORDS) - 1}, not 0 to {len(WORDS)}"):
        vocabulary.ids([[0, len(WORDS)]], [PROSODY])


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    """low-0.wav to high-3.wav: two pitches, takes that differ a little."""
    folder = tmp_path_factory.mktemp("voices")
    for take in range(4):
        for name, hertz in (("low", 80.0), ("high", 300.0)):
            write_wav(folder / f"{name}-{take}.wav", voice(hertz + 3 * take, 0.5 + 0.01 * take), RATE)
    return folder


def test_a_feature_has_the_bins_of_the_codes_and_moves_with_the_value():
    middle = [measure.start + 0.5 * measure.step for measure in MEASURES]
    feature = prosody_feature(middle)
    assert (feature.dtype, feature.shape) == (np.float32, (len(WORDS),))
    first = 0
    for measure, code in zip(MEASURES, prosody_codes(middle), strict=True):
        assert first + int(feature[first : first + len(measure.words)].argmax()) == code
        first += len(measure.words)
    near, far = (prosody_feature([each + moved for each in middle]) for moved in (0.1, 2.0))
    assert feature @ near > feature @ far
    assert np.isfinite(prosody_feature([-math.inf] * len(MEASURES))).all()


def test_similarity_by_prosody(voices, monkeypatch):
    kit = make_kit()
    monkeypatch.setattr(type(kit.codec), "encode_batch", lambda self, wavs: pytest.fail("encoded"))
    task = override_task(load_task("emotion"), levels=["prosody"], readout="similarity")
    session = kit.session(task, [Demonstration(voices / f"{label}-0.wav", label) for label in ("low", "high")])
    assert [session(voices / f"{label}-{take}.wav").label for label in ("low", "high") for take in (1, 2, 3)] == [
        "low",
        "low",
        "low",
        "high",
        "high",
        "high",
    ]


def test_prosody_is_scored_apart(voices):
    clip = load_task("emotion").clip.replace(time_offsets_ms=(0, 30, 60, 90))
    task = override_task(label_task(levels=(PROSODY, 0)), clip=clip)
    kit = make_kit()
    session = kit.session(task, [Demonstration(voices / f"{label}-0.wav", label) for label in ("low", "high")])
    spoken, coarse = session.observe(kit.encoder.encode_with_offsets(voices / "low-1.wav", task))
    assert len(spoken) == len(coarse) == len(task.clip.time_offsets_ms)
    assert all(len(each.ids) >= len(MEASURES) and each.soft_logprobs is None for each in spoken)
    assert any(each.ids != spoken[0].ids for each in spoken), "bins are shifted for each time offset"
    assert "=== scored after each: low flat " in session.render_prompt(voices / "low-1.wav")
    assert sum(session(voices / "low-1.wav").scores.values()) == pytest.approx(1.0)
    assert [(each.examples_for, each.level) for each in session.context_budgets()] == [
        (label, "prosody") for label in ("high", "low")
    ]


def test_prosody_alone_needs_no_codec(voices, monkeypatch):
    kit = make_kit()
    monkeypatch.setattr(type(kit.codec), "encode_batch", lambda self, wavs: pytest.fail("encoded"))
    task = override_task(load_task("emotion"), readout="likelihood")
    (clip, *_) = kit.encoder.encode_with_offsets(voices / "low-0.wav", task)
    assert (clip.codes, len(clip.prosody)) == ([], len(MEASURES))


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_a_trial_prompt_of_a_task_with_prosody(readout):
    kit = make_kit()
    prompt = trial_prompt(label_task(levels=(PROSODY, 0), readout=readout), kit.codec, kit.vocabulary)
    assert len(prompt.ids(kit.vocabulary)) > 0


def test_audio_is_not_made_of_prosody(tmp_path):
    clips = write_clips(tmp_path)
    with pytest.raises(UsageError, match="without prosody"):
        make_kit().session(speech_task(levels=(PROSODY, 0)), labelled(clips))
