from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.small_lms import tiny_llama
from tests.small_tokenizers import byte_bpe_object
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError
from uniaudio_cli.llm.loading import lazy_lm, load_lm
from uniaudio_cli.llm.model import LanguageModel, Prefix

VOCAB = 96
AMONG = [90, 3, 4, 17, 60, 5, 41]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel(tiny_llama(VOCAB, context=64), "tiny")


def cold(lm, context, continuation, among=None):
    """Log-probabilities by one forward pass of the whole row, nothing padded and nothing kept."""
    logits = lm.model(torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1].double()
    if among is not None:
        outside = [id for id in range(VOCAB) if id not in among]
        logits[:, outside] = float("-inf")
    return logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None])[:, 0]


def rows(draw: random.Random, lengths, ids=range(VOCAB)) -> list[list[int]]:
    return [[draw.choice(ids) for _ in range(length)] for length in lengths]


@pytest.mark.parametrize("among", [None, AMONG])
@pytest.mark.parametrize("contexts", [(6,), (1,), (1, 9, 4), (7, 7)])
@pytest.mark.parametrize("continuations", [(1,), (5,), (1, 1, 1), (3, 1, 6, 2)])
def test_scores_are_those_of_whole_rows(lm, contexts, continuations, among):
    draw = random.Random(0)
    given, asked = rows(draw, contexts), rows(draw, continuations, among or range(VOCAB))
    found = lm.score(lm.prefill(given), asked, among)
    assert [len(row) for row in found] == [len(asked)] * len(given)
    for context, row in zip(given, found, strict=True):
        for continuation, score in zip(asked, row, strict=True):
            assert score.dtype == torch.float32
            torch.testing.assert_close(score.double(), cold(lm, context, continuation, among), atol=1e-4, rtol=0)


def test_what_was_soft_is_summed_over(lm):
    """Every place softly over all ids: the sum of what each would have scored there, by its share."""
    draw = random.Random(4)
    given, asked = rows(draw, (6, 2)), rows(draw, (3, 1), AMONG)
    soft = [torch.rand(len(row), len(AMONG)).log_softmax(1) for row in asked[:1]]
    found = lm.score(lm.prefill(given), asked, AMONG, [*soft, None])
    for context, (first, second) in zip(given, found, strict=True):
        for place in range(3):
            each = [cold(lm, [*context, *asked[0][:place]], [id], AMONG)[0] for id in AMONG]
            expected = (torch.stack(each) + soft[0][place]).logsumexp(0)
            assert float(first[place]) == pytest.approx(float(expected), abs=1e-4)
        torch.testing.assert_close(second.double(), cold(lm, context, asked[1], AMONG), atol=1e-4, rtol=0)


@pytest.mark.parametrize("at_once", [1, 30, 512])
@pytest.mark.parametrize("among", [None, AMONG])
def test_answers_after_queries(lm, monkeypatch, among, at_once):
    monkeypatch.setattr(lm, "batch_ids", at_once)
    draw = random.Random(8)
    given, stems = rows(draw, (6, 2)), [[], *rows(draw, (1, 5))]
    answers = rows(draw, (3, 1, 2), among or range(VOCAB))
    for context, row in zip(given, lm.score_after(lm.prefill(given), stems, answers, among), strict=True):
        assert [len(scores) for scores in row] == [3, 3, 3]
        for stem, scores in zip(stems, row, strict=True):
            for answer, score in zip(answers, scores, strict=True):
                expected = cold(lm, context + stem, answer, among)
                torch.testing.assert_close(score.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("contexts", [(2, 5, 3), [3] * 35])
def test_more_ids_than_are_read_at_once(lm, contexts, monkeypatch):
    monkeypatch.setattr(lm, "batch_ids", 20)
    draw = random.Random(1)
    given, asked = rows(draw, contexts), rows(draw, [1 + n % 3 for n in range(40)])
    found = lm.score(lm.prefill(given), asked)
    for number in (0, 1, len(given) - 1):
        for place in (0, 9, 10, 11, len(asked) - 1):
            expected = cold(lm, given[number], asked[place])
            torch.testing.assert_close(found[number][place].double(), expected, atol=1e-4, rtol=0)


def test_one_id_of_everything_sums_to_one(lm):
    prefix = lm.prefill([[5, 6, 7], [8]])
    for among in (None, AMONG):
        for row in lm.score(prefix, [[id] for id in among or range(VOCAB)], among):
            assert float(torch.cat(row).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_nothing_is_asked_and_nothing_found(lm):
    prefix = lm.prefill([[5, 6], [7]])
    assert lm.score(prefix, []) == [[], []]
    assert lm.extend(prefix, []) is prefix


def snapshot(prefix: Prefix) -> list[torch.Tensor]:
    layers = [tensor for layer in prefix.cache.layers for tensor in (layer.keys, layer.values)]
    return [tensor.clone() for tensor in (*layers, prefix.mask, prefix.logits)]


def test_a_prefix_stays_as_it_is(lm):
    draw = random.Random(2)
    prefix = lm.prefill(rows(draw, (4, 9)))
    before, asked = snapshot(prefix), rows(draw, (3, 1, 5))
    first = lm.score(prefix, asked)
    for _ in range(2):
        lm.extend(lm.extend(prefix, [1, 2]), [3])
        lm.score(prefix, [[4]])
        lm.score(lm.repeat(prefix, 3), asked, among=None)
    for was, now in zip(before, snapshot(prefix), strict=True):
        assert torch.equal(was, now)
    for one, other in zip(first, lm.score(prefix, asked), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("contexts", [(6,), (1, 9, 4)])
@pytest.mark.parametrize("steps", [(1,), (5,), (1, 4, 2)])
def test_extending_is_reading_the_longer_context(lm, contexts, steps):
    draw = random.Random(3)
    given, added = rows(draw, contexts), rows(draw, steps)
    prefix = lm.prefill(given)
    for ids in added:
        prefix = lm.extend(prefix, ids)
    whole = lm.prefill([context + list(chain(*added)) for context in given])
    assert torch.equal(prefix.mask, whole.mask)
    torch.testing.assert_close(prefix.logits, whole.logits, atol=1e-4, rtol=0)
    asked = rows(draw, (4, 2))
    for one, other in zip(lm.score(prefix, asked), lm.score(whole, asked), strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_rows_do_not_touch_each_other(lm):
    draw = random.Random(4)
    given = rows(draw, (3, 12, 7))
    together = lm.prefill(given)
    for number, context in enumerate(given):
        torch.testing.assert_close(together.logits[number], lm.prefill([context]).logits[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "MistralForCausalLM", "Qwen2ForCausalLM"])
def test_other_architectures(kind):
    """Learned positions; windows that slide over the context; biases."""
    import transformers

    sizes = {"vocab_size": VOCAB, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None}
    if kind == "GPT2LMHeadModel":
        sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 4}
    else:
        sizes |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2} | ({"sliding_window": 6} if "Mistral" in kind else {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(getattr(transformers, kind).config_class(**sizes))
    for parameter in model.parameters():
        parameter.data *= 5
    other, draw = LanguageModel(model, kind), random.Random(5)
    given, added, asked = rows(draw, (3, 11)), rows(draw, (4,))[0], rows(draw, (1, 5))
    for context, row in zip(given, other.score(other.extend(other.prefill(given), added), asked), strict=True):
        for continuation, score in zip(asked, row, strict=True):
            expected = cold(other, context + added, continuation)
            torch.testing.assert_close(score.double(), expected, atol=1e-4, rtol=0)


def test_what_does_not_fit_the_context_is_refused(lm):
    assert lm.context_length == 64
    full = lm.prefill([[1] * 64, [2]])
    with pytest.raises(UsageError, match="has 65 ids, tiny reads at most 64"):
        lm.prefill([[1], [1] * 65])
    for ask in (lambda: lm.extend(full, [1]), lambda: lm.score(full, [[1, 2, 3]])):
        with pytest.raises(UsageError, match="more than the 64 ids tiny reads"):
            ask()
    # The last id of a continuation is scored without being read.
    assert len(lm.score(full, [[7]])[0][0]) == 1
    assert len(lm.score(lm.prefill([[1] * 62]), [[7, 8, 9]])[0][0]) == 3


@pytest.mark.parametrize("contexts", [[], [[]], [[1, 2], []]])
def test_an_empty_context_is_refused(lm, contexts):
    with pytest.raises(UsageError, match="empty context"):
        lm.prefill(contexts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "tiny"
    tiny_llama(VOCAB, context=64).save_pretrained(path)
    byte_bpe_object().save_pretrained(path)
    return path


def test_a_local_folder_is_loaded(lm, folder, capfd, caplog):
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    loaded = load_lm(str(folder), "mine")
    assert (loaded.name, loaded.context_length, loaded.device.type) == ("mine", 64, "cpu")
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    torch.testing.assert_close(loaded.prefill([[1, 2, 3]]).logits, lm.prefill([[1, 2, 3]]).logits)
    assert load_lm(str(folder), "mine", dtype=torch.bfloat16).prefill([[1]]).logits.dtype == torch.float32
    # Bars and remarks of transformers are kept off the terminal, and afterwards are as they were.
    assert "".join(capfd.readouterr()) == ""
    assert caplog.records == []
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (verbosity, bars)


def damaged(folder, change) -> str:
    copy = folder.parent / f"damaged-{change.__name__}"
    if not copy.exists():
        shutil.copytree(folder, copy)
        change(copy)
    return str(copy)


def no_config(folder):
    (folder / "config.json").unlink()


def config_of_no_model(folder):
    (folder / "config.json").write_text('{"model_type": "toaster"}')


def config_that_is_text(folder):
    (folder / "config.json").write_text("hello")


def config_of_a_listener(folder):
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')


def cut_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def empty_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def other_weights(folder):
    state = load_file(folder / "model.safetensors")
    state = {name: value for name, value in state.items() if "layers.1." not in name}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def other_sizes(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (no_config, UniAudioError, "config.json"),
        (no_weights, MissingWeightsError, "model.safetensors"),
        (config_of_no_model, UniAudioError, "toaster"),
        (config_that_is_text, UniAudioError, "config"),
        (config_of_a_listener, UniAudioError, "not a causal LM"),
        (cut_weights, UniAudioError, "can be loaded: Error while deserializing"),
        (empty_weights, UniAudioError, "can be loaded: Error while deserializing"),
        (other_weights, UniAudioError, "9 of its weights are missing .*model.layers.1.input_layernorm"),
        (other_sizes, UniAudioError, "21 of its weights"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_folder_that_is_not_a_model(folder, change, kind, message, capfd):
    with pytest.raises(UniAudioError, match=message) as caught:
        load_lm(damaged(folder, change), "mine")
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)
    assert "".join(capfd.readouterr()) == ""


def test_a_model_that_is_not_here_is_not_fetched():
    with pytest.raises(MissingWeightsError, match=r"^mine: ") as caught:
        load_lm("nobody/no-such-model", "mine", offline=True)
    assert caught.value.exit_code == 4


def test_an_awaited_llm_is_loaded_when_it_is_asked(lm, folder, monkeypatch, capfd):
    loads = []
    monkeypatch.setattr("uniaudio_cli.llm.loading.load_lm", lambda *a, **k: loads.append((a, k)) or load_lm(*a, **k))
    awaited = lazy_lm(str(folder), "mine", device="cpu", dtype=torch.float32)
    assert (awaited.name, awaited.context_length) == ("mine", 64)
    with pytest.raises(UsageError, match="has 65 ids, mine reads at most 64"):
        awaited.prefill([[1] * 65])
    assert loads == []
    found, expected = (one.score(one.prefill([[1, 2], [3]]), [[4, 5]]) for one in (awaited, lm))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(found, expected, strict=True))
    assert awaited.device.type == "cpu"
    assert loads == [((str(folder), "mine"), {"device": "cpu", "dtype": torch.float32})]
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("change", [no_config, config_of_no_model, config_that_is_text])
def test_a_configuration_that_is_none_is_not_waited_for(folder, change):
    with pytest.raises(UniAudioError, match=r"^mine: "):
        lazy_lm(damaged(folder, change), "mine")


def test_an_awaited_llm_that_cannot_be_loaded(folder):
    awaited = lazy_lm(damaged(folder, cut_weights), "mine")
    with pytest.raises(UniAudioError, match="mine: not a causal LM that can be loaded"):
        awaited.prefill([[1]])


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_bits_that_are_none(folder, bits):
    with pytest.raises(UsageError, match=f"4 or 8 bits, not {bits}"):
        load_lm(str(folder), "mine", bits=bits)


def test_a_head_of_chosen_rows_leaves_the_model_as_it_is():
    """Scoring among some ids, from several threads at once: same scores, same head."""
    lm = LanguageModel(tiny_llama(64), "tiny")
    head = lm.model.get_output_embeddings()
    prefix = lm.prefill([[1, 2, 3], [4, 5]])
    continuations = [[8, 9, 10], [9, 12]]
    sets = [range(8, 16), range(0, 32), range(8, 14), None]

    def score(among):
        return lm.score(prefix, continuations, None if among is None else list(among))

    serial = [score(among) for among in sets]
    with ThreadPoolExecutor(4) as threads:
        for found, expected in zip(threads.map(score, sets * 6), serial * 6, strict=True):
            for row, expected_row in zip(found, expected, strict=True):
                for a, b in zip(row, expected_row, strict=True):
                    torch.testing.assert_close(a, b)
    assert lm.model.get_output_embeddings() is head


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    model = tiny_llama(64)
    with torch.no_grad():
        model.lm_head.weight[3, 5] = value
    model.save_pretrained(tmp_path)
    with pytest.raises(UniAudioError, match=r"tiny: lm_head\.weight holds NaN or infinite weights"):
        load_lm(str(tmp_path), "tiny")
