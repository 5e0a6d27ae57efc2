import numpy as np
import pytest
import torch

from uniaudio_cli.audio.transforms import (
    fit,
    level_db,
    normalise_level,
    overlap_add,
    overlap_windows,
    remove_offset,
)

RATE = 16_000


@pytest.mark.parametrize(
    ("length", "crop", "pad", "expected"),
    [
        (40_000, "start", True, (0, RATE)),
        (40_000, "loudest", True, (20_000, RATE)),
        (9000, "start", True, (0, RATE)),
        (9000, "loudest", True, (0, RATE)),
        (9000, "start", False, (0, 9000)),
        (RATE, "loudest", False, (0, RATE)),
        (1, "start", True, (0, RATE)),
    ],
)
def test_fit(length, crop, pad, expected):
    wav = torch.zeros(1, length)
    wav[:, 20_000:36_000] = 0.5
    wav[:, 1:-1:2] *= -1  # no constant part
    start, size = expected
    fitted = fit(wav, RATE, 1.0, crop, pad)
    assert fitted.shape == (1, size)
    torch.testing.assert_close(fitted[:, : length - start], wav[:, start : start + size], atol=0, rtol=0)


def test_fit_finds_a_burst_at_the_very_end_and_takes_silence_from_the_start():
    wav = torch.zeros(1, 30_011)
    wav[:, -500:] = torch.tensor([1.0, -1.0]).repeat(250)
    assert fit(wav, RATE, 0.5, "loudest").abs().sum() > 500 - RATE // 100
    wav = torch.zeros(1, RATE)
    wav[0, 0] = 1e-9
    assert fit(wav, RATE, 0.25, "loudest")[0, 0] == wav[0, 0]


def noise(seconds: float = 1.0) -> torch.Tensor:
    return 0.1 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("offset", [0.05, -0.4])
def test_a_constant_offset_changes_nothing(offset):
    wav = noise()
    expected = normalise_level(wav, -25, RATE)
    torch.testing.assert_close(normalise_level(wav + offset, -25, RATE), expected, atol=2e-3, rtol=0)
    assert level_db(wav + offset, RATE) == pytest.approx(level_db(wav, RATE), abs=0.01)
    padded = fit(wav + offset, RATE, 2.0)
    assert padded[:, RATE:].abs().max() == 0
    assert padded[:, :RATE].mean().abs() < 1e-3


def test_the_loudest_part_is_found_under_an_offset():
    wav = noise(4.0)
    wav[:, 2 * RATE : 3 * RATE] *= 4
    torch.testing.assert_close(fit(wav + 0.5, RATE, 1.0, "loudest"), fit(wav, RATE, 1.0, "loudest"), atol=2e-3, rtol=0)


def test_what_has_no_offset_is_left_alone():
    wav = noise()
    assert remove_offset(wav) is wav
    assert remove_offset(wav + 0.005)[0, 0] == (wav + 0.005)[0, 0]
    assert normalise_level(torch.full((1, RATE), 0.1), -25, RATE)[0, 0] == pytest.approx(0.1)  # silence


def test_the_example_clips_are_left_alone():
    from pathlib import Path

    from uniaudio_cli.audio.io import read_audio

    for path in (Path(__file__).parents[2] / "examples" / "audio").rglob("*.flac"):
        wav = read_audio(path, RATE)
        assert remove_offset(wav) is wav


@pytest.mark.parametrize(
    ("length", "window", "hop", "starts"),
    [(10, 4, 3, [0, 3, 6]), (4, 4, 3, [0]), (5, 4, 3, [0, 1]), (1, 1, 1, [0]), (8, 4, 4, [0, 4])],
)
def test_windows_cover_the_input(length, window, hop, starts):
    assert overlap_windows(length, window, hop) == starts


@pytest.mark.parametrize(("length", "window", "hop"), [(1000, 100, 75), (1011, 100, 75), (130, 100, 75), (90, 90, 67)])
def test_windows_of_a_wav_add_up_to_it(length, window, hop):
    wav = torch.randn(1, length, generator=torch.Generator().manual_seed(0))
    starts = overlap_windows(length, window, hop)
    pieces = [wav[:, start : start + window] for start in starts]
    torch.testing.assert_close(overlap_add(pieces, starts, length, hop), wav)
    torch.testing.assert_close(overlap_add(pieces, starts, length), wav)


def test_a_cross_fade_is_linear():
    made = overlap_add([torch.zeros(1, 8), torch.ones(1, 8)], [0, 4], 12, 4)
    np.testing.assert_allclose(made[0], [0] * 4 + [0.2, 0.4, 0.6, 0.8] + [1] * 4, atol=1e-6)
