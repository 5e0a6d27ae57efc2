"""Several reports pooled: every episode counts the same, groups stay those of their report."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import uniaudio, world
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.evaluation.manifest import Clip, Manifest, PlannedEpisode
from uniaudio_cli.evaluation.pool import pool
from uniaudio_cli.evaluation.results import Answer
from uniaudio_cli.evaluation.runner import EPISODES, RESULTS
from uniaudio_cli.evaluation.summary import summarise

__all__ = ["uniaudio", "world"]

LABELS = ("dog", "rain")


def report(folder, right: dict[str, list[bool]], groups=3, shots=(1,), ways=2):
    """A report folder of one dog's clip an episode; `right`: system -> whether it answers each episode right."""
    count = len(next(iter(right.values())))
    clips = tuple(Clip(file=f"{n}", label="dog", group=f"{n % groups}", content=f"{n}") for n in range(count))
    episodes = tuple(PlannedEpisode(query=n, labels=LABELS, demonstrations=()) for n in range(count))
    manifest = Manifest(data=folder.name, half="all", rule="any", seed=0, ways=ways, shots=shots, clips=clips,
                        episodes=episodes)  # fmt: skip
    answers = [
        Answer(system=system, shots=shot, episode=n, file=f"{n}", group=f"{n % groups}", truth="dog",
               answer="dog" if each else "rain", scores={"dog": 1.0, "rain": 0.0}, probabilities=False)
        for shot in shots for system, some in right.items() for n, each in enumerate(some)
    ]  # fmt: skip
    found = summarise(manifest, answers, ("uniaudio",), settings={}, versions={}, models={}, skipped={})
    folder.mkdir()
    found.write(folder / RESULTS)
    lines = [json.dumps({"settings": {}}), *(each.model_dump_json() for each in answers)]
    (folder / EPISODES).write_text("\n".join(lines) + "\n")
    return folder


def test_every_episode_counts_the_same_and_groups_stay_apart(tmp_path):
    first = report(
        tmp_path / "a", {"uniaudio": [True] * 6, "counts": [False] * 6, "only here": [True] * 6}, shots=(1, 3)
    )
    second = report(tmp_path / "b", {"uniaudio": [False, False], "counts": [False, True]}, groups=2)
    (cell,) = pool([first, second]).cells
    assert (cell.shots, cell.episodes) == (1, 8)
    assert set(cell.systems) == {"uniaudio", "counts"}
    ours = cell.systems["uniaudio"]
    assert (ours.value, ours.n, ours.clusters) == (6 / 8, 8, 5)
    (gain,) = cell.differences
    assert (gain.system, gain.reference, gain.accuracy.value) == ("uniaudio", "counts", (6 - 1) / 8)
    assert gain.accuracy.low < gain.accuracy.value < gain.accuracy.high


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], "two or more"),
        ([{"right": {"uniaudio": [True]}, "ways": 3}], "differ in their number of labels: 2, 3"),
        ([{"right": {"uniaudio": [True]}, "shots": (5,)}], "no number of shots in common"),
        ([{"right": {"counts": [True]}}], "not every report has the row uniaudio"),
    ],
)
def test_what_cannot_be_pooled_is_refused(tmp_path, others, words):
    first = report(tmp_path / "a", {"uniaudio": [True, False]})
    with pytest.raises(UsageError, match=words):
        pool([first, *(report(tmp_path / f"b{place}", **each) for place, each in enumerate(others))])


def test_groups_of_one_data_stay_one(tmp_path):
    """Two draws of episodes from one folder resample its groups, not its draws."""
    (tmp_path / "other").mkdir()
    first = report(tmp_path / "a", {"uniaudio": [True] * 6})
    second = report(tmp_path / "other" / "a", {"uniaudio": [True] * 5})
    (cell,) = pool([first, second]).cells
    assert (cell.episodes, cell.systems["uniaudio"].clusters) == (11, 0)
    assert first.name == second.name


def test_a_report_is_pooled_once(tmp_path):
    first = report(tmp_path / "a", {"uniaudio": [True, False]})
    with pytest.raises(UsageError, match="a: its episodes are pooled already"):
        pool([first, first])


def test_the_command_prints_a_table_or_json(tmp_path, uniaudio):
    folders = [report(tmp_path / name, {"uniaudio": [True] * 3, "counts": [False] * 3}) for name in ("a", "b")]
    table = uniaudio("eval", "pool", *folders)
    assert table.code == 0, table.err
    assert "+100.0" in table.out
    assert "counts" in table.out
    found = json.loads(uniaudio("eval", "pool", *folders, "--json").out)
    assert found["cells"][0]["episodes"] == 6
    other = json.loads(uniaudio("eval", "pool", *folders, "--row", "counts", "--json").out)["cells"][0]["differences"]
    assert [(each["system"], each["reference"], each["accuracy"]["value"]) for each in other] == [
        ("counts", "uniaudio", -1.0)
    ]
    uniaudio("eval", "pool", *folders, "--row", "x").is_error(2, "the row x; shared are uniaudio, counts")
    uniaudio("eval", "pool", folders[0]).is_error(2, "two or more")
