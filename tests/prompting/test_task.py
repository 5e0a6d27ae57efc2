import dataclasses

import pytest
import yaml

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.prompting.task import Clip, Generation, Task, list_tasks, load_task, override_task, task_names

LEAST = {"name": "mine", "description": "d", "input": "audio", "output": "label", "instruction": "one of [{labels}]"}
SPOKEN = {**LEAST, "input": "text", "output": "audio", "instruction": "say it"}
PAIRS = {**LEAST, "output": "audio", "instruction": "clean it"}


@pytest.fixture
def load(tmp_path):
    """Load a task from a dict or from the text of its file."""

    def load(content: object) -> Task:
        path = tmp_path / "mine.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return load_task(path)

    return load


def test_shipped_tasks():
    labels = ["accent", "bird", "chord", "emotion", "language-id", "sound-event", "speech-command", "spoken-digit"]
    assert task_names() == sorted([*labels, "enhance", "spoken-answer", "text-to-sound"])
    assert [task.name for task in list_tasks() if task.output == "label"] == labels
    for name, task in zip(task_names(), list_tasks(), strict=True):
        assert task.name == name
        assert task == load_task(name)
        assert ("{labels}" in task.instruction) == (task.output == "label")
        assert "\n" not in task.instruction


def test_instructions_as_published():
    assert (
        load_task("sound-event").instruction.format(labels="'dog' or 'mouse click'")
        == "For each of the following input output pairs, output is one of ['dog' or 'mouse click']"
    )
    assert load_task("spoken-answer").instruction == (
        "Learn a foreign language for different digits, then generate the corresponding number using foreign language "
        "based on instruction"
    )


def test_defaults(load):
    task = load(LEAST)
    assert task == Task(**LEAST)
    assert (task.template, task.levels, task.shots, task.ways, task.repeats) == ("plain", (0,), 1, None, 1)
    assert (task.clip, task.readout, task.generation) == (Clip(), "likelihood", Generation())
    assert load(SPOKEN).levels == load(PAIRS).levels == (0, 1, 2)
    assert (task.demonstration_kind, load(SPOKEN).demonstration_kind, load(PAIRS).demonstration_kind) == (
        "label",
        "text",
        "pair",
    )


def test_everything_set(load):
    clip = {"seconds": 2, "crop": "loudest", "pad": False}
    generation = {"length": "free", "max_seconds": 3.5, "temperature": 1}
    rest = {"template": "chat", "levels": [0, 2], "shots": 3, "ways": 5, "repeats": 2, "readout": "label"}
    task = load({**LEAST, **rest, "clip": clip, "generation": generation})
    assert task.clip == Clip(2.0, "loudest", False)
    assert isinstance(task.clip.seconds, float)
    assert task.generation == Generation("free", 3.5, 1.0)
    assert dataclasses.asdict(task).items() >= {**rest, "levels": (0, 2)}.items()
    assert load({**SPOKEN, "instruction": "", "ways": None}).instruction == ""
    assert load({**SPOKEN, "worked": {"1+1": ["2", "two"]}}).worked == (("1+1", ("2", "two")),)


def test_fewer_levels_keep_fewer():
    task = load_task("enhance")
    assert (task.levels, task.written) == ((0, 1, 2), (0,))
    assert [override_task(task, levels=levels).written for levels in ((0, 1), (0,))] == [(0,), (0,)]


def test_round_trip_through_yaml(load):
    task = load_task("enhance")
    assert load(yaml.safe_dump({**dataclasses.asdict(task), "levels": list(task.levels), "worked": {}})) == task


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file must be a mapping"),
        ("- a\n- b", "the file must be a mapping"),
        ("a: b: c", "line 1: not YAML"),
        ("a: b\n c: [", "line 2: not YAML"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("name: 2024-99-99", "not YAML"),
        ("\x00", "not YAML"),
        ({**LEAST, "lables": [0]}, r"unknown key 'lables' \(did you mean 'levels'\?\)"),
        ({**LEAST, 3: 4}, "unknown key '3'"),
        ({**LEAST, "a\nb": 4}, r"unknown key 'a\\nb'"),
        (
            {**LEAST, "clip": {"time_offsets_ms": [-1]}},
            "'clip.time_offsets_ms' must be whole numbers of milliseconds from 0 up",
        ),
        ({**LEAST, "clip": {"second": 1}}, r"unknown key 'clip.second' \(did you mean 'clip.seconds'\?\)"),
        ({**LEAST, "clip": 1}, "'clip' must be a mapping"),
        ({**LEAST, "clip": None}, "'clip' must be a mapping"),
        ({"name": "x"}, "missing key 'description'"),
        ({**LEAST, "name": False}, "'name' must be text, not False"),
        ({**LEAST, "name": " "}, "'name' must be more than blanks"),
        ({**LEAST, "input": "video"}, "'input' must be one of audio, text, not 'video'"),
        ({**LEAST, "output": ["label"]}, "'output' must be one of label, audio"),
        ({**LEAST, "instruction": 3}, "'instruction' must be text"),
        ({**LEAST, "instruction": "{label}"}, "'instruction' holds {label}, and only {labels} is filled in"),
        ({**LEAST, "instruction": "{}"}, "'instruction' holds {}, and only"),
        ({**LEAST, "instruction": "a { b"}, "'instruction' has a brace"),
        ({**SPOKEN, "instruction": "{labels}"}, "nothing is filled in where the output is audio"),
        ({**LEAST, "levels": []}, r"'levels' must be a list of whole numbers from 0 up or prosody, not \[\]"),
        ({**LEAST, "levels": 0}, "'levels' must be a list"),
        ({**LEAST, "levels": [0, True]}, "'levels' must be a list"),
        ({**LEAST, "levels": [1, 0]}, "'levels' must be rising"),
        ({**LEAST, "levels": [0, 0]}, "'levels' must be rising"),
        ({**LEAST, "levels": [-1]}, "'levels' must be a list of whole numbers from 0 up or prosody"),
        ({**LEAST, "levels": ["melody", 0]}, "'levels' must be a list of whole numbers from 0 up or prosody"),
        ({**LEAST, "levels": [0, "prosody"]}, "'levels' must be rising"),
        ({**SPOKEN, "levels": ["prosody", 0]}, "'levels' must be without prosody where the output is audio"),
        ({**LEAST, "shots": 0}, "'shots' must be 1 or more, not 0"),
        ({**LEAST, "shots": 1.0}, "'shots' must be a whole number"),
        ({**LEAST, "shots": True}, "'shots' must be a whole number"),
        ({**LEAST, "ways": 1}, "'ways' must be 2 or more"),
        ({**LEAST, "ways": "all"}, "'ways' must be a whole number or null"),
        ({**LEAST, "repeats": 0}, "'repeats' must be 1 or more"),
        ({**LEAST, "pick": "carried"}, "'pick' must be drawn or typical where demonstrations have a label"),
        ({**SPOKEN, "pick": "typical"}, "'pick' must be drawn or carried or distinct where demonstrations have a text"),
        ({**LEAST, "abstain_below": 1.5}, "'abstain_below' must be a probability, 0 to 1"),
        ({**LEAST, "readout": "labels"}, "'readout' must be one of likelihood, label"),
        ({**LEAST, "clip": {"seconds": 0}}, r"'clip\.seconds' must be more than 0"),
        ({**LEAST, "clip": {"seconds": float("nan")}}, r"'clip\.seconds' must be more than 0"),
        ({**LEAST, "clip": {"seconds": float("inf")}}, r"'clip\.seconds' must be more than 0"),
        ({**LEAST, "clip": {"seconds": "1 s"}}, r"'clip\.seconds' must be a number"),
        ({**LEAST, "clip": {"crop": "middle"}}, r"'clip\.crop' must be one of start, loudest"),
        ({**LEAST, "clip": {"pad": 1}}, r"'clip\.pad' must be true or false"),
        ({**LEAST, "generation": {"temperature": -0.1}}, r"'generation\.temperature' must be 0 or more"),
        ({**LEAST, "generation": {"cache": 1}}, r"'generation\.cache' must be 0, or 2 or more"),
        ({**LEAST, "generation": {"cache": True}}, r"'generation\.cache' must be a whole number"),
        ({**LEAST, "generation": {"top_p": 0}}, r"'generation\.top_p' must be more than 0, at most 1"),
        ({**LEAST, "order": "frames"}, r"'order' must be levels where the output is a label"),
        ({**LEAST, "texts": "all"}, r"'texts'"),
        ({**LEAST, "generation": {"max_seconds": 0}}, r"'generation\.max_seconds' must be more than 0"),
        ({**SPOKEN, "worked": {"1+1": "2"}}, "'worked' must be a mapping of questions to lists"),
        ({**SPOKEN, "worked": {"1+1": [2]}}, "'worked' must be a mapping of questions to lists"),
        ({**SPOKEN, "worked": ["1+1"]}, "'worked' must be a mapping of questions to lists"),
        ({**LEAST, "input": "text"}, "'output' must be audio where the input is text"),
        ({**SPOKEN, "generation": {"length": "input"}}, r"'generation\.length' must be demonstrations or free"),
        ({**PAIRS, "kept": [1]}, "'kept' must be the last of the levels"),
        ({**PAIRS, "kept": [0, 1, 2]}, "'kept' must be fewer than all levels"),
        ({**PAIRS, "kept": [2], "order": "frames"}, "'kept' must be empty unless"),
        ({**SPOKEN, "kept": [2]}, "'kept' must be empty unless"),
        ({**PAIRS, "clip": {"crop": "loudest"}}, r"'clip\.crop' must be start where audio becomes audio"),
    ],
)
def test_bad_tasks_are_one_line_with_file_and_key(load, content, message):
    with pytest.raises(UsageError, match=rf"mine\.yaml: .*{message}") as caught:
        load(content)
    assert str(caught.value).isprintable()


def test_bytes_that_are_not_text(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(UsageError, match=r"mine\.yaml: not YAML"):
        load_task(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("emotions", r"unknown task 'emotions' \(did you mean 'emotion'\?\); there are accent, bird, .*\.yaml file"),
        ("", "unknown task ''"),
        ("x\ny", r"unknown task 'x\\ny'"),
        ("../tasks/emotion", "unknown task"),
        ("none.yaml", r"none\.yaml: cannot be read \(No such file"),
        ("folder.yaml", r"folder\.yaml: cannot be read"),
    ],
)
def test_no_such_task(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UsageError, match=message) as caught:
        load_task(name)
    assert str(caught.value).isprintable()


def test_a_changed_task_is_checked_too():
    task = load_task("emotion")
    assert override_task(task, shots=2, readout=None, instruction="") == dataclasses.replace(
        task, shots=2, instruction=""
    )
    for change, message in [
        ({"shots": 0}, "'shots' must be 1 or more, not 0"),
        ({"levels": (2, 1)}, "'levels' must be rising"),
        ({"readout": "guess"}, "'readout' must be one of likelihood, label, not 'guess'"),
    ]:
        with pytest.raises(UsageError, match=message):
            override_task(task, **change)
    with pytest.raises(UsageError, match=r"'clip\.crop' must be one of"):
        dataclasses.replace(task.clip, crop="middle")
