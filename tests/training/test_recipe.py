"""Recipes: what is read, what is refused; the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.training.recipe import DiscriminatorSettings, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
GOOD = {"name": "a", "lm": "b", "cache": "c", "codec": {"strides": [4]}, "sizes": [8], "losses": {"mel": 1}}


def written(tmp_path, **changes):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **changes}))
    return file


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_shipped_recipes_are_recipes(recipe):
    found = load_recipe(recipe)
    assert found.weight("units" if found.trainable == "coarse" else "mel") > 0
    assert found.weight("nothing") == 0.0


def test_settings_stand_in_place_of_the_file(tmp_path):
    found = load_recipe(written(tmp_path), ["steps=7", "losses.stft=0.5", "discriminators={hops: [64], channels: [8]}"])
    assert found.steps == 7
    assert found.weight("stft") == 0.5
    assert found.discriminators == DiscriminatorSettings(hops=(64,), channels=(8,))
    assert found.audio is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": {"mell": 1}}, "losses.mell"),
        ({"losses": {"adversarial": 1}}, "discriminators"),
        ({"losses": {"units": 1}}, "speech_teacher"),
        ({"losses": {"semantic": 1}}, "text_teacher"),
        ({"sound_teacher": "yamnet"}, "speech_teacher"),
        ({"sound_teacher": "yamnet", "speech_teacher": "w", "sound_units": 8}, "sound_units"),
        ({"trainable": "decoder", "losses": {"mel": 1, "units": 1}, "speech_teacher": "w"}, "losses.units"),
        ({"trainable": "coarse", "losses": {"mel": 1}}, "losses.mel"),
        ({"trainable": "ears"}, "trainable"),
        ({"vtlp": 0.1}, "vtlp"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"sizes": [8, 8]}, "one size per stride"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"degrade_probability": 1.5}, "degrade_probability"),
        ({"discriminators": {"hops": [64], "channels": [8, 8]}}, "discriminators.channels"),
        ({"discriminators": {"hop": [64]}}, "discriminators.hop"),
        ({"discriminators": 3}, "discriminators"),
        ({"validation": {"every": 0}}, "validation.every"),
        ({"init": "x", "vocabulary": "y"}, "vocabulary"),
        ({"audio": []}, "audio"),
        ({"stepz": 3}, "steps"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message.replace(".", r"\.")) as caught:
        load_recipe(written(tmp_path, **changes))
    assert "recipe.yaml" in str(caught.value)


def test_a_setting_without_a_value_is_refused(tmp_path):
    with pytest.raises(UsageError, match="KEY=VALUE"):
        load_recipe(written(tmp_path), ["steps"])
