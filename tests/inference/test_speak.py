"""Spoken answers with small real parts."""

from __future__ import annotations

import pytest
import torch

from tests.factories import codec_in_words, published_codec
from tests.kits import (
    CLIP,
    KINDS,
    RATE,
    SECONDS,
    make_kit,
    speech_task,
    spoken,
)
from tests.small_lms import RuleLM, noise_rule
from tests.small_tokenizers import STEMS, byte_bpe
from uniaudio_cli.api import Kit
from uniaudio_cli.core.errors import AbstainedError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.session import Models
from uniaudio_cli.inference.trial import trial_prompt
from uniaudio_cli.prompting.prompt import Audio, Text
from uniaudio_cli.prompting.task import Clip, Generation, Task, override_task
from uniaudio_cli.prompting.vocabulary import vocabulary_for


@pytest.mark.parametrize("kind", KINDS)
def test_speech_is_as_long_as_the_demonstrations(clips, kind):
    demonstrations = [*spoken(clips), Demonstration(clips / "long.wav", text="long")]
    task = override_task(speech_task(), clip=Clip(seconds=4 * SECONDS, pad=False))
    session = make_kit(kind).session(task, demonstrations)
    for text in ("one", "something else"):
        result = session(text)
        coarse = len(result.codes[0])
        assert [len(row) for row in result.codes] == [coarse, 2 * coarse, 4 * coarse]
        assert result.wav.shape == (1, coarse * 4 * 480)
        assert result.wav.dtype == torch.float32
        assert result.wav.isfinite().all()
        assert 2 <= coarse <= 7 if kind == "words" else coarse == 2
        assert result.answer == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.05, SECONDS, 2.3 * SECONDS])
def test_no_audio_is_longer_than_the_task_allows(clips, kind, seconds):
    task = speech_task(generation=Generation(length="free", max_seconds=seconds))
    stub, found = RuleLM(noise_rule(byte_bpe().size)), set()
    session = make_kit(kind, stub).session(task, spoken(clips))
    for _ in range(20):
        found.add(session("one").wav.shape[-1])
    # In whole groups of frames, of which there is at least one.
    group = session.models.codec.config.padding_multiple
    assert max(found) <= max(group, seconds * RATE)
    assert all(length % group == 0 for length in found)
    assert len(found) > 1 or kind != "words" or seconds < SECONDS


def test_published_audio_comes_in_whole_groups_of_frames(clips):
    """Levels that share no ids could say their own length, but the attention takes 8 frames at a time."""
    codec = codec_in_words(*(STEMS[level::3] for level in range(3)))
    published = published_codec(tuple(STEMS[::3]), vocab=5)
    published.config = published.config.replace(words=codec.config.words, sizes=codec.config.sizes)
    kit = Kit(published, RuleLM(noise_rule(byte_bpe().size)), vocabulary_for(published.config, byte_bpe()))
    assert kit.vocabulary.disjoint
    for length in ("free", "demonstrations"):
        session = kit.session(speech_task(generation=Generation(length=length)), spoken(clips))
        assert [len(row) for row in session("one").codes] == [2, 4, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_speech_is_seeded(clips, kind):
    task = speech_task(generation=Generation(temperature=2.0))
    sessions = [make_kit(kind).session(task, spoken(clips), seed=seed) for seed in (0, 0, 1)]
    for text in ("one", "two"):
        first, same, other = (session(text) for session in sessions)
        assert first.codes == same.codes
        assert torch.equal(first.wav, same.wav)
        assert first.codes != other.codes
    assert sessions[0]("one").codes == sessions[1]("one").codes


@pytest.mark.parametrize("levels", [(0,), (0, 1)])
def test_speech_of_the_coarser_levels_alone(clips, levels):
    result = make_kit().session(speech_task(levels=levels), spoken(clips))("one")
    assert [len(row) for row in result.codes] == [2, 4][: len(levels)]
    assert result.wav.shape == (1, CLIP)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_layout_interleaves_where_the_words_allow_it(clips, kind):
    kit = make_kit(kind)
    session = kit.session(speech_task(layout="auto"), spoken(clips))
    layout = "interleaved" if kind == "words" else "flattened"
    assert session("one").codes == kit.session(speech_task(layout=layout), spoken(clips))("one").codes
    pieces = trial_prompt(session.task, kit.codec, kit.vocabulary).prefix
    assert {session.layout, *(piece.layout for piece in pieces if isinstance(piece, Audio))} == {layout}


@pytest.mark.parametrize("kind", KINDS)
def test_an_ngram_model_copies_more_of_the_demonstration(clips, kind):
    same = []
    for order in (0, 2):
        task = speech_task(layout="auto", generation=Generation(ngram_order=order))
        session = make_kit(kind).session(override_task(task, qa_examples={"1 + 1": ["two"]}), spoken(clips))
        shown, made = (session.examples_for("one")[0].clip.codes, session("one").codes)
        same.append(
            sum(a == b for one, other in zip(shown, made, strict=True) for a, b in zip(one, other, strict=True))
        )
        if kind == "words":
            streamed = torch.cat([*session.stream("one")], dim=1)
            torch.testing.assert_close(streamed, session("one").wav, atol=1e-3, rtol=0)
    assert same[1] > same[0]


def qa_task() -> Task:
    return speech_task(qa_examples={"1 + 1": ["2", "two"], "3 - 1": ["two"], "4 + 4": ["8", "eight"]})


def test_an_answer_in_text_is_spoken(clips):
    session = make_kit().session(qa_task(), spoken(clips))
    result = session("5 - 3")
    assert set(result.answer.split()) <= {"one", "two", "thirty"}
    assert 0 < result.probability < 1
    assert result.confident
    assert result.codes == session(result.answer).codes
    assert session(result.answer).probability == 1
    doubtful = make_kit().session(override_task(qa_task(), doubtful_below=1.0), spoken(clips))("5 - 3")
    assert (doubtful.answer, doubtful.confident) == (result.answer, False)
    with pytest.raises(AbstainedError, match=r"has probability .* below 1$") as problem:
        make_kit().session(override_task(qa_task(), abstain_below=1.0), spoken(clips))("5 - 3")
    assert (problem.value.answer, problem.value.probability) == (result.answer, result.probability)


def test_each_text_is_generated_once(clips, monkeypatch):
    session = make_kit().session(qa_task(), spoken(clips))
    made, generate = [], session.generator.generate
    monkeypatch.setattr(
        session.generator, "generate", lambda queries, **more: made.append(queries) or generate(queries, **more)
    )
    wav = session("One, two: one.").wav
    torch.testing.assert_close(session("1 2 1").wav, wav)
    assert made == [[Text("one")], [Text("two")]]


def test_a_text_that_is_demonstrated_needs_no_answering_llm(clips):
    kit = make_kit()
    models = Models(kit.encoder, lambda: (kit.lm, kit.vocabulary), answering=lambda: pytest.fail("it is loaded"))
    session = Kit.of(models).session(qa_task(), spoken(clips))
    assert [session(text).answer for text in ("one", "32", "Two!")] == ["one", "thirty two", "two"]
    with pytest.raises(UsageError, match=r"with what is demonstrated: one, two, thirty two$"):
        session("seven")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_text_is_refused(clips, text):
    with pytest.raises(UsageError, match="the text is empty"):
        make_kit().session(speech_task(), spoken(clips))(text)


def test_rendered_prompt_of_speech(clips):
    rendered = make_kit().session(speech_task(), spoken(clips)).render_prompt("forty")
    assert rendered.splitlines()[-3:-1] == ["Input: forty", "Output: <"]


def test_a_closed_vocabulary_refuses_other_texts(clips):
    session = make_kit().session(speech_task(closed_vocabulary=True), spoken(clips))
    assert session("two").answer == "two"
    assert session("Two.").answer == "two"
    for text in ("twoo", "one two", "one and two"):
        with pytest.raises(UsageError, match="nothing new or mixed: one, two, thirty two"):
            session(text)
    with pytest.raises(UsageError, match="did you mean 'two'"):
        session("twoo")


@pytest.mark.parametrize("length", ["demonstrations", "free"])
@pytest.mark.parametrize("kind", ["words", "published"])
def test_a_stream_equals_the_whole(clips, kind, length):
    task = speech_task(layout="interleaved", generation=Generation(length=length, max_seconds=1.0))
    if kind == "published":
        with pytest.raises(UsageError, match="cannot be interleaved"):
            make_kit(kind).session(task, spoken(clips))("one")
        return
    kit = make_kit(kind)
    in_text = override_task(task, qa_examples={"1 + 1": ["two"]})
    for text, given in (("one", in_text), ("two one", in_text), ("what", task)):
        session = kit.session(given, spoken(clips))
        whole = session(text)
        pieces = list(session.stream(text))
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole.wav, atol=1e-3, rtol=0)
    with pytest.raises(UsageError, match="cannot be decoded before its end"):
        next(kit.session(speech_task(), spoken(clips)).stream("one"))
