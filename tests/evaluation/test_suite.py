"""Suites as YAML: shipped ones are valid, jobs are made of them, and mistakes are named."""

from __future__ import annotations

import pytest

from tests.evaluation.folders import clip_folder
from tests.kits import make_kit
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation.concepts import Concepts, clips_of, summarise
from uniaudio_cli.evaluation.controls import CONTROLS, RemappedLabels, shuffled
from uniaudio_cli.evaluation.job import Job, ModelNames, evaluate
from uniaudio_cli.evaluation.manifest import Selection, plan
from uniaudio_cli.evaluation.results import Answer
from uniaudio_cli.evaluation.suite import Suite, load_suite, suites
from uniaudio_cli.evaluation.systems import PRODUCT
from uniaudio_cli.prompting.task import load_task, override_task

TASK = override_task(load_task("emotion"), levels=(0, 1), readout="likelihood")
YAML = "name: mine\nabout: x\nlayout: audio-folder\ntask: emotion\nruns:\n  - {name: a, shots: [1]}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


@pytest.mark.parametrize("name", suites())
def test_shipped_suites_are_valid(name):
    found = load_suite(name)
    if not isinstance(found, Concepts):
        assert found.name == name
    if isinstance(found, Suite):
        for run in found.runs:
            load_task(found.task, run.settings)


def test_runs_are_jobs(folder, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(YAML + "  - {name: b, ways: 2, shots: [2], episodes: 5, controls: [no-audio]}\n")
    suite = load_suite(str(path))
    assert isinstance(suite, Suite)
    (first, folds), (second, drawn) = suite.jobs(folder, ModelNames())
    assert (first.name, folds.manifest.folds, folds.manifest.ways) == ("a", 5, 3)
    assert (second.name, drawn.manifest.folds, len(drawn.manifest.episodes)) == ("b", 0, 5)
    assert drawn.rows_added == ("no-audio",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (YAML.replace("audio-folder", "esc"), "'layout' must be one of fsdd"),
        (YAML + "  - {name: a}\n", "'runs' must be runs of different names"),
        (YAML + "  - {name: b, controls: [silence]}\n", "controls' must be of shuffled-labels"),
        (YAML.replace("about", "abuot"), "unknown key 'abuot'"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as problem:
        load_suite(str(path))
    assert words in str(problem.value)


def test_an_unknown_suite_is_refused():
    with pytest.raises(UsageError, match=r"no suite 'esc11' \(did you mean 'esc10'\?\)"):
        load_suite("esc11")


@pytest.mark.slow
def test_controls_change_what_they_say(folder):
    manifest = plan(Selection(folder), ways=3, shots=(2,), count=3)
    job = Job(manifest, folder, TASK, rows_added=tuple(CONTROLS))
    results = evaluate(job, load=make_kit)
    systems = results.deepest.systems
    assert {row.name for row in CONTROLS.values()} <= set(systems)
    # Likelihood does not read the labels' names, so other names change nothing.
    ours, remapped = systems[PRODUCT], systems[RemappedLabels.name]
    assert remapped.confusion == ours.confusion


def test_shuffled_labels_are_the_same_for_the_same_demonstrations(folder):
    manifest = plan(Selection(folder), ways=3, shots=(3,), count=4)
    for episode in manifest.episodes_in(folder, 3):
        found = shuffled(episode, 0)
        assert found == shuffled(episode, 0)
        assert sorted(item.label for item in found) == sorted(item.label for item in episode.demonstrations)
        assert [item.path for item in found] == [item.path for item in episode.demonstrations]


CONCEPTS = {
    "mood": {"question": "what", "labels": {"calm": ["one"], "alarm": ["two", "named/big dog"]}},
    "nothing": {"question": "what", "labels": {"a": ["none"], "b": ["one"]}},
}


def test_concepts_are_asked_about_the_clips_that_are_there(folder, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(folder / name)
    (tmp_path / "data" / "named").mkdir()
    (tmp_path / "data" / "named" / "Big_Dog.wav").write_bytes((folder / "three" / "a-0.wav").read_bytes())
    notes: list[str] = []
    concepts = Concepts.model_validate({"concepts": CONCEPTS}, strict=False)
    made = dict(concepts.jobs(tmp_path / "data", ModelNames(), note=notes.append))
    assert list(made) == ["mood"]
    manifest = made["mood"].manifest
    assert (manifest.shots, manifest.ways, len(manifest.episodes), manifest.data) == ((0,), 2, 17, "mood")
    assert {clip.group for clip in manifest.clips} == {"one", "two", "named/big dog"}
    assert any("nothing: left out" in line for line in notes)
    assert clips_of(tmp_path / "data", "named/no such") == []


def test_every_class_counts_the_same():
    def answer(system, number, group, right):
        return Answer(system=system, shots=0, episode=number, file=f"{number}", group=group, truth="a",
                      answer="a" if right else "b", scores={"a": 1.0, "b": 0.0}, probabilities=True)  # fmt: skip

    rights = [("x", True), ("x", True), ("x", True), ("y", False)]
    answers = [answer(PRODUCT, n, group, right) for n, (group, right) in enumerate(rights)]
    answers += [answer("other", n, group, False) for n, (group, _) in enumerate(rights)]
    found = summarise("s", "lm", {"c": answers}, {"c": 0.5})
    assert found.accuracy[PRODUCT].value == 0.5
    assert found.gain["other"].value == pytest.approx(0.75, abs=0.26)
    assert found.by_concept == {"c": {PRODUCT: 0.5, "other": 0.0}}
    with pytest.raises(UsageError, match="none of its concepts"):
        summarise("s", "lm", {}, {})
