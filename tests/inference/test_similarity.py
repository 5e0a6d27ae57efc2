"""The similarity readout by hand, and classification with it: no LLM is touched."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.kits import codec_of, label_task, labelled, make_kit, small_frozen
from uniaudio_cli.api import Kit
from uniaudio_cli.audio.levels import TAGS
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.session import Models
from uniaudio_cli.inference.similarity import NAMES_WEIGHT, SCALE, NameScores, SimilarityReadout, joined, nearness

A, B = np.array([2.0, 0.0]), np.array([0.0, 3.0])


def test_scores_by_hand():
    readout = SimilarityReadout.of({"a": [{0: A}], "b": [{0: B}, {0: 5 * B}]}, [0])
    (logp,) = readout([{0: np.array([3.0, 4.0])}])
    assert logp["a"] - logp["b"] == pytest.approx(SCALE * (0.6 - 0.8))
    assert sum(map(math.exp, logp.values())) == pytest.approx(1)


def test_a_label_of_several_kinds_is_near_to_each():
    """With demonstrations that point apart, their mean would point at neither."""
    readout = SimilarityReadout.of({"a": [{0: A}, {0: B}], "b": [{0: A + B}, {0: A + B}]}, [0])
    (logp,) = readout([{0: np.array([1.0, 0.1])}])
    assert logp["a"] > logp["b"]
    assert nearness(np.array([0.3])) == pytest.approx(0.3)
    cosines = np.array([0.9, 0.1, 0.2])
    assert cosines.mean() < nearness(cosines) < cosines.max()


def test_cosines_of_levels_are_added_by_weight():
    row = joined({-2: A, 0: B}, {-2: 1.0, 0: 0.5})
    other = joined({-2: A, 0: A}, {-2: 1.0, 0: 0.5})
    assert row @ other == pytest.approx(1 / 1.5)
    assert SimilarityReadout.of({"a": [{-2: A, 0: B}]}, [-2, 0]).weights == {-2: 1.0, 0: 0.5}
    assert SimilarityReadout.of({"a": [{-2: A, 0: B}]}, [-2, 0], [2.0, 3.0]).weights == {-2: 2.0, 0: 3.0}


@pytest.fixture(scope="module")
def kit() -> Kit:
    """A kit whose LLM cannot be had."""
    encoder = AudioEncoder(codec_of("words"), frozen=small_frozen())
    return Kit.of(Models(encoder, lambda: pytest.fail("the LLM is touched")))


@pytest.mark.parametrize("levels", [["sounds"], ["speech"], ["sounds", 0], ["speech", "sounds", 0, 1], [0]])
def test_demonstrations_label_themselves_without_the_llm(kit, clips, levels):
    shown = labelled(clips)
    session = kit.session(label_task(readout="similarity", levels=levels), shown[:3])
    session.prepare()
    assert session.context_budgets() == []
    results = list(session.classify([each.audio for each in shown[:3]]))
    assert [result.label for result in results] == ["up", "upper", "dog"]
    assert all(sum(result.scores.values()) == pytest.approx(1) for result in results)


def test_selection_by_words_of_a_frozen_level(kit, clips):
    task = label_task(readout="similarity", levels=["sounds"], selection="representative")
    assert len(kit.classifier(labelled(clips), task, shots=1).demonstrations) == 3


def test_there_is_no_prompt(kit, clips):
    session = kit.session(label_task(readout="similarity", levels=["sounds"]), labelled(clips))
    with pytest.raises(UsageError, match="readout similarity makes no prompt"):
        session.render_prompt(clips / "5.wav")


def test_models_without_frozen_encoders_are_refused(clips):
    kit = make_kit()
    models = kit.models.with_encoder(AudioEncoder(kit.codec))
    with pytest.raises(UsageError, match="no frozen encoders"):
        Kit.of(models).session(label_task(readout="similarity", levels=["speech"]), labelled(clips))


CLASSES = 521


def tagged(*classes: int) -> dict[int, np.ndarray]:
    """A clip whose posterior lies on some of the tagger's classes."""
    posterior = np.zeros(CLASSES, np.float32)
    posterior[list(classes)] = 1 / len(classes)
    return {0: A, TAGS: posterior}


AFFINITY = np.eye(3, CLASSES)  # class n speaks for label n
RIGHT, WRONG = [[tagged(n)] for n in range(3)], [[tagged((n + 1) % 3)] for n in range(3)]


@pytest.mark.parametrize(
    ("demonstrations", "weight"),
    [
        (RIGHT, NAMES_WEIGHT),
        (WRONG, 0),
        ([[tagged(300)] for _ in range(3)], 0),
        ([[clip[0]] * 4 for clip in RIGHT], NAMES_WEIGHT / 2),
        ([RIGHT[0], RIGHT[1], WRONG[2]], pytest.approx((math.sqrt(0.5) - 0.5) / 0.8)),
    ],
)
def test_names_count_as_far_as_they_label_the_demonstrations(demonstrations, weight):
    assert NameScores.tested(AFFINITY, demonstrations).weight == weight


def test_names_are_added_to_the_cosines():
    shown = dict(zip("abc", RIGHT, strict=True))
    plain, named = SimilarityReadout.of(shown, [0]), SimilarityReadout.of(shown, [0], affinity=AFFINITY)
    (before,), (after,) = plain([tagged(1)]), named([tagged(1)])
    assert before == pytest.approx(dict.fromkeys("abc", -math.log(3)))
    assert after["b"] - after["a"] == pytest.approx(NAMES_WEIGHT * 3 / math.sqrt(2))


class Affinities:
    """Equal for all labels; counts its calls."""

    calls = 0

    def __call__(self, texts):
        self.calls += 1
        return np.ones((len(texts), CLASSES))


def test_labels_that_name_nothing_do_not_count(clips):
    kit, affinity = make_kit(), Affinities()
    named = Kit.of(kit.models.with_names(lambda: affinity))
    task = label_task(readout="similarity", levels=["sounds"], label_names=True)
    shown = [Demonstration(each.audio, label) for each, label in zip(labelled(clips), "xyz", strict=False)]
    named.session(task, shown).prepare()
    assert affinity.calls == 0
    named.session(task, labelled(clips)).prepare()
    assert affinity.calls == 1


def test_the_llm_scores_names_of_labels(clips):
    """With real parts, and the same answers for a clip alone and among others."""
    session = make_kit().session(label_task(readout="similarity", levels=["sounds"], label_names=True), labelled(clips))
    paths = [clips / f"{n}.wav" for n in range(6)]
    together = [result.scores for result in session.classify(paths)]
    assert together == [session(path).scores for path in paths]


def test_models_without_names_say_so(kit, clips):
    session = kit.session(label_task(readout="similarity", levels=["sounds"], label_names=True), labelled(clips))
    with pytest.raises(UsageError, match="score no names"):
        session.prepare()
