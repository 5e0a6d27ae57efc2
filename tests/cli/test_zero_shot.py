"""`classify` without demonstrations and `eval --zero-shot`, with a made tagger and the small world's LLM."""

import json
from pathlib import Path

import numpy as np
import pytest

from uniaudio_cli.core.errors import MissingWeightsError

CLASSES = ["Dog", "Rain", "Siren", "Wind"]


class MadeTagger:
    """Posteriors drawn by the clip's samples."""

    class_names = CLASSES

    def __init__(self, folder):
        pass

    def posterior(self, wav):
        draw = np.random.default_rng(int(1e6 * np.abs(wav).mean()))
        return draw.dirichlet(np.ones(4)).astype(np.float32)


def only_yamnet(name, *_, **__):
    if name != "yamnet":
        raise MissingWeightsError(f"{name}: not here")
    return Path("made")


@pytest.fixture
def by_name(world, uniaudio, monkeypatch):
    """`uniaudio COMMAND` with the small world's LLM and a made tagger."""
    monkeypatch.setattr("uniaudio_cli.codec.frozen.levels.YAMNet", MadeTagger)
    monkeypatch.setattr("uniaudio_cli.codec.frozen.levels._check", lambda path, digest: None)
    monkeypatch.setattr("uniaudio_cli.inference.names.background", lambda: np.full(4, 0.1))
    monkeypatch.setattr("uniaudio_cli.models.registry.resolve_teacher", only_yamnet)
    return lambda command, *more: uniaudio(command, *more, "--lm", world.lm)


def test_labels_by_name_in_every_form(world, by_name, tmp_path):
    done = by_name("classify", world.queries, "--labels", "dog bark,rain", "--quiet")
    assert (done.code, done.err, len(done.rows)) == (0, "", 6)
    for row in done.rows:
        assert list(row) == ["file", "label", "scores", "margin", "seconds"]
        assert set(row["scores"]) == {"dog bark", "rain"}
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
    by_name("classify", world.queries, "--labels", "dog bark,rain", "-o", tmp_path / "x.json")
    stored = json.loads((tmp_path / "x.json").read_text())
    assert [row["scores"] for row in stored] == [row["scores"] for row in done.rows]


def test_a_stopped_run_continues(world, by_name, tmp_path):
    log = tmp_path / "labels.jsonl"
    flags = ("--labels", "dog,rain,wind", "-o", log)
    assert by_name("classify", world.queries, *flags).code == 0
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:4]) + "\n")
    done = by_name("classify", world.queries, *flags, "--resume")
    assert (done.code, "3 of 6 clips are done" in done.err) == (0, True)
    scores = [[json.loads(line)["scores"] for line in each[1:]] for each in (lines, log.read_text().splitlines())]
    assert scores[0] == scores[1]


def test_a_bad_clip_is_one_row(world, by_name):
    Path("bad.wav").touch()
    done = by_name("classify", "bad.wav", world.queries / "a" / "0.wav", "--labels", "dog,rain")
    assert (done.code, len(done.labelled), "bad.wav" in done.rows[0]["error"]) == (3, 1, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("--demos", "--labels")),
        (("--labels", "rain"), ("two or more labels",)),
        (("--labels", "dog,rain", "--shots", "2"), ("--shots", "--demos")),
        (("--labels", "dog,rain", "--readout", "label"), ("--readout", "--demos")),
        (("--labels", "dog,rain", "--dry-run"), ("--dry-run", "--demos")),
        (("--labels", "dog,rain", "--descriptions", "no.yaml"), ("no.yaml", "cannot be read")),
        (("--labels", "dog,rain", "--resume"), ("--resume", "--output")),
    ],
)
def test_what_cannot_work_is_one_line(world, by_name, flags, words):
    by_name("classify", world.queries, *flags).is_error(2, *words)


def test_descriptions_stand_for_labels(world, by_name):
    Path("d.yaml").write_text("class1: a dog barks\nclass2: heavy rain\n")
    Path("d.csv").write_text("label,description\nclass1,a dog barks\nclass2,heavy rain\n")
    rows = [by_name("classify", world.queries, "--descriptions", name, "--quiet").rows for name in ("d.yaml", "d.csv")]
    assert [row["scores"] for row in rows[0]] == [row["scores"] for row in rows[1]]
    shown = by_name("classify", world.queries, "--descriptions", "d.yaml", "--show-prompt").out
    assert " a dog barks" in shown
    assert "class1" not in shown
    done = by_name("classify", world.queries, "--descriptions", "d.yaml", "--labels", "class1,rain")
    done.is_error(2, "class2", "--labels")
    done = by_name("classify", world.queries, "--descriptions", "d.yaml", "--demos", world.labels)
    done.is_error(2, "--descriptions", "--demos")
    Path("bad.yaml").write_text("- 1\n")
    by_name("classify", world.queries, "--descriptions", "bad.yaml").is_error(2, "bad.yaml")


def test_labels_that_name_nothing_get_a_warning(world, by_name):
    done = by_name("classify", world.queries, "--labels", "class1,spk_03,rain")
    assert done.code == 0
    assert any(line.startswith("warning: ") and "class1, spk_03" in line for line in done.err.splitlines())
    assert "warning" not in by_name("classify", world.queries, "--labels", "dog,rain").err


def test_evaluation_without_demonstrations(world, by_name, tmp_path):
    report = tmp_path / "report"
    done = by_name("eval", world.labels, "--zero-shot", "--ways", "2", "--episodes", "12", "-o", report, "--json")
    assert done.code == 0, done.err
    results = json.loads((report / "results.json").read_text())
    (cell,) = results["cells"]
    assert (cell["ways"], cell["shots"], cell["chance"]) == (2, 0, 0.5)
    assert {"uniaudio", "names, word overlap"} <= set(cell["systems"])
    assert cell["systems"]["uniaudio"]["accuracy"]["n"] == 12
    again = by_name("eval", "replay", report / "manifest.json", world.labels, "--json")
    assert json.loads(again.out)["cells"][0]["systems"]["uniaudio"] == cell["systems"]["uniaudio"]


def test_a_random_llm_is_a_control(world, by_name):
    done = by_name("eval", world.labels, "--zero-shot", "--episodes", "6", "--controls", "all", "--json")
    systems = json.loads(done.out)["cells"][0]["systems"]
    assert "names, random LLM" in systems
