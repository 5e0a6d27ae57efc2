"""The shipped codec and the default LLM on the example clips: well-shaped but wrong weights fail here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pystoi import stoi

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import normalise_level
from uniaudio_cli.core.errors import UsageError

AUDIO = Path(__file__).parents[1] / "examples" / "audio"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kit():
    return uniaudio_cli.load()


def test_example_sounds_get_their_labels(kit):
    queries = sorted((AUDIO / "sound-queries").rglob("*.flac"))
    results = list(kit.classify(queries, demos=AUDIO / "sounds"))
    correct = sum(result.label == query.parent.name for result, query in zip(results, queries, strict=True))
    assert correct >= 11, "of 12; chance is 2"


def test_a_spoken_digit_is_recognised(kit):
    from uniaudio_cli.evaluation.judges import WhisperJudge
    from uniaudio_cli.models.registry import resolve_judge

    speaker = kit.speaker(AUDIO / "digits")
    judge = WhisperJudge(resolve_judge(), sorted(speaker.texts))
    for digit in ("three", "seven"):
        result = speaker.speak(digit)
        assert result.answer == digit
        assert judge(result.wav) == digit


def test_questions_get_the_right_answer(kit):
    speaker = kit.speaker(AUDIO / "digits")
    for question, answer in {"one plus one": "two", "2 + 3": "five", "the number of legs of a spider": "eight"}.items():
        found = speaker.plan_answer(question)
        assert (found.text, found.probability > 0.5) == (answer, True)
    for text in ("hello world", "sing a song"):
        with pytest.raises(UsageError, match="cannot be said or answered"):
            speaker.plan_answer(text)


def test_decoded_speech_is_intelligible(kit):
    rate = kit.codec.sample_rate
    clips = sorted((AUDIO / "enhance-queries" / "clean").rglob("*.flac"))[:4]
    wav = torch.cat([read_wav(clip, rate) for clip in clips], dim=1)
    wav = normalise_level(wav, kit.codec.config.level_db, rate)
    decoded = kit.encoder.decode(kit.encoder.encode(wav).codes)[:, : wav.shape[-1]]
    # 0.74 with the weights that ship; the example voices are synthetic, which the codec keeps less well than people.
    assert stoi(wav[0].numpy(), decoded[0].numpy(), rate) > 0.7
