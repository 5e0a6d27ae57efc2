"""benchmarks/readouts.py on a small world: every method answers, and a run that was stopped ends as if it were not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import uniaudio_cli
from tests.factories import chirps
from tests.kits import make_kit
from tests.scripts import script
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import episodes, load_items
from uniaudio_cli.prompting.task import load_task


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    yield from script("readouts")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Five digits of one speaker, six takes each."""
    folder = tmp_path_factory.mktemp("data")
    for digit in range(5):
        for take in range(6):
            write_wav(folder / "fsdd" / f"{digit}_ann_{take}.wav", chirps(4_000, 10 * digit + take)[0], 16_000)
    return folder


@pytest.fixture
def run(benchmark, data, monkeypatch, capsys):
    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: make_kit(), raising=False)
    monkeypatch.setattr(benchmark, "half", lambda items, which: items)

    def main(*flags: object, sets=("digits-same",)) -> tuple[int, str, str]:
        code = benchmark.main([*sets, "--data", str(data), *map(str, flags)])
        return code, *capsys.readouterr()

    return main


def found(folder: Path, name: str = "digits-same") -> dict[int, dict[str, dict]]:
    """Episode -> cell -> what was found, of all parts together."""
    _, *rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    episodes_of: dict[int, dict[str, dict]] = {}
    for row in rows:
        for cell, what in row["found"]["cells"].items():
            whole = episodes_of.setdefault(int(row["name"].split()[1]), {}).setdefault(cell, {**what, "scores": {}})
            whole |= {"query": row["found"]["query"], "scores": whole["scores"] | what["scores"]}
    return episodes_of


def test_every_method_answers_every_cell(run, tmp_path):
    code, printed, _ = run("--out", tmp_path, "--episodes", 3, "--slow-episodes", 2)
    assert code == 0
    assert json.loads((tmp_path / "digits-same.jsonl").read_text().splitlines()[0])["seed"] == "0"
    asked = found(tmp_path)
    assert list(asked) == [0, 1, 2]
    slow = {"its LLM and cache on both levels", "its LLM alone, level 0 + 1"}
    readouts = {"likelihood (default)", "label", "calibrated", "generate", "channel"}
    for number, cells in asked.items():
        assert list(cells) == ["5-way 1-shot", "5-way 5-shot", "2-way 1-shot", "2-way 5-shot"]
        for name, cell in cells.items():
            assert len(cell["labels"]) == int(name[0]) == len(set(cell["labels"]))
            assert cell["labels"][cell["truth"]] == cell["query"][0]
            assert {len(scores) for scores in cell["scores"].values()} == {int(name[0])}
            assert {*readouts, "its LLM alone, level 0", "log-mel kNN"} <= set(cell["scores"])
            assert slow <= set(cell["scores"]) if number < 2 else not slow & set(cell["scores"])
            assert sum(cell["scores"]["generate"]) == 1
    tables = printed.split("\n\n")
    assert [line.count("(n=3)") + line.count("(n=2)") for line in printed.splitlines()].count(1) == 4 * 15
    assert printed.count("(n=2)") == 4 * 3
    assert len(tables) == 6


def test_moods_are_told_by_prosody(run, benchmark, tmp_path):
    for mood in range(5):
        for take in range(3):
            path = tmp_path / "moods" / f"mood{mood}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, chirps(4_000, 10 * mood + take)[0], 16_000)
    names = [(f"mood{mood}/{take}.wav", f"mood{mood}", f"voice{take}") for mood in range(5) for take in range(3)]
    rows = ["file_name,label,group", *map(",".join, names)]
    (tmp_path / "moods" / "metadata.csv").write_text("\n".join(rows) + "\n")
    flags = ("--data", tmp_path, "--cells", "5x1,2x1", "--episodes", 2, "--out", tmp_path / "out")
    code, printed, _ = run(*flags, sets=["moods"])
    assert code == 0
    for cells in found(tmp_path / "out", "moods").values():
        for cell in cells.values():
            methods = {"likelihood (default)", "label", "channel", "its LLM alone, prosody", "log-mel kNN"}
            assert {*methods, "nearest demonstration, prosody"} <= set(cell["scores"])
            assert not any("level" in method for method in cell["scores"])
    assert "moods, development half, seed 0" in printed


def test_the_default_is_the_products_own(run, data, benchmark, tmp_path):
    run("--out", tmp_path, "--episodes", 2, "--cells", "5x1,2x1", "--slow-episodes", 0)
    rows = found(tmp_path)
    kit, items = make_kit(), load_items(data / "fsdd")
    for number, episode in enumerate(episodes(items, 5, 1, 2, 0, "same")):
        for ways in (5, 2):
            part = benchmark.Cell(ways, 1).part(episode, number)
            shown = [Demonstration(item.path, item.label) for item in part.demonstrations]
            expected = kit.session(load_task("spoken-digit"), shown)(part.query.path).scores
            assert expected is not None
            scores = rows[number][f"{ways}-way 1-shot"]["scores"]["likelihood (default)"]
            p = torch.tensor(scores).softmax(0).tolist()
            assert p == pytest.approx([expected[label] for label in part.labels], abs=1e-3)


def test_a_run_that_was_stopped_is_gone_on_with(run, tmp_path):
    flags = ("--episodes", 3, "--cells", "5x1,2x1", "--slow-episodes", 1)
    _, expected, _ = run("--out", tmp_path / "whole", *flags)
    run("--out", tmp_path / "part", *flags[2:], "--episodes", 1)
    file = tmp_path / "part" / "digits-same.jsonl"
    with file.open("a") as out:
        out.write('{"name": "label 1", "fou')
    code, printed, _ = run("--out", tmp_path / "part", *flags)
    assert (code, printed) == (0, expected)
    assert sorted(file.read_text().splitlines()) == sorted(
        (tmp_path / "whole" / "digits-same.jsonl").read_text().splitlines()
    )
    assert run("--out", tmp_path / "part", "--report")[1] == expected
    code, _, said = run("--out", tmp_path / "part", *flags, "--seed", 1)
    assert (code, "was made with another seed" in said) == (2, True)
    code, _, said = run("--out", tmp_path / "nothing", "--report")
    assert (code, "holds no scores" in said) == (2, True)
