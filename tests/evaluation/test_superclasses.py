"""Super-classes: clips take them as labels, and no demonstration is of the query's own class."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.test_layouts import write
from tests.factories import chirps
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.episodes import Item
from uniaudio_cli.evaluation.job import ModelNames
from uniaudio_cli.evaluation.layouts import LAYOUTS
from uniaudio_cli.evaluation.suite import Suite, load_suite
from uniaudio_cli.evaluation.superclasses import by_superclass

YAML = """name: mine
about: x
layout: audio-folder
task: emotion
runs:
  - {name: a, ways: 2, shots: [2], episodes: 20, rule: other, superclasses: {animal: [dog, hen], tool: [saw, drill]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("dog", "hen", "saw", "drill", "rain")):
        for take in range(3):
            write_wav(found / name / f"{take}.wav", chirps(1_600, 10 * number + take)[0], 16_000)
    return found


def suite_of(tmp_path, text) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    found = load_suite(str(path))
    assert isinstance(found, Suite)
    return found


def test_no_demonstration_is_of_the_querys_class(folder, tmp_path):
    notes: list[str] = []
    ((_, job),) = suite_of(tmp_path, YAML).jobs(folder, ModelNames(), note=notes.append)
    assert notes == ["note: of no super-class, so left out: rain"]
    assert {(clip.label, clip.group) for clip in job.manifest.clips} == {
        ("animal", "dog"), ("animal", "hen"), ("tool", "saw"), ("tool", "drill"),
    }  # fmt: skip
    drawn = list(job.manifest.episodes_in(folder, 2))
    assert len(drawn) == 20
    for episode in drawn:
        assert episode.labels == ("animal", "tool")
        assert episode.query.group not in {item.group for item in episode.demonstrations}
        assert sum(item.label == episode.query.label for item in episode.demonstrations) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("hen]", "hne]"), r"no clip has the label 'hne' of 'animal' \(did you mean 'hen'\?\); there are dog, drill"),
        (("hen]", "dog]"), "'runs.superclasses' must be lists without a class twice"),
        (("[dog, hen]", "[]"), "superclasses' must be two or more lists of classes"),
        ((", tool: [saw, drill]", ""), "superclasses' must be two or more lists of classes"),
        (("[dog, hen]", "[dog]"), "2-way 2-shot episodes, rule other: no clip of 'animal' can be the query"),
    ],
)
def test_mistakes_are_named(folder, tmp_path, change, words):
    with pytest.raises(UsageError, match=words):
        list(suite_of(tmp_path, YAML.replace(*change)).jobs(folder, ModelNames()))


def test_the_five_categories_are_those_of_esc50(tmp_path):
    """By ESC-50's table the classes of a category have targets of one ten; README.md there names the categories."""
    suite = load_suite("esc50-superclasses")
    assert isinstance(suite, Suite)
    categories = suite.runs[0].superclasses
    names = [name for classes in categories.values() for name in classes]
    assert (len(categories), len(names), len(set(names))) == (5, 50, 50)
    assert suite.runs[1].superclasses == categories
    rows = [f"1-{n}-A-{n}.wav,1,{n},{name},False,{n},A" for n, name in enumerate(names)]
    write(tmp_path, ["meta/esc50.csv"])
    (tmp_path / "meta" / "esc50.csv").write_text(
        "\n".join(["filename,fold,target,category,esc10,src_file,take", *rows])
    )
    items = by_superclass(LAYOUTS["esc50"](tmp_path), categories, pytest.fail)
    assert [(item.label, item.group) for item in items[::10]] == [
        (category, classes[0]) for category, classes in categories.items()
    ]


def test_items_keep_their_paths():
    items = [Item(Path(f"{name}.wav"), name, "r1") for name in ("b", "a", "c")]
    found = by_superclass(items, {"x": ["a"], "y": ["b"]}, lambda line: None)
    assert found == [Item(Path("b.wav"), "y", "b"), Item(Path("a.wav"), "x", "a")]
