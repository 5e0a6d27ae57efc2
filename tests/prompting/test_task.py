import json

import pytest
import yaml

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import data_folder
from uniaudio_cli.core.schema import json_schema, parse_settings
from uniaudio_cli.prompting.kinds import KINDS
from uniaudio_cli.prompting.task import Clip, Generation, Task, list_tasks, load_task, override_task, task_names

MINIMAL = {"name": "mine", "description": "d", "input": "audio", "output": "label", "instruction": "one of [{labels}]"}
SPEECH = {**MINIMAL, "input": "text", "output": "audio", "instruction": "say it"}
PAIRS = {**MINIMAL, "output": "audio", "instruction": "clean it"}


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
    assert task_names() == sorted([*labels, "resynthesis", "spoken-answer", "text-to-sound"])
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
    task = load(MINIMAL)
    assert task == Task(**MINIMAL)
    assert (task.template, task.levels, task.shots, task.repeats) == ("plain", (0,), 1, 1)
    assert (task.clip, task.readout, task.generation) == (Clip(), "similarity", Generation())
    assert load(SPEECH).levels == load(PAIRS).levels == (0, 1, 2)
    tasks = [task, load(SPEECH), load(PAIRS)]
    assert [each.kind for each in tasks] == list(KINDS) == ["classify", "speak", "enhance"]
    assert [each.demonstration_kind for each in tasks] == ["label", "text", "pair"]
    assert not any(each.uses_time_offsets for each in tasks)
    assert load({**MINIMAL, "readout": "likelihood"}).uses_time_offsets


def test_everything_set(load):
    clip = {"seconds": 2, "crop": "loudest", "pad": False}
    generation = {"length": "free", "max_seconds": 3.5, "temperature": 1}
    rest = {"template": "chat", "levels": [0, 2], "shots": 3, "repeats": 2, "readout": "label"}
    task = load({**MINIMAL, **rest, "clip": clip, "generation": generation})
    assert task.clip == Clip(seconds=2.0, crop="loudest", pad=False)
    assert isinstance(task.clip.seconds, float)
    assert task.generation == Generation(length="free", max_seconds=3.5, temperature=1.0)
    assert task.model_dump().items() >= {**rest, "levels": (0, 2)}.items()
    assert load({**SPEECH, "instruction": ""}).instruction == ""
    assert load({**SPEECH, "qa_examples": {"1+1": ["2", "two"]}}).qa_examples == (("1+1", ("2", "two")),)


def test_fewer_levels_pass_fewer_through():
    task = load_task("resynthesis")
    assert (task.levels, task.generated_levels) == ((0, 1, 2), (0,))
    assert [override_task(task, levels=levels).generated_levels for levels in ((0, 1), (0,))] == [(0,), (0,)]


def test_round_trip_through_yaml(load):
    task = load_task("resynthesis")
    assert (
        load(yaml.safe_dump(json.loads(json.dumps({**task.model_dump(), "qa_examples": {}, "reasoning_examples": {}}))))
        == task
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file must be a mapping"),
        ("- a\n- b", "the file must be a mapping"),
        ("a: b: c", "line 1: not YAML"),
        ("a: b\n c: [", "line 2: not YAML"),
        ("a: !!python/object:os.system x", "not YAML"),
        ("name: 2024-99-99", "missing key 'description'"),
        ("name: a\nname: b", "line 2: not YAML .the key 'name' is given twice"),
        ("name: !!int x", "line 1: not YAML .'x' is no int"),
        ("a: " + 200000 * "[", "not YAML that can be read"),
        ("a: " + 5000 * "9", "not YAML"),
        ({**MINIMAL, "clip": {}, "shots": "010"}, "'shots' must be a whole number from 1 to 1000, not '010'"),
        (f"{yaml.safe_dump(MINIMAL)}shots: 010", "'shots' must be a whole number from 1 to 1000, not '010'"),
        (f"{yaml.safe_dump(MINIMAL)}shots: 1:30", "'shots' must be a whole number from 1 to 1000, not '1:30'"),
        (
            f"{yaml.safe_dump(MINIMAL)}clip: {{pad: no}}",
            "no is text or a truth value; put it in quotes, or write true or false",
        ),
        ("\x00", "not YAML"),
        ({**MINIMAL, "levles": [0]}, r"unknown key 'levles' \(did you mean 'levels'\?\)"),
        ({**MINIMAL, 3: 4}, "unknown key '3'"),  # type: ignore[misc]
        ({**MINIMAL, "a\nb": 4}, r"unknown key 'a\\nb'"),
        (
            {**MINIMAL, "clip": {"time_offsets_ms": [-1]}},
            "'clip.time_offsets_ms' must be a list of 1 to 32 whole numbers of milliseconds from 0 to 10000",
        ),
        ({**MINIMAL, "clip": {"second": 1}}, r"unknown key 'clip.second' \(did you mean 'clip.seconds'\?\)"),
        ({**MINIMAL, "clip": 1}, "'clip' must be a mapping"),
        ({**MINIMAL, "clip": None}, "'clip' must be a mapping"),
        ({"name": "x"}, "missing key 'description'"),
        ({**MINIMAL, "name": False}, "'name' must be text that is not blank, not false"),
        ({**MINIMAL, "name": " "}, "'name' must be text that is not blank"),
        ({**MINIMAL, "input": "video"}, "'input' must be one of audio, text, not 'video'"),
        ({**MINIMAL, "output": ["label"]}, "'output' must be one of label, audio"),
        ({**MINIMAL, "instruction": 3}, "'instruction' must be text"),
        ({**MINIMAL, "instruction": "{label}"}, "'instruction' holds {label}, and only {labels} is filled in"),
        ({**MINIMAL, "instruction": "{}"}, "'instruction' holds {}, and only"),
        ({**MINIMAL, "instruction": "a { b"}, "'instruction' has a brace"),
        ({**SPEECH, "instruction": "{labels}"}, "nothing is filled in where the output is audio"),
        ({**MINIMAL, "levels": []}, "'levels' must be a list of whole numbers from 0 up or speech, sounds or prosody"),
        ({**MINIMAL, "levels": 0}, "'levels' must be a list"),
        ({**MINIMAL, "levels": [0, True]}, "'levels' must be a list"),
        ({**MINIMAL, "levels": [1, 0]}, "'levels' must be in rising order"),
        ({**MINIMAL, "levels": [0, 0]}, "'levels' must be in rising order"),
        (
            {**MINIMAL, "levels": [-1]},
            "'levels' must be a list of whole numbers from 0 up or speech",
        ),
        (
            {**MINIMAL, "levels": ["melody", 0]},
            "'levels' must be a list of whole numbers from 0 up or speech",
        ),
        ({**MINIMAL, "levels": [0, "prosody"]}, "'levels' must be in rising order"),
        ({**SPEECH, "levels": ["prosody", 0]}, "'levels' must be without prosody where the output is audio"),
        ({**MINIMAL, "shots": 0}, "'shots' must be a whole number from 1 to 1000, not 0"),
        ({**MINIMAL, "shots": 1.0}, "'shots' must be a whole number"),
        ({**MINIMAL, "shots": True}, "'shots' must be a whole number"),
        ({**MINIMAL, "shots": 1001}, "'shots' must be a whole number from 1 to 1000"),
        ({**MINIMAL, "ways": 2}, "unknown key 'ways'"),
        ({**MINIMAL, "repeats": 0}, "'repeats' must be a whole number from 1 to 100"),
        (
            {**MINIMAL, "selection": "separable"},
            "'selection' must be random or representative where demonstrations have a label",
        ),
        (
            {**SPEECH, "selection": "representative"},
            "'selection' must be random or clearest_speech or separable where demonstrations have a text",
        ),
        ({**MINIMAL, "abstain_below": 1.5}, "'abstain_below' must be a number from 0 to 1"),
        ({**MINIMAL, "readout": "labels"}, "'readout' must be one of likelihood, label"),
        ({**MINIMAL, "clip": {"seconds": 0}}, r"'clip\.seconds' must be a number from 0.05 to 600"),
        ({**MINIMAL, "clip": {"seconds": 1e-6}}, r"'clip\.seconds' must be a number from 0.05 to 600, not 1e-06"),
        ({**MINIMAL, "clip": {"seconds": 1e6}}, r"'clip\.seconds' must be a number from 0.05 to 600, not 1000000"),
        ({**MINIMAL, "clip": {"seconds": float("nan")}}, r"'clip\.seconds' must be a number from 0.05 to 600"),
        ({**MINIMAL, "clip": {"seconds": float("inf")}}, r"'clip\.seconds' must be a number from 0.05 to 600"),
        ({**MINIMAL, "clip": {"seconds": "1 s"}}, r"'clip\.seconds' must be a number"),
        ({**MINIMAL, "clip": {"crop": "middle"}}, r"'clip\.crop' must be one of start, loudest"),
        ({**MINIMAL, "clip": {"pad": 1}}, r"'clip\.pad' must be true or false"),
        ({**MINIMAL, "generation": {"temperature": -0.1}}, r"'generation\.temperature' must be a number from 0 to 10"),
        (
            {**MINIMAL, "generation": {"ngram_order": 1}},
            r"'generation\.ngram_order' must be 0, or a whole number from 2 to 32",
        ),
        ({**MINIMAL, "generation": {"ngram_order": True}}, r"'generation\.ngram_order' must be 0, or a whole number"),
        ({**MINIMAL, "generation": {"top_p": 0}}, r"'generation\.top_p' must be a number above 0, at most 1"),
        ({**MINIMAL, "layout": "interleaved"}, r"'layout' must be flattened where the output is a label"),
        ({**MINIMAL, "closed_vocabulary": "all"}, r"'closed_vocabulary' must be true or false"),
        ({**MINIMAL, "generation": {"max_seconds": 0}}, r"'generation\.max_seconds' must be a number from 0.05 to 600"),
        ({**SPEECH, "qa_examples": {"1+1": "2"}}, "'qa_examples' must be a mapping of questions to lists"),
        ({**SPEECH, "qa_examples": {"1+1": [2]}}, "'qa_examples' must be a mapping of questions to lists"),
        ({**SPEECH, "qa_examples": ["1+1"]}, "'qa_examples' must be a mapping of questions to lists"),
        ({**SPEECH, "reasoning_examples": {"1+1": ["2"]}}, "'reasoning_examples' must be a thought and an answer"),
        ({**MINIMAL, "input": "text"}, "'output' must be audio where the input is text"),
        ({**SPEECH, "generation": {"length": "input"}}, r"'generation\.length' must be demonstrations or free"),
        ({**PAIRS, "passthrough_levels": [1]}, "'passthrough_levels' must be the last of the levels"),
        ({**PAIRS, "passthrough_levels": [0, 1, 2]}, "'passthrough_levels' must be fewer than all levels"),
        ({**PAIRS, "passthrough_levels": [2], "layout": "interleaved"}, "'passthrough_levels' must be empty unless"),
        ({**SPEECH, "passthrough_levels": [2]}, "'passthrough_levels' must be empty unless"),
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
    task = override_task(load_task("emotion"), readout="likelihood")
    changed = override_task(task, shots=2, readout=None, instruction="")
    assert (changed.shots, changed.readout, changed.instruction) == (2, task.readout, "")
    assert changed.replace(shots=task.shots, instruction=task.instruction) == task
    assert override_task(task, levels=["prosody", 0]) == override_task(task, levels=(-1, 0))
    for change, message in [
        ({"shots": 0}, "'shots' must be a whole number from 1 to 1000, not 0"),
        ({"levels": (2, 1)}, "'levels' must be in rising order"),
        ({"readout": "guess"}, "'readout' must be one of likelihood, label, similarity, not 'guess'"),
        ({"levels": ["sounds", 0]}, "'readout' must be similarity where levels hold sounds, not 'likelihood'"),
        ({"level_weights": [1.0]}, "'level_weights' must be one for each of the levels, and readout similarity"),
        ({"clip.crop": "middle"}, r"'clip\.crop' must be one of start, loudest, not 'middle'"),
        ({"clip.crops": "start"}, r"unknown key 'clip\.crops' \(did you mean 'clip\.crop'\?\)"),
        ({"shots.more": 1}, r"'shots\.more' cannot be set: 'shots' is no mapping"),
    ]:
        with pytest.raises(UsageError, match=message):
            override_task(task, **change)
    with pytest.raises(UsageError, match="'crop' must be one of"):
        task.clip.replace(crop="middle")


def test_settings_of_the_command_line():
    task = load_task("resynthesis", parse_settings(["clip.seconds=2", "levels=[0, 1]", "passthrough_levels=[1]"]))
    assert (task.clip, task.levels, task.generated_levels) == (Clip(seconds=2.0, pad=False), (0, 1), (0,))
    assert task == load_task("resynthesis").replace(
        **{"clip.seconds": 2.0, "levels": (0, 1), "passthrough_levels": (1,)}
    )
    with pytest.raises(
        UsageError, match=r"resynthesis\.yaml: 'clip\.seconds' must be a number from 0\.05 to 600, not '2 s'"
    ):
        load_task("resynthesis", parse_settings(["clip.seconds=2 s"]))


def test_tasks_are_made_of_keywords_and_frozen():
    task = Task(**MINIMAL, clip={"seconds": 2.0})
    assert task.clip.seconds == 2.0
    assert hash(task) == hash(task.replace())
    with pytest.raises(UsageError, match=r"unknown key 'clip\.second'"):
        Task(**MINIMAL, clip={"second": 2.0})
    with pytest.raises(UsageError, match="missing key 'instruction'"):
        Task(name="a", description="b", input="audio", output="label")
    with pytest.raises(ValueError, match="frozen"):
        task.shots = 2


def test_the_json_schema_is_current():
    path = data_folder("tasks") / "task.schema.json"
    assert json.loads(path.read_text("utf-8")) == json_schema(Task), "run `python docs/make_task_reference.py`"


def test_shipped_tasks_are_valid_by_the_json_schema():
    jsonschema = pytest.importorskip("jsonschema")
    for name in task_names():
        values = yaml.safe_load((data_folder("tasks") / f"{name}.yaml").read_text("utf-8"))
        jsonschema.validate(values, json_schema(Task))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**MINIMAL, "shots": 0}, json_schema(Task))
