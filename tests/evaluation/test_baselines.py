import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import uniaudio_cli
from tests.factories import chirps, small_codec
from tests.small_tokenizers import STEMS, byte_bpe
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import episodes, load_items
from uniaudio_cli.evaluation.baselines import NEAREST, NGRAM, Evaluation, RememberingKit, evaluate
from uniaudio_cli.inference.pipeline import Kit
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.task import load_task, override_task
from uniaudio_cli.prompting.vocabulary import Vocabulary

WORDS = (tuple(STEMS[:4]), tuple(STEMS[4:9]), tuple(STEMS[9:14]))
SIZES = (4, 5, 5)
LABELS = ("one", "two", "three")
TASK = override_task(load_task("spoken-digit"), levels=(0, 1))


class Counting:
    """A codec that counts the clips it encodes."""

    def __init__(self, codec):
        self.codec, self.encoded = codec, 0

    def __getattr__(self, name):
        return getattr(self.codec, name)

    def encode_soft(self, wav):
        self.encoded += 1
        return self.codec.encode_soft(wav)


@pytest.fixture(scope="module")
def parts() -> tuple:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_bpe()
    codec = small_codec(words=WORDS, sizes=SIZES)
    config = LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2_048,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lm = LanguageModel(LlamaForCausalLM(config), "tiny")
    return codec, lm, Vocabulary(WORDS, SIZES, (4, 2, 1), tokenizer)


@pytest.fixture
def kit(parts) -> Kit:
    codec, lm, vocabulary = parts
    return Kit(Counting(codec), lm, vocabulary)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three labels of two speakers, four takes each."""
    folder = tmp_path_factory.mktemp("clips")
    for number, label in enumerate(LABELS):
        for speaker in range(2):
            for take in range(4):
                (folder / label).mkdir(exist_ok=True)
                wav = chirps(8_000, 100 * number + 10 * speaker + take)[0]
                write_wav(folder / label / f"{'ab'[speaker]}-{take}.wav", wav, 16_000)
    return folder


@pytest.fixture
def asked(folder) -> list:
    return list(episodes(load_items(folder, "/(?P<group>.)"), 2, 2, 12, 0, "same"))


def test_every_method_answers_every_episode(kit, asked):
    done: list[int] = []
    found = evaluate(kit, TASK, asked, progress=done.append)
    assert found.methods == ("likelihood", "label", NEAREST, NGRAM)
    assert found.truth == tuple(episode.query.label for episode in asked)
    for method in found.methods:
        assert len(found.guesses[method]) == 12
        assert all(guess in episode.labels for guess, episode in zip(found.guesses[method], asked, strict=True))
    assert done == list(range(1, 13))


def test_a_clip_is_encoded_once(kit, asked):
    remembering = RememberingKit.of(kit)
    evaluate(remembering, TASK, asked)
    clips = {item.path for episode in asked for item in (*episode.demonstrations, episode.query)}
    assert kit.codec.encoded == len(clips) * len(TASK.clip.time_offsets_ms)
    evaluate(remembering, override_task(TASK, levels=(0,)), asked, ())
    assert kit.codec.encoded == len(clips) * len(TASK.clip.time_offsets_ms)


def test_the_answers_are_the_pipelines_own(kit, asked):
    found = evaluate(kit, TASK, asked[:4], ("likelihood",))
    expected = []
    for episode in asked[:4]:
        shown = [Demonstration(item.path, item.label) for item in episode.demonstrations]
        expected.append(kit.session(TASK, shown)(episode.query.path).label)
    assert found.guesses["likelihood"] == tuple(expected)


def test_the_rules_need_no_llm_and_find_a_copy(kit, folder, tmp_path):
    """A query that is one of the demonstrations under another name: both rules see that."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for label, take in (("one", 0), ("two", 1)):
        for copy in "xy":
            (tmp_path / label / f"{copy}.wav").write_bytes((folder / label / f"a-{take}.wav").read_bytes())
    deaf = Kit(kit.codec, None, kit.vocabulary)  # type: ignore[arg-type]
    found = evaluate(deaf, TASK, episodes(load_items(tmp_path), 2, 1, 8), ())
    assert found.methods == (NEAREST, NGRAM)
    assert found.correct(NEAREST).all()
    assert found.correct(NGRAM).all()
    assert kit.codec.encoded == 2 * len(TASK.clip.time_offsets_ms)  # the copies are the same sound


def test_evaluation_is_seeded(kit, asked):
    assert evaluate(kit, TASK, asked, (), seed=3) == evaluate(kit, TASK, iter(asked), (), seed=3)


def test_results_in_numbers():
    found = Evaluation(("a", "b", "a", "a"), {"label": ("a", "b", "b", "b"), NEAREST: ("a", "a", "a", "b")})
    assert found.correct("label").tolist() == [True, True, False, False]
    assert found.correct("label").dtype == np.bool_
    assert found.accuracy("label").value == 0.5
    gain = found.gain("label")
    assert (gain.value, gain.n) == (0.0, 4)
    assert gain.low == pytest.approx(-gain.high)


def test_an_unreadable_clip_is_named(kit, asked, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    broken = dataclasses.replace(asked[0], query=dataclasses.replace(asked[0].query, path=tmp_path / "bad.wav"))
    with pytest.raises(UniAudioError, match=r"bad\.wav"):
        evaluate(kit, TASK, [broken])


def test_audio_ids(parts):
    _, _, vocabulary = parts
    one, both = vocabulary.audio_ids((0,)), vocabulary.audio_ids((0, 1))
    assert (len(one), len(both)) == (4, 9)
    assert both == sorted({*one, *vocabulary.audio_ids((1,))})


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    """benchmarks/episodes.py, which is a script and in no package."""
    file = Path(__file__).parents[2] / "benchmarks" / "episodes.py"
    spec = importlib.util.spec_from_file_location("episodes_benchmark", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # its dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


def test_the_benchmark_prints_a_table(benchmark, kit, monkeypatch, tmp_path, capsys):
    for digit in range(5):
        for voice, speaker in enumerate(("ann", "ben")):
            for take in range(6):
                wav = chirps(4_000, 100 * digit + 10 * take + voice)[0]
                write_wav(tmp_path / "data" / f"{digit}_{speaker}_{take}.wav", wav, 16_000)
    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: kit, raising=False)
    flags = ["--data", str(tmp_path / "data"), "--half", "all", "--episodes", "5", "--json", str(tmp_path / "out.json")]
    assert benchmark.main(flags) == 0
    printed = capsys.readouterr()
    rows = [line for line in printed.out.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 3 * 5
    assert all("(n=5)" in row or "chance" in row for row in rows)
    assert "seed 0" in printed.out.splitlines()[0]
    assert "5 of 5" in printed.err
    written = json.loads((tmp_path / "out.json").read_text())
    assert benchmark.table(written) == printed.out.strip()
    assert [len(row["methods"]["label"]["guesses"]) for row in written["rows"]] == [5, 5, 5]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give --data FOLDER, or set"),
        (["--data", "not/here"], "not/here: no such data"),
        (["--data", "."], "5-way 1-shot episodes take 5 labels, and there are 3"),
        (["--data", ".", "--group", "("], "is not a regular expression"),
    ],
)
def test_the_benchmark_without_data(benchmark, folder, monkeypatch, capsys, flags, message):
    monkeypatch.delenv("UNIAUDIO_TEST_DATA", raising=False)
    monkeypatch.chdir(folder)
    assert benchmark.main(flags) == UsageError.exit_code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"error: .*{re.escape(message)}.*\n", printed.err)
