"""Systems run on a manifest: logged, resumed, summarised, compared."""

from __future__ import annotations

import json

import pytest

from tests.evaluation.folders import clip_folder
from tests.kits import make_kit
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.evaluation import baselines, compare, in_context, report, runner, systems
from uniaudio_cli.evaluation.job import Job, ModelNames, evaluate
from uniaudio_cli.evaluation.manifest import Selection, plan
from uniaudio_cli.evaluation.results import read_results
from uniaudio_cli.evaluation.summary import summarise
from uniaudio_cli.evaluation.systems import COUNTS, NEAREST, PRODUCT, Row, Setup, build_systems
from uniaudio_cli.prompting.task import load_task, override_task

OFFLINE = ModelNames(offline=True)
TASK = override_task(load_task("emotion"), levels=(0, 1), readout="likelihood")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def manifest(folder):
    return plan(Selection(folder, group_regex="/(?P<group>.)"), ways=2, shots=(1, 2), count=4)


@pytest.fixture
def setup(manifest, folder, monkeypatch, tmp_path):
    """The product's rows and the nearest demonstration: the peers need weights, and none are here."""
    monkeypatch.setenv("UNIAUDIO_HOME", str(tmp_path / "home"))
    nearest = tuple(row for row in baselines.ROWS if row.name == NEAREST)
    monkeypatch.setattr(baselines, "ROWS", nearest)
    return Setup(make_kit, TASK, manifest.items(folder), offline=True)


class Constant:
    """A system that gives every episode the same scores."""

    name = "constant"
    probabilities = False

    def __init__(self, fail_at: int = -1) -> None:
        self.calls, self.fail_at, self.identity = 0, fail_at, {}  # type: ignore[var-annotated]

    def predict(self, episode):
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.calls += 1
        return {label: float(label == episode.query.label) for label in episode.labels}


def test_every_row_answers_every_episode(setup, manifest, folder):
    results = evaluate(Job(manifest, folder, TASK, OFFLINE, "all"), load=make_kit)
    names = [PRODUCT, COUNTS, "LLM alone", "uniaudio, random LLM", "random LLM alone", NEAREST]
    assert [(cell.shots, list(cell.systems)) for cell in results.cells] == [(1, names), (2, names)]
    for cell in results.cells:
        assert (cell.ways, cell.chance) == (2, 0.5)
        for each in cell.systems.values():
            assert each.accuracy.n == 4
            assert sum(count.n for count in each.per_class.values()) == 4
            assert sum(sum(row.values()) for row in each.confusion.values()) == 4
            assert sum(count for _, count in each.by_group.values()) == 4
        assert {each.reference for each in cell.differences} == {PRODUCT, COUNTS, NEAREST}
    assert results.models[PRODUCT]["lm"] == "tiny"
    assert results.models["random LLM alone"]["lm"] == "tiny, random weights"
    assert "| chance | 50.0 % |" in report.markdown(results)


def test_rows_of_names(manifest, folder, setup):
    """A task whose labels' names count: what takes the LLM's place in scoring them, and the LLM in context."""
    task = override_task(TASK, readout="similarity", levels=["sounds"], label_names=True)
    results = evaluate(Job(manifest, folder, task, OFFLINE, "all"), load=make_kit)
    assert list(results.cells[0].systems) == [
        PRODUCT,
        COUNTS,
        "uniaudio, random LLM",
        "uniaudio, names by word overlap",
        "uniaudio, permuted names",
        NEAREST,
    ]
    assert results.models["uniaudio, random LLM"]["names"] == "random weights"
    assert "uniaudio, names by MiniLM" in results.skipped


def test_rows_of_in_context_learning(manifest, folder, setup):
    task = override_task(TASK, readout="similarity", levels=["sounds"], label_names=True)
    results = evaluate(Job(manifest, folder, task, OFFLINE, "context"), load=make_kit)
    expected = [PRODUCT, COUNTS, *(row.name for row in in_context.ROWS)]
    assert list(results.cells[0].systems) == expected


def test_fast_controls_make_no_random_llm(setup):
    built, skipped = build_systems(setup, "fast")
    assert [each.name for each in built] == [PRODUCT, COUNTS, NEAREST]
    assert not skipped


def test_the_product_row_is_the_products_own_answer(setup, manifest, folder):
    here = runner.Here(manifest, folder, build_systems(setup, "fast")[0][:1])
    answers = runner.run(manifest, here, runner.JsonlLog(None))
    kit = make_kit()
    for answer, episode in zip(answers, manifest.episodes_in(folder, 1), strict=False):
        shown = [Demonstration(item.path, item.label) for item in episode.demonstrations]
        expected = kit.classifier(shown, TASK).classify_batch([episode.query.path])[0].scores
        assert answer.scores == pytest.approx(dict(expected), abs=1e-5)


def test_a_clip_is_encoded_once(setup, manifest, folder, monkeypatch):
    encoder = setup.models.encoder
    read = []
    monkeypatch.setattr(
        encoder, "read", lambda source, *rest, read=encoder.read, **named: calls(source) or read(source, *rest, **named)
    )

    def calls(source):
        read.append(source)

    runner.run(manifest, runner.Here(manifest, folder, build_systems(setup, "all")[0]), runner.JsonlLog(None))
    used = {each.path for n in manifest.shots for one in manifest.episodes_in(folder, n) for each in one.demonstrations}
    assert set(read) >= used
    assert len(read) == len(set(read))


def test_a_row_without_its_weights_is_left_out(setup, monkeypatch):
    def missing(setup):
        raise MissingWeightsError("its files are not here")

    def broken(setup):
        raise UniAudioError("a bug")

    monkeypatch.setattr(baselines, "ROWS", (Row("peer", "fast", missing),))
    built, skipped = build_systems(setup, "fast")
    assert skipped == {"peer": "its files are not here"}
    assert PRODUCT in [each.name for each in built]
    monkeypatch.setattr(baselines, "ROWS", (Row("peer", "fast", broken),))
    with pytest.raises(UniAudioError, match="a bug"):
        build_systems(setup, "fast")


def test_readouts_without_parts_have_no_part_rows(setup):
    setup.task = override_task(TASK, readout="label", levels=(0,))
    built, skipped = build_systems(setup, "all")
    assert [each.name for each in built] == [PRODUCT, "uniaudio, random LLM", NEAREST]
    assert {COUNTS, "LLM alone", "random LLM alone"} < set(skipped)


def test_a_readout_without_llm_has_no_llm_rows(setup):
    setup.task = override_task(TASK, readout="similarity")
    built, skipped = build_systems(setup, "all")
    assert [each.name for each in built] == [PRODUCT, NEAREST]
    assert built[0].identity["lm"] == "none"
    assert "no LLM" in skipped["uniaudio, random LLM"]


def test_a_stopped_run_goes_on(manifest, folder, tmp_path):
    whole = runner.open_log(tmp_path / "whole", {"seed": 0})
    expected = runner.run(manifest, runner.Here(manifest, folder, [Constant()]), whole)
    whole.close()
    log = runner.open_log(tmp_path / "part", {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        runner.run(manifest, runner.Here(manifest, folder, [Constant(fail_at=3)]), log)
    log.close()
    with (tmp_path / "part" / runner.EPISODES).open("a") as file:
        file.write('{"system": "consta')
    log, rest = runner.open_log(tmp_path / "part", {"seed": 0}), Constant()
    assert runner.run(manifest, runner.Here(manifest, folder, [rest]), log) == expected
    log.close()
    assert rest.calls == len(expected) - 3
    lines = [(tmp_path / name / runner.EPISODES).read_text() for name in ("whole", "part")]
    assert lines[0] == lines[1]
    with pytest.raises(UsageError, match="made with other settings"):
        runner.open_log(tmp_path / "part", {"seed": 1})


def test_two_runs_are_compared(manifest, folder, tmp_path):
    class Wrong(Constant):
        def predict(self, episode):
            return {label: -score for label, score in super().predict(episode).items()}

    for name, system in (("a", Wrong()), ("b", Constant())):
        log = runner.open_log(tmp_path / name, {})
        runner.settle_manifest(tmp_path / name, manifest)
        answers = runner.run(manifest, runner.Here(manifest, folder, [system]), log)
        log.close()
        results = summarise(manifest, answers, (), settings={"name": name}, versions={}, models={}, skipped={})
        results.write(tmp_path / name / runner.RESULTS)
        assert read_results(tmp_path / name) == results
    found = compare.compare(tmp_path / "a", tmp_path / "b")
    assert [(row.first.value, row.second.value, row.gain.value) for row in found.rows] == [(0, 1, 1), (0, 1, 1)]
    assert found.changed == {"settings.name": ("a", "b")}
    other = plan(Selection(folder, group_regex="/(?P<group>.)"), ways=2, shots=(1,), count=3)
    other.write(tmp_path / "a" / runner.MANIFEST, force=True)
    with pytest.raises(UsageError, match="hold other episodes"):
        compare.compare(tmp_path / "a", tmp_path / "b")


def test_results_of_another_schema_are_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(UsageError, match="schema version 99"):
        read_results(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_results(tmp_path / "nothing")


def test_a_folder_with_other_episodes_is_not_written_over(manifest, folder, tmp_path):
    runner.settle_manifest(tmp_path, manifest)
    runner.settle_manifest(tmp_path, manifest)
    other = plan(Selection(folder, group_regex="/(?P<group>.)"), ways=2, count=2)
    with pytest.raises(UsageError, match="of other episodes"):
        runner.settle_manifest(tmp_path, other)
    runner.settle_manifest(tmp_path, other, force=True)


def test_rows_have_names_of_their_own():
    names = [row.name for row in systems.rows()]
    assert len(names) == len(set(names))
