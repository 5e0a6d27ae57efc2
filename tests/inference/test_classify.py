"""Classification with small real parts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.factories import chirps
from tests.kits import (
    CLIP,
    KINDS,
    RATE,
    SECONDS,
    codec_of,
    label_task,
    labelled,
    make_kit,
    tiny,
)
from tests.small_lms import RuleLM, bigram_rule, tiny_llama
from tests.small_tokenizers import byte_bpe, sentencepiece
from uniaudio_cli.api import Kit
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.results import ErrorResult
from uniaudio_cli.inference.session import growing_batches
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.task import Clip, override_task
from uniaudio_cli.prompting.vocabulary import Vocabulary


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_labels_get_probabilities(clips, kind, readout):
    session = make_kit(kind).session(label_task(readout=readout), labelled(clips))
    assert session.labels == ("dog", "up", "upper")
    for name in ("5", "short", "long"):
        result = session(clips / f"{name}.wav")
        assert sorted(result.scores) == ["dog", "up", "upper"]
        assert list(result.scores.values()) == sorted(result.scores.values(), reverse=True)
        assert result.margin == pytest.approx(next(iter(result.scores.values())) - list(result.scores.values())[1])
        assert sum(result.scores.values()) == pytest.approx(1)
        assert result.scores[result.label] == max(result.scores.values())


def test_queries_carry_soft_assignments(clips):
    """Likeliest of all ids is the one it was taken for; a demonstration that is only remembered has just that."""
    kit = make_kit()
    session = kit.session(label_task(levels=(0, 1)), labelled(clips))
    heard = kit.encoder.encode(kit.encoder.read(clips / "5.wav", session.task.clip))
    for level, (observation,) in enumerate(session.observe([heard])):
        order = kit.vocabulary.audio_ids((level,))
        assert observation.soft_logprobs is not None
        assert [order[place] for place in observation.soft_logprobs.argmax(dim=1).tolist()] == observation.ids
        assert observation.soft_logprobs.exp().sum(dim=1).tolist() == pytest.approx(
            [1] * len(observation.ids), abs=1e-4
        )
        assert observation.soft_logprobs.exp().max() < 1
    assert all(
        observation.soft_logprobs is None for (observation,) in session.observe([replace(heard, similarity=None)])
    )


@pytest.mark.parametrize("levels", [(0,), (0, 1), (1, 2)])
def test_a_bigram_llm_recognises_a_repeated_demonstration(tmp_path, levels):
    """With the bare counts of bigrams for an LLM, the label of the clip that is the query's own."""
    demonstrations = [Demonstration(tmp_path / f"{label}.wav", label) for label in ("up", "upper", "dog")]
    for seed, demonstration in enumerate(demonstrations):
        write_wav(demonstration.audio, chirps(8 * CLIP, seed)[0], RATE)
    task = override_task(label_task(levels=levels), clip=Clip(seconds=8 * SECONDS))
    session = make_kit("bare", RuleLM(bigram_rule(byte_bpe().size))).session(task, demonstrations)
    for demonstration in demonstrations:
        assert session(demonstration.audio).label == demonstration.label


def test_scores_of_time_offsets_are_averaged(clips):
    shifted = Clip(seconds=SECONDS, time_offsets_ms=(0, 60))
    session = make_kit().session(override_task(label_task(), clip=shifted), labelled(clips))
    assert len(session.examples) == 2 * len(session.demonstrations)
    first, second = session.encoder.encode_with_offsets(clips / "5.wav", session.task)
    assert second.samples == first.samples + 60 * RATE // 1000
    # Log-probabilities are averaged: the result is the normalised geometric mean of what each shift says.
    alone = session.score([[first], [second]])
    product = {label: (alone[0][label] * alone[1][label]) ** 0.5 for label in session.labels}
    total = sum(product.values())
    expected = {label: p / total for label, p in product.items()}
    assert session(clips / "5.wav").scores == pytest.approx(expected, abs=1e-5)
    by_label = make_kit().session(override_task(label_task(readout="label"), clip=shifted), labelled(clips))
    assert len(by_label.examples) == len(by_label.demonstrations)


def test_a_label_is_closed_so_that_it_begins_no_other(clips):
    stub = RuleLM(lambda ids: torch.zeros(byte_bpe().size))
    make_kit(lm=stub).session(label_task(readout="label"), labelled(clips))(clips / "5.wav")
    answers = [byte_bpe().decode(ids).rpartition("Output:")[2] for ids in stub.scored]
    assert answers == [" dog\n", " up\n", " upper\n"]


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_queries_may_come_in_any_order(clips, readout):
    task, queries = label_task(readout=readout), [clips / f"{n}.wav" for n in (7, 4, 9)]
    one, other = (make_kit("bare").session(task, labelled(clips)) for _ in range(2))
    forwards = [one(query) for query in queries]
    backwards = [other(query) for query in reversed(queries)]
    assert forwards == backwards[::-1] == [one(query) for query in queries]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_a_batch_gives_the_scores_of_single_clips(clips, kind, readout):
    """Batched after demonstrations that were read once, against everything read anew for each clip (float32)."""
    task = override_task(
        label_task(readout=readout, levels=(0, 1)), clip=Clip(seconds=4 * SECONDS, pad=False, time_offsets_ms=(0, 60))
    )
    files = [clips / f"{name}.wav" for name in (5, "long", 7, "short", 9, 4)]
    together = make_kit(kind).session(task, labelled(clips)).classify_batch(files)
    for file, result in zip(files, together, strict=True):
        (alone,) = make_kit(kind).session(task, labelled(clips)).classify_batch([file])
        assert result.label == alone.label
        for label, p in alone.scores.items():
            assert math.log(result.scores[label]) == pytest.approx(math.log(p), abs=1e-3)


def test_an_unreadable_clip_gives_an_error_result(clips, tmp_path):
    session = make_kit().session(label_task(), labelled(clips))
    (tmp_path / "bad.wav").write_text("no audio")
    first, bad, last = session.classify_batch([clips / "5.wav", tmp_path / "bad.wav", clips / "7.wav"])
    assert isinstance(bad, ErrorResult)
    assert (first.label, last.label) == tuple(session(clips / f"{n}.wav").label for n in (5, 7))


def test_abstention_below_a_probability(clips):
    (sure, unsure) = (
        make_kit().session(label_task(abstain_below=p), labelled(clips))(clips / "5.wav") for p in (0.0, 1.0)
    )
    assert (sure.label is None, unsure.label) == (False, None)
    assert sure.scores == unsure.scores


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (12, [1, 2, 4, 4, 1])])
def test_batches_grow(count, sizes):
    found = list(growing_batches(range(count), 4))
    assert [len(some) for some in found] == sizes
    assert [item for some in found for item in some] == list(range(count))


def test_clips_of_all_lengths_where_nothing_is_padded(clips):
    task = override_task(label_task(), clip=Clip(seconds=10, pad=False))
    session = make_kit().session(task, labelled(clips))
    for name, count in {"short": 7, "5": 14, "long": 49}.items():
        wav = session.encoder.read(clips / f"{name}.wav", task.clip)
        assert sum(map(len, session.encoder.encode(wav).codes)) == count
    # What does not fit is an error of the query; the demonstrations fit.
    small = make_kit(lm=tiny(16)).session(task, labelled(clips)[:3])
    assert small(clips / "5.wav").label
    with pytest.raises(UsageError, match="more than the 16 ids tiny reads"):
        small(clips / "long.wav")


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_rendered_prompt_of_labels(clips, readout):
    session = make_kit().session(label_task(readout=readout), labelled(clips))
    rendered = session.render_prompt(clips / "5.wav")
    if readout == "label":
        assert rendered.startswith("--- instruction, ")
        assert rendered.count("--- demonstration ") == 4
        assert "Output: upper" in rendered
    else:
        heads = [line for line in rendered.splitlines() if line.startswith("===")]
        assert heads[:3] == ["=== dog", "=== up", "=== upper"]
        assert heads[3] == rendered.splitlines()[-1]
        assert heads[3].startswith("=== scored after each: ")
    assert "tokens in all" in rendered


def test_level_0_works_with_an_llm_of_another_size(clips):
    codec = codec_of("bare")
    vocabulary = Vocabulary(codec.config.words, codec.config.sizes, codec.strides, sentencepiece(), levels=[0])
    lm = LanguageModel(tiny_llama(sentencepiece().size), "tiny")
    assert Kit(codec, lm, vocabulary).session(label_task(), labelled(clips))(clips / "5.wav").label


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (torch.zeros(1, RATE), "digital silence"),
        (torch.full((1, RATE), 0.25), "digital silence"),
        (torch.ones(1, 1), "shorter than 20 ms"),
        (chirps(160, 3)[0], "shorter than 20 ms"),
    ],
    ids=["zeros", "offset", "one sample", "10 ms"],
)
def test_a_clip_without_sound_is_an_error_and_no_label(clips, tmp_path, wav, reason):
    write_wav(tmp_path / "empty.wav", wav, RATE)
    session = make_kit().session(label_task(), labelled(clips))
    empty, fine = session.classify_batch([tmp_path / "empty.wav", clips / "5.wav"])
    assert (empty.ok, fine.ok) == (False, True)
    assert "empty.wav" in empty.error
    assert reason in empty.error
    with pytest.raises(UniAudioError, match=reason):
        make_kit().session(label_task(), [*labelled(clips), Demonstration(tmp_path / "empty.wav", "dog")])


@pytest.mark.parametrize("change", [lambda wav: wav / 1000, lambda wav: wav + 0.2], ids=["60 dB down", "offset"])
def test_level_and_offset_do_not_change_a_label(clips, tmp_path, change):
    session = make_kit().session(label_task(levels=(0, 1)), labelled(clips))
    for seed in range(4):
        wav = chirps(CLIP, 50 + seed)[0]
        plain = session((wav[0].numpy(), RATE))
        changed = session((change(wav)[0].numpy(), RATE))
        assert changed.label == plain.label
        assert list(changed.scores.values()) == pytest.approx(list(plain.scores.values()), abs=0.02)
