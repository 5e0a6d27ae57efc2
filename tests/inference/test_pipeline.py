from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.factories import chirps, codec_in_words, published_codec
from tests.kits import (
    CLIP,
    KINDS,
    RATE,
    SECONDS,
    clean_task,
    codec_of,
    label_task,
    labelled,
    make_kit,
    pairs,
    speech_task,
    spoken,
    tiny,
)
from tests.small_lms import RuleLM, bigram_rule, noise_rule, tiny_llama
from tests.small_tokenizers import STEMS, byte_bpe, sentencepiece
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration, choose
from uniaudio_cli.inference.pipeline import Kit, Reply, in_batches, rehearse
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.prompt import Audio
from uniaudio_cli.prompting.task import Clip, Generation, Task, load_task
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for

# ---- labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_labels_get_probabilities(clips, kind, readout):
    session = make_kit(kind).session(label_task(readout=readout), labelled(clips))
    assert session.labels == ("dog", "up", "upper")
    for name in ("5", "short", "long"):
        reply = session(clips / f"{name}.wav")
        assert list(reply.scores) == ["dog", "up", "upper"]
        assert sum(reply.scores.values()) == pytest.approx(1)
        assert reply.scores[reply.label] == max(reply.scores.values())
        assert (reply.wav, reply.codes, reply.answer) == (None, None, None)


def test_a_query_is_heard_with_what_is_near_it(clips):
    """Likeliest of all ids is the one it was taken for; a demonstration that is only remembered has just that."""
    kit = make_kit()
    session = kit.session(label_task(levels=(0, 1)), labelled(clips))
    heard = kit.hear(kit.read(clips / "5.wav", session.task))
    for level, (said,) in enumerate(session.asked([heard])):
        order = kit.vocabulary.audio_ids((level,))
        assert said.near is not None
        assert [order[place] for place in said.near.argmax(dim=1).tolist()] == said.ids
        assert said.near.exp().sum(dim=1).tolist() == pytest.approx([1] * len(said.ids), abs=1e-4)
        assert said.near.exp().max() < 1
    assert all(said.near is None for (said,) in session.asked([replace(heard, similar=None)]))


@pytest.mark.parametrize("levels", [(0,), (0, 1), (1, 2)])
def test_an_llm_that_notices_repetition_knows_a_demonstration_again(tmp_path, levels):
    """With the bare counts of bigrams for an LLM, the label of the clip that is the query's own."""
    demonstrations = [Demonstration(tmp_path / f"{label}.wav", label) for label in ("up", "upper", "dog")]
    for seed, demonstration in enumerate(demonstrations):
        write_wav(demonstration.audio, chirps(8 * CLIP, seed)[0], RATE)
    task = replace(label_task(levels=levels), clip=Clip(8 * SECONDS))
    session = make_kit("bare", RuleLM(bigram_rule(byte_bpe().size))).session(task, demonstrations)
    for demonstration in demonstrations:
        assert session(demonstration.audio).label == demonstration.label


def test_shifted_clips_are_heard_once_a_shift_by_the_likelihood_readout(clips):
    shifted = Clip(SECONDS, time_offsets_ms=(0, 60))
    session = make_kit().session(replace(label_task(), clip=shifted), labelled(clips))
    assert len(session.examples) == 2 * len(session.demonstrations)
    first, second = session.kit.hear_shifted(clips / "5.wav", session.task)
    assert second.samples == first.samples + 60 * RATE // 1000
    # Log-probabilities are averaged: the reply is the normalised geometric mean of what each shift says.
    alone = [reply.scores for reply in session.label([[first], [second]])]
    product = {label: (alone[0][label] * alone[1][label]) ** 0.5 for label in session.labels}
    total = sum(product.values())
    expected = {label: p / total for label, p in product.items()}
    assert session(clips / "5.wav").scores == pytest.approx(expected, abs=1e-5)
    by_label = make_kit().session(replace(label_task(readout="label"), clip=shifted), labelled(clips))
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
def test_clips_asked_together_are_labelled_as_one_by_one(clips, kind, readout):
    """Batched after demonstrations that were read once, against everything read anew for each clip (float32)."""
    task = replace(
        label_task(readout=readout, levels=(0, 1)), clip=Clip(4 * SECONDS, pad=False, time_offsets_ms=(0, 60))
    )
    files = [clips / f"{name}.wav" for name in (5, "long", 7, "short", 9, 4)]
    together = make_kit(kind).session(task, labelled(clips)).label_files(files)
    for file, reply in zip(files, together, strict=True):
        (alone,) = make_kit(kind).session(task, labelled(clips)).label_files([file])
        assert reply.label == alone.label
        for label, p in alone.scores.items():
            assert math.log(reply.scores[label]) == pytest.approx(math.log(p), abs=1e-3)


def test_a_clip_that_cannot_be_read_costs_the_others_nothing(clips, tmp_path):
    session = make_kit().session(label_task(), labelled(clips))
    (tmp_path / "bad.wav").write_text("no audio")
    first, bad, last = session.label_files([clips / "5.wav", tmp_path / "bad.wav", clips / "7.wav"])
    assert isinstance(bad, UniAudioError)
    assert (first.label, last.label) == tuple(session(clips / f"{n}.wav").label for n in (5, 7))


def test_a_label_that_is_not_sure_is_left_out(clips):
    (sure, unsure) = (
        make_kit().session(label_task(abstain_below=p), labelled(clips))(clips / "5.wav") for p in (0.0, 1.0)
    )
    assert (sure.label is None, unsure.label) == (False, None)
    assert sure.scores == unsure.scores


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (12, [1, 2, 4, 4, 1])])
def test_batches_grow(count, sizes):
    found = list(in_batches(range(count), 4))
    assert [len(some) for some in found] == sizes
    assert [item for some in found for item in some] == list(range(count))


def test_clips_of_all_lengths_where_nothing_is_padded(clips):
    task = replace(label_task(), clip=Clip(10, pad=False))
    session = make_kit().session(task, labelled(clips))
    assert {name: sum(map(len, session.kit.hear(session.kit.read(clips / f"{name}.wav", task)).codes)) for name in
            ("short", "5", "long")} == {"short": 7, "5": 14, "long": 49}  # fmt: skip
    # What does not fit is an error of the query; the demonstrations fit.
    small = make_kit(lm=tiny(16)).session(task, labelled(clips)[:3])
    assert small(clips / "5.wav").label
    with pytest.raises(UsageError, match="more than the 16 ids tiny reads"):
        small(clips / "long.wav")


# ---- text to audio


@pytest.mark.parametrize("kind", KINDS)
def test_speech_is_as_long_as_the_demonstrations(clips, kind):
    demonstrations = [*spoken(clips), Demonstration(clips / "long.wav", text="long")]
    task = replace(speech_task(), clip=Clip(4 * SECONDS, pad=False))
    session = make_kit(kind).session(task, demonstrations)
    for text in ("one", "something else"):
        reply = session(text)
        coarse = len(reply.codes[0])
        assert [len(row) for row in reply.codes] == [coarse, 2 * coarse, 4 * coarse]
        assert reply.wav.shape == (1, coarse * 4 * 480)
        assert reply.wav.dtype == torch.float32
        assert reply.wav.isfinite().all()
        assert 2 <= coarse <= 7 if kind == "words" else coarse == 2
        assert (reply.label, reply.scores, reply.answer) == (None, None, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.01, SECONDS, 2.3 * SECONDS])
def test_no_audio_is_longer_than_the_task_allows(clips, kind, seconds):
    task = speech_task(generation=Generation("free", max_seconds=seconds))
    stub, found = RuleLM(noise_rule(byte_bpe().size)), set()
    session = make_kit(kind, stub).session(task, spoken(clips))
    for _ in range(20):
        found.add(session("one").wav.shape[-1])
    # In whole groups of frames, of which there is at least one.
    group = session.kit.codec.config.padding_multiple
    assert max(found) <= max(group, seconds * RATE)
    assert all(length % group == 0 for length in found)
    assert len(found) > 1 or kind != "words" or seconds < SECONDS


def test_published_audio_comes_in_whole_groups_of_frames(clips):
    """Levels that share no ids could say their own length, but the attention takes 8 frames at a time."""
    codec = codec_in_words(*(STEMS[level::3] for level in range(3)))
    published = published_codec(tuple(STEMS[::3]), vocab=5)
    published.config = replace(published.config, words=codec.config.words, sizes=codec.config.sizes)
    kit = Kit(published, RuleLM(noise_rule(byte_bpe().size)), vocabulary_for(published.config, byte_bpe()))
    assert kit.vocabulary.disjoint
    for length in ("free", "demonstrations"):
        session = kit.session(speech_task(generation=Generation(length)), spoken(clips))
        assert [len(row) for row in session("one").codes] == [2, 4, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_speech_is_seeded(clips, kind):
    task = speech_task(generation=Generation(temperature=2.0))
    sessions = [make_kit(kind).session(task, spoken(clips), seed) for seed in (0, 0, 1)]
    for text in ("one", "two"):
        first, same, other = (session(text) for session in sessions)
        assert first.codes == same.codes
        assert torch.equal(first.wav, same.wav)
        assert first.codes != other.codes
    assert sessions[0]("one").codes == sessions[1]("one").codes


@pytest.mark.parametrize("levels", [(0,), (0, 1)])
def test_speech_of_the_coarser_levels_alone(clips, levels):
    reply = make_kit().session(speech_task(levels=levels), spoken(clips))("one")
    assert [len(row) for row in reply.codes] == [2, 4][: len(levels)]
    assert reply.wav.shape == (1, CLIP)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_frame_by_frame_where_the_words_allow_it(clips, kind):
    kit = make_kit(kind)
    session = kit.session(speech_task(order="auto"), spoken(clips))
    order = "frames" if kind == "words" else "levels"
    assert session("one").codes == kit.session(speech_task(order=order), spoken(clips))("one").codes
    pieces = rehearse(session.task, kit.codec, kit.vocabulary).prefix
    assert {session.order, *(piece.order for piece in pieces if isinstance(piece, Audio))} == {order}


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_cache_more_of_the_demonstration_is_said_again(clips, kind):
    same = []
    for cache in (0, 2):
        task = speech_task(order="auto", generation=Generation(cache=cache))
        session = make_kit(kind).session(task, spoken(clips))
        shown, made = (session.about("one")[0][1].codes, session("one", think=True).codes)
        same.append(
            sum(a == b for one, other in zip(shown, made, strict=True) for a, b in zip(one, other, strict=True))
        )
        if kind == "words":
            streamed = torch.cat([*session.stream("one", think=True)], dim=1)
            torch.testing.assert_close(streamed, session("one", think=True).wav, atol=1e-3, rtol=0)
    assert same[1] > same[0]


# ---- thinking


def worked_task() -> Task:
    return speech_task(qa_examples=(("1 + 1", ("2", "two")), ("3 - 1", ("two",)), ("4 + 4", ("8", "eight"))))


WORKED = (
    "Question: one\nAnswer: one\nQuestion: two\nAnswer: two\nQuestion: thirty two\nAnswer: thirty two\n"
    "Question: 1 + 1\nAnswer: two\nQuestion: 3 - 1\nAnswer: two\n"
)


@pytest.mark.parametrize("make", [byte_bpe, sentencepiece])
def test_thinking_shows_the_worked_examples_that_the_demonstrations_can_answer(clips, make):
    tokenizer, codec = make(), codec_of("words")
    stub = RuleLM(lambda ids: torch.zeros(tokenizer.size))
    session = Kit(codec, stub, vocabulary_for(codec.config, tokenizer)).session(worked_task(), spoken(clips))
    texts = ["one", "two", "thirty two"]
    assert session.think("5 - 3") in texts
    whole = tuple(tokenizer.encode(f"{WORKED}Question: 5 - 3\nAnswer:"))
    assert stub.asked[-1] == whole
    assert whole[: len(stub.asked[0])] == stub.asked[0]
    session.think("5 - 2")
    assert len(stub.asked) == 3  # the worked examples are read once
    # Every answer in the ids that it has in the worked examples.
    assert stub.scored[:3] == [tokenizer.encode(f"{WORKED}Question: 5 - 3\nAnswer: {text}\n") for text in texts]


def test_thinking_picks_the_text_that_reads_best(clips):
    texts, picked = STEMS[:4], set()
    demonstrations = [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(texts)]
    start = "".join(f"Question: {text}\nAnswer: {text}\n" for text in texts)
    for seed in range(4):
        lm = LanguageModel(tiny_llama(byte_bpe().size, seed=seed), "tiny")
        scores = {}
        for text in texts:
            ids = byte_bpe().encode(f"{start}Question: what?\nAnswer: {text}\n")
            logp = lm.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            scores[text] = float(logp.gather(1, torch.tensor(ids[1:])[:, None]).sum())
        found = make_kit(lm=lm).session(speech_task(), demonstrations).think("what?")
        assert found == max(scores, key=scores.get)
        picked.add(found)
    assert len(picked) > 1


def test_a_text_that_is_demonstrated_is_its_own_answer(clips):
    stub = RuleLM(lambda ids: torch.zeros(byte_bpe().size))
    session = make_kit(lm=stub).session(worked_task(), spoken(clips))
    assert [session.think(text) for text in ("one", "thirty two")] == ["one", "thirty two"]
    assert stub.asked == []


def test_the_thought_is_what_is_spoken(clips):
    session = make_kit().session(worked_task(), spoken(clips))
    reply = session("5 - 3", think=True)
    assert reply.answer == session.think("5 - 3")
    assert reply.codes == session(reply.answer, think=True).codes
    assert session("5 - 3").answer is None


# ---- what is refused


@pytest.mark.parametrize("task", [label_task(), speech_task(), clean_task()], ids=lambda task: task.name)
def test_no_demonstrations(task):
    with pytest.raises(UsageError, match=rf"task {task.name}: needs demonstrations, .* --demos"):
        make_kit().session(task, [])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (label_task(levels=(0, 3)), "level 3: this codec has levels 0 to 2"),
        (speech_task(levels=(0, 2)), r"levels \[0, 2\]: audio is made from level 0 up"),
        (clean_task(levels=(1,)), r"levels \[1\]: audio is made"),
    ],
)
def test_levels_that_cannot_be_shown(clips, task, message):
    with pytest.raises(UsageError, match=message):
        make_kit().session(task, labelled(clips))


@pytest.mark.parametrize(
    ("task", "fields"),
    [(label_task(), {"label": "dog"}), (speech_task(), {"text": "one"}), (clean_task(), {"target": "0.wav"})],
    ids=["label", "text", "pair"],
)
def test_a_demonstration_that_cannot_be_read_is_named_at_once(clips, tmp_path, task, fields):
    fields = {key: clips / value if key == "target" else value for key, value in fields.items()}
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    for broken, message in ((bad, "cannot be read as audio"), (tmp_path / "gone.wav", "no such file")):
        with pytest.raises(UniAudioError, match=rf"{broken.name}: {message}"):
            make_kit().session(task, [Demonstration(clips / "1.wav", **fields), Demonstration(broken, **fields)])
    with pytest.raises(UniAudioError, match=r"bad\.wav: cannot be read"):
        make_kit().session(clean_task(), [Demonstration(clips / "1.wav", target=bad)])


@pytest.mark.parametrize("task", [label_task(), clean_task()], ids=lambda task: task.name)
def test_a_query_that_cannot_be_read_is_named(clips, tmp_path, task):
    demonstrations = labelled(clips) if task.output == "label" else pairs(clips)
    with pytest.raises(UniAudioError, match=r"gone\.wav: no such file"):
        make_kit().session(task, demonstrations)(tmp_path / "gone.wav")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_nothing_to_say(clips, text):
    with pytest.raises(UsageError, match="the text is empty"):
        make_kit().session(speech_task(), spoken(clips))(text)


@pytest.mark.parametrize(
    ("task", "demonstrations", "query"),
    [
        (label_task(repeats=4), labelled, "5.wav"),
        (label_task(repeats=4, readout="label"), labelled, "5.wav"),
        (speech_task(repeats=4), spoken, "one"),
        (clean_task(repeats=4), pairs, "5.wav"),
    ],
    ids=["likelihood", "label", "speech", "clean"],
)
def test_demonstrations_that_do_not_fit(clips, task, demonstrations, query):
    session = make_kit(lm=tiny(24)).session(task, demonstrations(clips))
    with pytest.raises(UsageError, match=r"the LLM reads 24 in all; of its .* would fit"):
        session(query if task.input == "text" else clips / query)


# ---- what people read, and the door for programs


@pytest.mark.parametrize("readout", ["likelihood", "label"])
def test_a_prompt_for_people(clips, readout):
    session = make_kit().session(label_task(readout=readout), labelled(clips))
    written = session.written(clips / "5.wav")
    if readout == "label":
        assert written.startswith("--- instruction, ")
        assert written.count("--- demonstration ") == 4
        assert "Output: upper" in written
    else:
        heads = [line for line in written.splitlines() if line.startswith("===")]
        assert heads[:3] == ["=== dog", "=== up", "=== upper"]
        assert heads[3] == written.splitlines()[-1]
        assert heads[3].startswith("=== scored after each: ")
    assert "tokens in all" in written


def test_a_prompt_of_speech_for_people(clips):
    written = make_kit().session(speech_task(), spoken(clips)).written("forty")
    assert written.splitlines()[-3:-1] == ["Input: forty", "Output: <"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """labels/, digits/ and noisy/ + clean/ in pairs/."""
    root = tmp_path_factory.mktemp("folders")
    names = [f"labels/{label}/{n}" for label in ("dog", "cat", "rain") for n in range(2)]
    names += ["digits/one/a", "digits/two/a", "pairs/noisy/a", "pairs/clean/a"]
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(root / f"{name}.wav", chirps(CLIP, seed)[0], RATE)
    return root


def test_the_kit_does_shipped_tasks(folders, clips):
    kit = make_kit()
    files = [clips / "1.wav", str(clips / "2.wav")]
    replies = list(kit.classify(files, folders / "labels", shots=1, labels=["dog", "rain"], seed=3))
    assert [sorted(reply.scores) for reply in replies] == [["dog", "rain"]] * 2
    by_label = list(kit.classify(files, folders / "labels", "speech-command", readout="label", levels=(0, 1)))
    assert [len(reply.scores) for reply in by_label] == [3, 3]
    spoken_answer = kit.speak("2", folders / "digits")
    assert spoken_answer.answer in ("one", "two")
    assert kit.speak("2", str(folders / "digits"), think=False).answer is None
    assert kit.enhance(clips / "long.wav", folders / "pairs", repeats=1).wav.shape == (1, 33 * CLIP // 10)
    session = kit.prepare(folders / "labels", "sound-event", shots=2)
    assert isinstance(session(clips / "1.wav"), Reply)
    assert len(session.demonstrations) == 6


@pytest.mark.parametrize("task", ["sound-event", "spoken-answer", "enhance"])
def test_a_rehearsal_writes_a_real_prompt(task):
    kit = make_kit()
    prompt = rehearse(load_task(task), kit.codec, kit.vocabulary)
    assert len(prompt.demonstrations) == 2 * load_task(task).repeats
    assert prompt.ids(kit.vocabulary)


def test_level_0_can_be_heard_by_an_llm_of_another_size(clips):
    codec = codec_of("bare")
    vocabulary = Vocabulary(codec.config.words, codec.config.sizes, codec.strides, sentencepiece(), shown=[0])
    lm = LanguageModel(tiny_llama(sentencepiece().size), "tiny")
    assert Kit(codec, lm, vocabulary).session(label_task(), labelled(clips))(clips / "5.wav").label


def test_a_sound_that_is_not_demonstrated_is_refused(clips):
    session = make_kit().session(speech_task(texts="demonstrated"), spoken(clips))
    assert session("two").answer == "two"
    for text in ("twoo", "one two", "one and two"):
        with pytest.raises(UsageError, match="nothing new or mixed: one, two, thirty two"):
            session(text)
    with pytest.raises(UsageError, match="did you mean 'two'"):
        session("twoo")


@pytest.mark.parametrize("length", ["demonstrations", "free"])
@pytest.mark.parametrize("kind", ["words", "published"])
def test_what_is_streamed_is_what_is_said(clips, kind, length):
    task = speech_task(order="frames", generation=Generation(length, max_seconds=1.0))
    if kind == "published":
        with pytest.raises(UsageError, match="cannot be written frame by frame"):
            make_kit(kind).session(task, spoken(clips))("one")
        return
    kit = make_kit(kind)
    session = kit.session(task, spoken(clips))
    for text, think in (("one", True), ("two one", True), ("what", False)):
        whole = session(text, think=think)
        pieces = list(session.stream(text, think=think))
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole.wav, atol=1e-3, rtol=0)
    with pytest.raises(UsageError, match="level after level is not heard before its end"):
        next(kit.session(speech_task(), spoken(clips)).stream("one"))


def test_the_takes_that_the_codec_carries_best_are_spoken_from(clips, monkeypatch):
    kit = make_kit()
    takes = [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one"] * 4 + ["two"] * 3 + ["six"])]
    task = speech_task(pick="carried")
    lost = {each.audio: kit.lost(each.audio, task) for each in takes}
    assert len(set(lost.values())) == len(takes)
    for shots in (1, 2):
        picked = kit.picked(task, takes, shots)
        for text in ("one", "two", "six"):
            best = sorted((each.audio for each in takes if each.text == text), key=lost.__getitem__)[:shots]
            assert [each.audio for each in picked if each.text == text] == best
        assert {each.text for each in picked[:3]} == {"one", "two", "six"}  # in rounds of one take a text
    assert {each.text for each in kit.picked(task, takes, 1, labels=["two"])} == {"two"}
    assert kit.picked(speech_task(), takes, 1) == choose(takes, 1, 0)
    monkeypatch.setattr(Kit, "lost", lambda *_: pytest.fail("nothing to choose among"))
    assert len(kit.picked(task, takes[-1:], 1)) == 1


def test_sounds_are_made_from_the_clips_that_stay_distinct(clips, monkeypatch):
    kit = make_kit()
    takes = [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one"] * 4 + ["two"] * 3 + ["six"])]
    task = speech_task(pick="distinct")
    worth = kit.margins(takes, task)
    assert len(set(worth.values())) > 4
    for shots in (1, 2):
        picked = kit.picked(task, takes, shots)
        for text in ("one", "two", "six"):
            best = sorted((each for each in takes if each.text == text), key=worth.__getitem__)[::-1][:shots]
            assert [each for each in picked if each.text == text] == best
    assert {each.text for each in kit.picked(task, takes, 1, labels=["two"])} == {"two"}
    monkeypatch.setattr(Kit, "copied", lambda *_: pytest.fail("nothing to choose among"))
    assert len(kit.picked(task, takes[-1:], 1)) == 1
