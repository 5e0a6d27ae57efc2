"""`demos check`: every kind of remark on a folder that has it, and none on one that is fine."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.world import CLIP, RATE, clip_samples, write, write_samples


@pytest.fixture
def check(world, uniaudio, tmp_path):
    """`uniaudio demos check` with the small world's codec; outliers by its level 0."""
    similar = tmp_path / "similar.yaml"
    similar.write_text(world.listen.read_text().replace("likelihood", "similarity") + "levels: [0]\n")
    return lambda *more: uniaudio("demos", "check", *more, "--task", similar, *world.models)


def fine(folder: Path) -> Path:
    for number, label in enumerate(("a", "b")):
        for shot in range(3):
            write(folder / label / f"{shot}.wav", 10 * number, 4 * CLIP + shot)
    return folder


def short(folder: Path) -> None:
    write_samples(folder / "a" / "x.wav", clip_samples()[: RATE // 10])


def quiet(folder: Path) -> None:
    write_samples(folder / "a" / "x.wav", 1e-4 * clip_samples(), subtype="FLOAT")


def clipped(folder: Path) -> None:
    write_samples(folder / "a" / "x.wav", np.clip(20 * clip_samples(4 * CLIP), -1, 1))


def unreadable(folder: Path) -> None:
    write_samples(folder / "a" / "x.wav", np.zeros(RATE))


def folder(folder: Path) -> None:
    shutil.copy(folder / "a" / "0.wav", folder / "a" / "x.wav")


def duplicate(folder: Path) -> None:
    """The same samples in another file format."""
    soundfile.write(folder / "a" / "x.flac", *soundfile.read(folder / "a" / "0.wav", dtype="int16"))


def outlier(folder: Path) -> None:
    write(folder / "a" / "x.wav", 10, 4 * CLIP + 7)


def imbalance(folder: Path) -> None:
    for shot in range(20):
        write(folder / "b" / f"x{shot}.wav", 10, 4 * CLIP + 10 + shot)


def loudness(folder: Path) -> None:
    for shot in range(3):
        write_samples(folder / "a" / f"{shot}.wav", 0.01 * clip_samples(4 * CLIP + shot), subtype="FLOAT")


@pytest.mark.parametrize("maker", [short, quiet, clipped, unreadable, folder, duplicate, outlier, imbalance, loudness])
def test_each_kind_is_remarked_on(check, tmp_path, maker):
    demos = fine(tmp_path / "demos")
    maker(demos)
    done = check(demos)
    assert done.code == 1
    assert maker.__name__ in {row["kind"] for row in done.rows}, done.out


def test_a_folder_that_is_fine(check, tmp_path):
    done = check(fine(tmp_path / "demos"))
    assert (done.code, done.out, done.err) == (0, "", "demos: 6 clips of 2 labels, 3 each; 0 remarks\n")


def test_leaks_into_the_clips_to_label(check, tmp_path):
    demos, queries = fine(tmp_path / "demos"), tmp_path / "queries"
    write(queries / "other.wav", 50)
    assert check(demos, "--against", queries).code == 0
    shutil.copy(demos / "b" / "1.wav", queries / "renamed.wav")
    (row,) = check(demos, "--against", queries).rows
    assert (row["kind"], row["file"], "renamed.wav" in row["reason"]) == ("leak", str(demos / "b" / "1.wav"), True)


def test_one_clip_of_two_labels_is_an_error(check, tmp_path):
    demos = fine(tmp_path / "demos")
    shutil.copy(demos / "a" / "0.wav", demos / "b" / "x.wav")
    check(demos).is_error(2, "is labelled 'b' here, and the same clip 'a'")
