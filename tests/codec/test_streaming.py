"""Streamed and whole decoding agree, whatever the pieces."""

from __future__ import annotations

import random

import pytest
import torch

from tests.kits import codec_of
from uniaudio_cli.codec.streaming import StreamDecoder, receptive_field


@pytest.mark.parametrize("kind", ["words", "bare", "published"])
@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("levels", [1, 3])
def test_streamed_samples_are_those_of_the_whole_decode(kind, seconds, levels):
    codec = codec_of(kind)
    draw, torch_draw = random.Random(0), torch.Generator().manual_seed(0)
    size = codec.frame_multiple // codec.strides[0]
    coarse = 60 // size * size
    strides = codec.strides[:levels]
    codes = [
        torch.randint(count, (1, coarse * codec.strides[0] // stride), generator=torch_draw)
        for count, stride in zip(codec.config.sizes, strides, strict=False)
    ]
    whole = codec.decode(codes, noise=False)[0]
    decoder, pieces, place = StreamDecoder(codec, seconds), [], 0
    while place < coarse:
        stop = min(coarse, place + draw.randint(1, 5))
        rows = [
            row[0, place * codec.strides[0] // stride : stop * codec.strides[0] // stride].tolist()
            for row, stride in zip(codes, strides, strict=True)
        ]
        pieces.append(decoder.push(rows, last=stop == coarse))
        place = stop
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-3, rtol=0)
    sounding = [n for n, piece in enumerate(pieces) if piece.shape[-1]]
    assert sounding[0] < len(pieces) // 2


def test_the_receptive_field_of_a_decoder_is_finite():
    ahead, behind = receptive_field(codec_of("bare"))
    assert 3 <= ahead < 60
    assert 3 <= behind < 60
