"""The recipe that assembles the open training audio: how it reads file names."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

RECIPE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "open_audio.py"))


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("/usr/share/asterisk/sounds/en_US_f_Allison/digits/5.g722", "digits 5"),
        ("/usr/share/tuxpaint/stamps/animals/birds/chicken_desc_fr.ogg", "birds chicken"),
        ("/usr/share/qabcs/abcs/noises/sounds/helicopter.ogg", "helicopter"),
        ("/x/wav/0001.wav", ""),
    ],
)
def test_a_caption_is_what_the_name_says(inside, text):
    assert RECIPE["caption"](inside) == text


@pytest.mark.parametrize(
    ("package", "inside", "found"),
    [
        ("qabcs-data", "/usr/share/qabcs/noises/rooster.ogg", None),  # kept for judging
        ("qabcs-data", "/usr/share/qabcs/noises/goat.ogg", ("noises", "sound")),
        ("hedgewars-data", "/usr/share/games/hedgewars/Data/Sounds/voices/Mobster/Amazing.ogg", ("Mobster", "speech")),
        ("tuxpaint-stamps-default", "/x/stamps/animals/cow_desc_ro.ogg", ("ro", "speech")),
        ("fillets-ng-data-cs", "/x/sound/airplane/cs/let-m-oci.ogg", ("m", "speech")),
    ],
)
def test_a_path_says_who_or_what_is_heard(package, inside, found):
    packages = {each.name: each for each in RECIPE["PACKAGES"]}
    assert packages[package].describe(inside) == found
