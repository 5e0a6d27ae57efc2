"""Zero-shot classification: sums checked by hand, the cache, and a tiny random LLM."""

from pathlib import Path

import numpy as np
import pytest

from tests.kits import tiny
from tests.small_tokenizers import byte_bpe
from uniaudio_cli.codec.frozen.tags import class_weights
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.name_table import PROMPTS, ClassWords, LLMScorer, NamePrompt, NameTable, content_words
from uniaudio_cli.inference.names import (
    LLMAffinity,
    ZeroShotClassifier,
    calibrated,
    evidence,
    label_scores,
    meaningless,
    probabilities,
    readable,
)

CLASSES = ["Dog", "Bark", "Rain", "Baby cry, infant cry"]
IDS = {"Dog": 1, "dog": 2, "Bark": 3, "bark": 3, "Rain": 4, "rain": 5, "Baby": 6, "baby": 6}
IDS |= {"Cry": 7, "cry": 7, "Infant": 8, "infant": 8}
PROMPT = NamePrompt("Clip:", "\nTags:")
BACKGROUND = np.full(4, 0.1)


class LikesItsOwnWords:
    """The words of a label itself are likelier after it than others."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def first_id(self, word):
        return IDS[word]

    def next_logprobs(self, prefix, continuations, ids):
        self.calls.append(list(continuations))
        spelled = {i: word.lower() for word, i in IDS.items()}
        return np.array([[-1.0 if spelled[i] in text.lower() else -5.0 for i in ids] for text in continuations])


class MadeTagger:
    """Clips by their peak's sign: loud ones are rain, quiet ones a dog."""

    class_names = CLASSES

    def posterior(self, wav):
        return np.array([0.05, 0.05, 0.9, 0.0] if wav[0] > 0 else [0.6, 0.3, 0.05, 0.05], dtype=np.float32)


def table(scorer, cache: Path | None = None) -> NameTable:
    return NameTable(CLASSES, "made", scorer, cache, [PROMPT])


def session(scorer=None, cache=None, labels=("dog bark", "rain"), **more) -> ZeroShotClassifier:
    return ZeroShotClassifier(
        MadeTagger(), LLMAffinity(table(scorer or LikesItsOwnWords(), cache)), labels, common=BACKGROUND, **more
    )


def clip(first: float):
    return np.array([first, *[0.1] * 799], dtype=np.float32), 16_000


def test_a_class_sums_spellings_and_averages_words():
    words = ClassWords(CLASSES, IDS.__getitem__)
    logp = np.log(np.full((1, len(words.ids)), 0.1))
    assert np.exp(words.class_logprobs(logp)).round(6).tolist() == [[0.2, 0.1, 0.2, 0.1]]


def test_evidence_by_hand():
    # Means over labels are 0 and -2, so label 0 has +1, 0 above them and label 1 -1, 0; means over classes are .5, -.5.
    logprobs = np.array([[[1.0, -2.0], [-1.0, -2.0]]])
    assert evidence(logprobs, power=1).round(6).tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_weights_and_scores_by_hand():
    weights = class_weights(np.array([[0.1, 0.0001, 0.8, 0.05]]), BACKGROUND)
    assert weights[0, [0, 1, 3]].tolist() == [0, 0, 0]
    assert weights[0, 2] == pytest.approx(np.log(0.8001 / 0.1001) * 0.8**0.25)
    scores = label_scores(np.array([[0.0, 2.0]]), np.array([[5.0, 1.0], [0.0, 3.0]]))  # 2 and 6
    assert scores.tolist() == [[-1.0, 1.0]]
    assert probabilities(np.zeros((1, 4))).tolist() == [[0.25] * 4]


def test_calibration_takes_off_what_a_label_has_from_every_clip():
    scores = np.array([[3.0, 1.0], [3.0, 2.0], [4.0, 1.0]])
    whole = calibrated(scores, clips=0)
    assert (whole.mean(axis=0), whole.std(axis=0)) == (pytest.approx([0, 0]), pytest.approx([1, 1]))
    # Half of the mean, and the root of the spread.
    half = calibrated(scores, clips=3)
    assert half[0, 0] == pytest.approx((3 - 5 / 3) / scores.std(axis=0)[0] ** 0.5)
    assert np.array_equal(calibrated(scores[:1]), scores[:1])


def test_the_label_that_the_classes_speak_for_wins():
    results = session().classify_batch([clip(0.5), clip(-0.5)])
    assert [result.label for result in results] == ["rain", "dog bark"]
    assert sum(results[0].scores.values()) == pytest.approx(1)


def test_a_bad_clip_gets_an_error_in_its_place(tmp_path):
    (tmp_path / "bad.wav").touch()
    good, bad, again = session().classify([clip(0.5), tmp_path / "bad.wav", clip(0.5)])
    assert (good.ok, bad.ok, again.label) == (True, False, "rain")
    assert "bad.wav" in bad.error


def test_no_clips_and_silence():
    assert session().classify_batch([]) == []
    (result,) = session().classify_batch([(np.zeros(800, dtype=np.float32), 16_000)])
    assert result.ok


def test_labels_scored_before_use_no_llm(tmp_path):
    first = session(cache=tmp_path).affinity
    scorer = LikesItsOwnWords()
    again = session(scorer, tmp_path, labels=("rain", "dog_bark")).affinity
    assert scorer.calls == []
    assert np.allclose(first[::-1], again)
    assert session(scorer, tmp_path, labels=("rain", "baby")).affinity.shape == (2, 4)
    assert scorer.calls == [[" baby\nTags:"]]


def test_labels_scored_before_do_not_load_the_llm(tmp_path):
    def refuse():
        raise AssertionError("the LLM was loaded")

    _ = session(cache=tmp_path).affinity
    assert session(LLMScorer(refuse), tmp_path).classify_batch([clip(0.5)])[0].label == "rain"


def test_a_row_that_is_cut_short_is_scored_again(tmp_path):
    first = table(LikesItsOwnWords(), tmp_path).logprobs(["rain"])
    (row,) = tmp_path.glob("*.npy")
    row.write_bytes(b"cut off")
    assert np.array_equal(table(LikesItsOwnWords(), tmp_path).logprobs(["rain"]), first)


def test_a_description_takes_the_place_of_the_name():
    scorer = LikesItsOwnWords()
    found = session(scorer, labels=("class1", "class2"), descriptions={"class1": "a dog's bark", "class2": "rain"})
    assert [each.label for each in found.classify_batch([clip(0.5), clip(-0.5)])] == ["class2", "class1"]
    assert scorer.calls == [[" a dog's bark\nTags:", " rain\nTags:"]]
    assert found.meaningless == ()
    assert session(labels=("class1", "rain")).meaningless == ("class1",)


@pytest.mark.parametrize(
    ("labels", "descriptions", "message"),
    [
        (["rain"], None, "two or more"),
        (["rain", "rain"], None, "two or more"),
        ("rain", None, "collection"),
        (["rain", "dog"], {"cat": "a cat"}, "'cat' is none of the labels rain, dog"),
    ],
)
def test_labels_that_give_no_choice_are_refused(labels, descriptions, message):
    with pytest.raises(UsageError, match=message):
        session(labels=labels, descriptions=descriptions)


def test_a_clip_below_the_threshold_gets_no_label():
    assert session(abstain_below=0.99)(clip(0.5)).label is None


def test_an_llm_scores_each_label_as_it_would_alone():
    scorer = LLMScorer(lambda: (tiny(), byte_bpe()))
    ids = [3, 40, 200]
    together = scorer.next_logprobs("river stone:", [" cloud ->", " garden window ->"], ids)
    for text, row in zip([" cloud ->", " garden window ->"], together, strict=True):
        context = byte_bpe().encode("river stone:" + text)
        alone = tiny().prefill([context]).logits.log_softmax(dim=-1)[0, ids]
        assert row == pytest.approx(alone.double().numpy(), abs=1e-4)


def test_a_random_llm_takes_the_place_of_another():
    scorer = LLMScorer(lambda: (tiny(), byte_bpe()))
    made = LLMAffinity(NameTable(CLASSES, "tiny", scorer))
    changed = made.with_lm(lambda lm: lm)
    assert np.allclose(made(["river", "stone"]), changed(["river", "stone"]))
    assert made(["river", "stone"]).shape == (2, 4)


def test_the_prompt_shows_every_label():
    shown = session().render_prompt()
    assert all(f" {label}{prompt.suffix}" in shown for label in ("dog bark", "rain") for prompt in PROMPTS)


@pytest.mark.parametrize("label", ["class1", "spk_03", "type A", "label-b", "17", "x", "Class 12", "speaker07"])
def test_labels_without_meaning(label):
    assert meaningless(label)


@pytest.mark.parametrize("label", ["rain", "dog bark", "type writer", "hi hat", "class room", "sound of rain"])
def test_labels_with_meaning(label):
    assert not meaningless(label)


def test_names_are_read_as_words():
    assert [readable(each) for each in ("dog_bark", "hi-hat", " a  b ")] == ["dog bark", "hi-hat", "a b"]
    assert content_words("Hum of the engine") == ["Hum", "engine"]
    assert content_words("Of") == ["Of"]


@pytest.mark.slow
def test_the_default_llm_and_yamnet_find_the_examples():
    from uniaudio_cli.api import load_zero_shot
    from uniaudio_cli.core.errors import MissingWeightsError

    try:
        found = load_zero_shot(["rain", "siren", "engine", "clapping"], offline=True)
    except MissingWeightsError:
        pytest.skip("the models are not prepared here")
    folder = Path(__file__).parents[2] / "examples" / "audio" / "sounds"
    files = [folder / label / f"{n}.flac" for label in found.labels for n in range(1, 7)]
    right = sum(result.label == Path(result.file).parent.name for result in found.classify(files))
    assert right >= 16  # of 24
