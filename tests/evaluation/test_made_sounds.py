"""Text to sound, measured: halves that share nothing, rows against a judge, and the suite as a shell runs it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from tests.cli.conftest import uniaudio, world
from tests.evaluation.folders import clip_folder
from tests.kits import make_kit, speech_task
from uniaudio_cli.audio.features import texture
from uniaudio_cli.cli import eval_recordings
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.data.episodes import load_items
from uniaudio_cli.evaluation.judges import Tagged
from uniaudio_cli.evaluation.made_sounds import COPY, PRODUCT, RANDOM, REAL, SoundTest, copied

__all__ = ["uniaudio", "world"]


def judge(wav: Tensor) -> Tagged:
    """Texture in the place of YAMNet's embedding."""
    found = texture(wav, 16_000).astype(float)
    levels = np.exp(found[:20] - found[:20].max())
    return Tagged(np.stack([found, found + 0.01]), levels / levels.sum())


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def test(clips):
    return SoundTest(make_kit(), speech_task(levels=(0, 1)), load_items(clips), judge, draws=2)


def test_what_is_shown_never_judges(test):
    shown, judges = test.halves
    assert not {item.path for item in shown} & {item.path for item in judges}
    assert {item.label for item in shown} == {item.label for item in judges} == set(test.labels)
    assert sum(map(len, test.references.values())) == len(judges) == 12
    given = {each.audio for each in test.speaker(0).demonstrations}
    assert given <= {item.path for item in shown}
    assert len(given) == 3 * test.task.shots


def test_rows_are_resumed_and_judged(test, tmp_path, monkeypatch):
    with JsonlLog(tmp_path / "log.jsonl", {}) as log:
        rows = list(test.run(log))
    assert [(row["draw"], row["label"]) for row in rows] == [(n, label) for n in (0, 1) for label in test.labels]
    monkeypatch.setattr(SoundTest, "speaker", lambda *_: pytest.fail("made again"))
    with JsonlLog(tmp_path / "log.jsonl", {}, resume=True) as log:
        assert list(test.run(log)) == rows
    results = test.summarise(rows, "mine", "clips", {})
    assert list(results.rows) == [REAL, COPY, PRODUCT, RANDOM]
    assert (results.clips, results.chance, results.rows[REAL].right.n) == (12, pytest.approx(1 / 3), 12)
    assert {results.rows[name].right.n for name in (COPY, PRODUCT, RANDOM)} == {6}
    # What copies its demonstration exactly has the copy's row.
    exact = [row | {"codes": row["demonstrated"]} for row in rows]
    results = test.summarise(exact, "mine", "clips", {})
    assert results.rows[PRODUCT] == results.rows[COPY]
    assert results.copied.value == 1


def test_copied_is_the_share_at_the_same_place():
    assert copied({"codes": [[1, 2, 3], [4]], "demonstrated": [[1, 9, 3, 7], [5, 5]]}) == 0.5
    assert copied({"codes": [[]], "demonstrated": [[1]]}) == 0


def test_a_label_needs_two_recordings(test):
    once = {item.label: item for item in test.items}
    with pytest.raises(UsageError, match="fewer than two labels have two recordings"):
        replace(test, items=list(once.values()))


def test_the_suite_writes_results_and_continues(uniaudio, world, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_recordings, "yamnet_judge", lambda offline, quiet: judge)
    suite = tmp_path / "mine.yaml"
    text = f"kind: text-to-sound\nname: mine\nabout: x\nlayout: audio-folder\ntask: {world.speak}\ndraws: 1\n"
    suite.write_text(text + "settings: {shots: 1, qa_examples: {}, reasoning_examples: {}, closed_vocabulary: true}\n")
    given = ("eval", "suite", suite, "--data", clips, "-o", "report", *world.models)
    done = uniaudio(*given, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert json.loads((tmp_path / "here" / "report" / "results.json").read_text()) == result
    assert (result["suite"], result["draws"], list(result["rows"])) == ("mine", 1, [REAL, COPY, PRODUCT, RANDOM])
    again = uniaudio(*given)
    assert "chance 33.3 %; 12 real clips judge" in again.out
    suite.write_text(text + "settings: {shots: 2, closed_vocabulary: true}\n")
    uniaudio(*given).is_error(2, "was made with other settings")
    suite.write_text(text.replace(str(world.speak), str(world.listen)))
    uniaudio(*given, "--force").is_error(2, "listen")
