"""Public models as rows: tiny random models of the same classes, saved with a processor made here, and a real run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.conftest import uniaudio, world
from tests.evaluation.folders import clip_folder
from tests.small_lms import RuleLM, noise_rule
from tests.small_tokenizers import byte_bpe, byte_bpe_object
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.data.episodes import Episode, load_items
from uniaudio_cli.evaluation import audio_llm, baselines, cascade, clap
from uniaudio_cli.evaluation.job import ModelNames
from uniaudio_cli.evaluation.peers import Peer, parse_peers, peer_rows
from uniaudio_cli.evaluation.systems import Setup
from uniaudio_cli.prompting.task import load_task

__all__ = ["uniaudio", "world"]

NAMES = ModelNames(device="cpu", dtype="float32", offline=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clips"), takes=2)


@pytest.fixture(scope="module")
def episode(clips) -> Episode:
    items = load_items(clips)
    shown = [next(item for item in items if item.label == label) for label in ("one", "three", "two")]
    return Episode(("one", "three", "two"), tuple(shown), items[-1])


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory) -> Path:
    """A ClapModel of a few thousand weights, with a processor."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    folder, tokenizer = tmp_path_factory.mktemp("models") / "tiny-clap", byte_bpe_object()
    tokenizer.pad_token = tokenizer.eos_token
    audio = {"num_mel_bins": 64, "spec_size": 256, "patch_size": 4, "patch_embeds_hidden_size": 16, "hidden_size": 32,
             "depths": [1, 1], "num_attention_heads": [2, 2], "window_size": 4, "num_classes": 3}  # fmt: skip
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32}  # fmt: skip
    torch.manual_seed(0)
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16)).save_pretrained(folder)
    ClapProcessor(ClapFeatureExtractor(truncation="rand_trunc"), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen_folder(tmp_path_factory) -> Path:
    """A Qwen2AudioForConditionalGeneration of a few thousand weights, with a processor."""
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    folder, tokenizer = tmp_path_factory.mktemp("models") / "tiny-qwen", byte_bpe_object()
    marks = ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    audio = {"num_mel_bins": 128, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
             "d_model": 16}  # fmt: skip
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "model_type": "qwen2"}  # fmt: skip
    mark = tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    config = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=mark)
    torch.manual_seed(0)
    model = Qwen2AudioForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(std=0.3)
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=128)
    Qwen2AudioProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def setup_of(episode: Episode) -> Setup:
    items = [*episode.demonstrations, episode.query]
    return Setup(lambda: pytest.fail("the product is not needed"), load_task("sound-event"), items, offline=True)


def test_clap_labels_by_text_and_by_demonstrations(clap_folder, episode):
    setup = setup_of(episode)
    rows = peer_rows(parse_peers(f"clap={clap_folder}"), NAMES)
    by_text, by_shown = (row.build(setup) for row in rows)
    assert [row.name for row in rows] == [by_text.name, by_shown.name]
    assert by_text.name == "CLAP (tiny-clap), labels by text"
    assert isinstance(by_text, clap.ByText)
    embedder = by_text.embedder
    found = by_text.predict(episode)
    assert sum(found.values()) == pytest.approx(1)
    # Against the model's own pass over audio and texts.
    model, processor = embedder._parts
    from uniaudio_cli.audio.io import read_wav

    wav = read_wav(episode.query.path, 48_000)[0].numpy()
    texts = [clap.SENTENCE.format(label=label) for label in episode.labels]
    inputs = processor(text=texts, audio=wav, sampling_rate=48_000, return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = model(**inputs).logits_per_audio.softmax(dim=-1)[0].tolist()
    assert [found[label] for label in episode.labels] == pytest.approx(expected, abs=1e-4)
    # The query shown under one label alone is what the regression finds.
    same = Episode(episode.labels, (*episode.demonstrations[:2], episode.query), episode.query)
    scores = by_shown.predict(same)
    assert max(scores, key=lambda label: scores[label]) == episode.query.label
    assert by_text.identity["model"] == "tiny-clap"


def test_clap_reads_long_clips_in_pieces(clap_folder, tmp_path, episode):
    import soundfile

    wav = np.random.default_rng(0).uniform(-0.5, 0.5, 12 * 16_000).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", wav, 16_000)
    embedder = clap.Embedder(clap_folder, "cpu")
    vector = embedder.clip(tmp_path / "long.wav")
    assert np.linalg.norm(vector) == pytest.approx(1)
    again = clap.Embedder(clap_folder, "cpu").clip(tmp_path / "long.wav")
    assert vector.tolist() == again.tolist()


def test_an_audio_llm_chooses_a_label(qwen_folder, episode):
    (row,) = peer_rows(parse_peers(f"qwen2-audio={qwen_folder}"), NAMES)
    system = row.build(setup_of(episode))
    assert isinstance(system, audio_llm.AudioLLM)
    assert system.name == row.name == "Qwen2-Audio (tiny-qwen), zero-shot"
    found = system.predict(episode)
    assert sum(found.values()) == pytest.approx(1)
    # Label by label, without the state that is kept.
    model, processor = system._parts
    from uniaudio_cli.audio.io import read_wav

    wav = read_wav(episode.query.path, 16_000)[0].numpy()
    question = audio_llm.QUESTION.format(labels=", ".join(episode.labels))
    turns = [{"role": "user", "content": [{"type": "audio", "audio": ""}, {"type": "text", "text": question}]}]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert prompt.count("<|AUDIO|>") == 1
    expected = []
    for label in episode.labels:
        whole = processor(text=[f"{prompt}{label}<|im_end|>"], audio=[wav], sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            logp = model(**whole).logits[0].log_softmax(dim=-1)
        ids = processor.tokenizer(f"{label}<|im_end|>", add_special_tokens=False).input_ids
        expected.append(sum(float(logp[-len(ids) - 1 + place, id]) for place, id in enumerate(ids)))
    assert system.logprobs(episode.query.path, episode.labels).tolist() == pytest.approx(expected, abs=1e-3)
    assert len(set(expected)) == 3
    assert system.identity["runtime"].endswith("float32")


def test_a_cascade_labels_transcripts(episode, monkeypatch):
    monkeypatch.setattr(baselines, "require_modules", lambda *_: None)
    said = iter(["query", "first", "second", "third", ""])
    lm = RuleLM(noise_rule(byte_bpe().size))

    class Models:
        def text_model(self):
            return lm, byte_bpe()

    setup = setup_of(episode)
    monkeypatch.setattr(Setup, "models", Models())
    system = cascade.Cascade("cascade", setup, Peer("cascade", "whisper-base"), Path("nowhere"))

    monkeypatch.setattr(cascade.Cascade, "_transcriber", lambda self, wav: next(said))
    found = system.predict(episode)
    assert sum(found.values()) == pytest.approx(1)
    (context,) = lm.contexts[:1]
    text = byte_bpe().decode(context)
    assert text == (
        "Each transcript of a recording has one label of: one, three, two\n"
        "Transcript: first\nLabel: one\nTranscript: second\nLabel: three\nTranscript: third\nLabel: two\n"
    )
    scored = [byte_bpe().decode(ids) for ids in lm.scored]
    assert scored == [f"{text}Transcript: query\nLabel: {label}\n" for label in episode.labels]
    system.predict(episode)
    assert lm.contexts.count(context) == 1
    assert system.transcript(episode.query.path) == "query"
    system.transcripts.clear()
    assert system.transcript(episode.query.path) == cascade.NO_SPEECH
    assert system.identity["recogniser"] == "whisper-base"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clop", r"there is no 'clop' \(did you mean 'clap'\?\); choose clap, cascade, qwen2-audio"),
        ("clap,clap", "names clap twice"),
        ("clap=nowhere", "clap=nowhere: no folder with a config.json"),
        ("cascade=nowhere", "no folder with a model.bin"),
        ("", "there is no ''"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(UsageError, match=words):
        parse_peers(text)


def test_without_demonstrations_there_is_no_regression():
    peers = parse_peers("clap,cascade,qwen2-audio")
    assert [row.name for row in peer_rows(peers, NAMES, by_name=True)] == [
        "CLAP, labels by text", "Whisper + LLM cascade", "Qwen2-Audio, zero-shot"
    ]  # fmt: skip
    assert len(peer_rows(peers, NAMES)) == 4
    assert parse_peers(None) == ()


def test_missing_weights_say_the_way_out(episode, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    for row in peer_rows(parse_peers("clap,qwen2-audio"), NAMES):
        with pytest.raises(MissingWeightsError, match="=FOLDER takes a copy"):
            row.build(setup_of(episode))


@pytest.mark.slow
def test_rows_in_a_report(uniaudio, world, clips, clap_folder, qwen_folder, monkeypatch):
    monkeypatch.setattr(baselines, "ROWS", baselines.ROWS[:1])  # the others need weights
    flags = ("-q", "--shots", 1, "--task", world.listen, *world.models, "-o", "report", "--json")
    weights = f"clap={clap_folder},qwen2-audio={qwen_folder}"
    done = uniaudio("eval", clips, *flags, "--peers", weights)
    assert done.code == 0, done.err
    results = json.loads(done.out)
    assert list(results["cells"][0]["systems"])[-3:] == [
        "CLAP (tiny-clap), labels by text",
        "CLAP (tiny-clap) + logistic regression",
        "Qwen2-Audio (tiny-qwen), zero-shot",
    ]
    assert "tiny-qwen" in results["models"]["Qwen2-Audio (tiny-qwen), zero-shot"]["model"]
    # Rows are added to a report that is there, and left out again.
    assert uniaudio("eval", clips, *flags).code == 0
    uniaudio("eval", clips, *flags, "--peers", "clap").is_error(4, "--peers clap: laion/clap-htsat-unfused", "=FOLDER")
    uniaudio("eval", clips, *flags, "--peers", "clip").is_error(2, "there is no 'clip'")
