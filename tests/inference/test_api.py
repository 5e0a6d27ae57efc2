"""The Python API: kits, sessions, inputs, errors and threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.factories import chirps
from tests.kits import (
    CLIP,
    RATE,
    clean_task,
    label_task,
    labelled,
    make_kit,
    pairs,
    speech_task,
    spoken,
    tiny,
)
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.results import LabelResult
from uniaudio_cli.inference.trial import trial_prompt
from uniaudio_cli.prompting.task import load_task, override_task


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
def test_an_unreadable_demonstration_is_named_at_once(clips, tmp_path, task, fields):
    fields = {key: clips / value if key == "target" else value for key, value in fields.items()}
    bad = tmp_path / "bad.wav"
    bad.write_text("no audio")
    others = {**fields, "label": "up"} if "label" in fields else fields
    for broken, message in ((bad, "cannot be read as audio"), (tmp_path / "gone.wav", "no such file")):
        with pytest.raises(UniAudioError, match=rf"{broken.name}: {message}"):
            make_kit().session(task, [Demonstration(clips / "1.wav", **others), Demonstration(broken, **fields)])
    with pytest.raises(UniAudioError, match=r"bad\.wav: cannot be read"):
        make_kit().session(clean_task(), [Demonstration(clips / "1.wav", target=bad)])


@pytest.mark.parametrize("task", [label_task(), clean_task()], ids=lambda task: task.name)
def test_an_unreadable_query_is_named(clips, tmp_path, task):
    demonstrations = labelled(clips) if task.output == "label" else pairs(clips)
    with pytest.raises(UniAudioError, match=r"gone\.wav: no such file"):
        make_kit().session(task, demonstrations)(tmp_path / "gone.wav")


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
    with pytest.raises(UsageError, match=r"context holds 24; of its .* would fit"):
        session(query if task.input == "text" else clips / query)


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


def test_the_kit_runs_shipped_tasks(folders, clips):
    kit = make_kit()
    files = [clips / "1.wav", str(clips / "2.wav")]
    results = list(kit.classify(files, folders / "labels", shots=1, labels=["dog", "rain"], seed=3))
    assert [sorted(result.scores) for result in results] == [["dog", "rain"]] * 2
    by_label = list(
        kit.classify(
            files, folders / "labels", override_task(load_task("speech-command"), readout="label", levels=[0, 1])
        )
    )
    assert [len(result.scores) for result in by_label] == [3, 3]
    (answer,) = kit.speak("2", folders / "digits")
    assert answer.answer in ("one", "two")
    (plain,) = kit.speak(["2"], str(folders / "digits"), think=False)
    assert plain.answer == "two"
    once = override_task(load_task("resynthesis"), repeats=1)
    (cleaned,) = kit.resynthesize(clips / "long.wav", folders / "pairs", once)
    assert cleaned.wav.shape == (1, 33 * CLIP // 10)
    session = kit.classifier(folders / "labels", "sound-event", shots=2)
    assert isinstance(session(clips / "1.wav"), LabelResult)
    assert len(session.demonstrations) == 6


@pytest.mark.parametrize("task", ["sound-event", "spoken-answer", "resynthesis"])
def test_a_trial_prompt_is_a_real_prompt(task):
    kit = make_kit()
    prompt = trial_prompt(load_task(task), kit.codec, kit.vocabulary)
    assert len(prompt.demonstrations) == 2 * load_task(task).repeats
    assert prompt.ids(kit.vocabulary)


def test_inputs_of_every_kind_give_one_answer(folders, clips):
    path = clips / "1.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    stereo = np.stack([samples, samples])
    inputs = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), (samples, rate), (stereo, rate)]
    results = list(make_kit().classify(inputs, folders / "labels", shots=1))
    assert [result.file for result in results[:2]] == [str(path)] * 2
    for result in results:
        assert result.label == results[0].label
        assert list(result.scores.values()) == pytest.approx(list(results[0].scores.values()), abs=1e-4)
    (alone,) = make_kit().classify(path, folders / "labels", shots=1)
    assert alone == results[0]


def test_an_input_that_fails_gives_an_error_result(folders, clips, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    inputs = [clips / "1.wav", tmp_path / "bad.wav", b"", tmp_path / "gone.wav", clips / "2.wav"]
    kit = make_kit()
    for results in (
        list(kit.classify(inputs, folders / "labels")),
        list(kit.resynthesize(inputs, folders / "pairs", override_task(load_task("resynthesis"), repeats=1))),
    ):
        assert [result.ok for result in results] == [True, False, False, False, True]
        assert [result.exit_code for result in results if not result.ok] == [1, 1, 1]
        assert results[1].file == str(tmp_path / "bad.wav")
        assert "bad.wav" in results[1].error
    task = override_task(load_task("text-to-sound"))
    refused, made = kit.speak(["three", "one"], folders / "digits", task)
    assert (refused.ok, refused.file, refused.exit_code, made.ok) == (False, "three", 2, True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda kit, demos: kit.classifier(demos, shots=-1), "shots must be a whole number from 1 up, not -1"),
        (lambda kit, demos: kit.classifier(demos, labels="dog"), "labels must be a collection of labels"),
        (lambda kit, demos: kit.classifier(demos, labels=["dgo"]), "no demonstration of 'dgo'.*did you mean 'dog'"),
        (lambda kit, demos: kit.classifier(demos, "resynthesis"), "task resynthesis: turns audio into audio"),
        (lambda kit, demos: kit.classifier(demos, "sound-evnt"), "unknown task 'sound-evnt'"),
        (lambda kit, demos: kit.classifier(demos / "dog"), "holds no clips|lies in no label"),
        (lambda kit, demos: kit.classifier([]), "needs demonstrations"),
    ],
)
def test_wrong_arguments_are_refused_at_once(folders, call, message):
    with pytest.raises(UsageError, match=message):
        call(make_kit(), folders / "labels")


def test_reprs_are_short(folders, clips):
    kit = make_kit()
    classifier = kit.classifier(folders / "labels", shots=1)
    speaker = kit.speaker(folders / "digits")
    for each in (kit, classifier, classifier(clips / "1.wav"), speaker, speaker("one")):
        assert len(repr(each)) < 150 + len(str(clips))
        assert "tensor" not in repr(each)


def test_threads_get_the_answers_of_one_thread(folders, clips):
    """Eight threads, three calls each, of classify and speak on one kit."""
    kit = make_kit()
    files = [clips / f"{n}.wav" for n in range(5)]
    classifier, speaker = kit.classifier(folders / "labels", shots=2), kit.speaker(folders / "digits")

    def work(_: int) -> list[tuple[list[object], list[list[int]]]]:
        return [(list(classifier.classify(files)), speaker.speak(text).codes) for text in ("one", "two", "2")]

    serial = work(0)
    fresh = make_kit()
    classifier, speaker = fresh.classifier(folders / "labels", shots=2), fresh.speaker(folders / "digits")
    with ThreadPoolExecutor(8) as threads:
        assert all(found == serial for found in threads.map(work, range(8)))
