"""Streaming decoding: codes to a wav piece by piece, with the samples that decoding all codes at once gives.

A decoder has a receptive field, so a frame's samples are final once all later frames of the field are available. The
field is measured on the decoder itself: one group of codes is changed, and the samples that differ are located.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uniaudio_cli.codec.model import Codec


def receptive_field(codec: Codec) -> tuple[int, int]:
    """(ahead, behind): the latent frames after and before a frame that its samples depend on."""
    size, draw = codec.frame_multiple, torch.Generator().manual_seed(0)
    groups = 32
    while True:
        frames = groups * size
        codes = [
            torch.randint(count, (1, frames // stride), generator=draw)
            for count, stride in zip(codec.config.sizes, codec.strides, strict=True)
        ]
        start, stop = groups // 2 * size, (groups // 2 + 1) * size
        changed = [row.clone() for row in codes]
        for row, count, stride in zip(changed, codec.config.sizes, codec.strides, strict=True):
            row[:, start // stride : stop // stride] = (row[:, start // stride : stop // stride] + count // 2) % count
        differs = (codec.decode(codes, noise=False) != codec.decode(changed, noise=False))[0, 0].nonzero()[:, 0]
        first, last = int(differs[0]), int(differs[-1])
        ahead = max(0, -((first - start * codec.hop_length) // codec.hop_length))
        behind = max(0, last // codec.hop_length - (stop - 1))
        if ahead < start and behind < frames - stop:
            return ahead, behind
        groups *= 2


class StreamDecoder:
    """Decodes a growing sequence of codes; returns the samples that no later code can change. Adds no decoder noise.

    `seconds`: the least audio to decode at once; each call decodes the receptive field around it again.
    """

    def __init__(self, codec: Codec, seconds: float = 0.25) -> None:
        self.codec = codec
        self.ahead, self.behind = receptive_field(codec)
        self.least = seconds * codec.sample_rate / codec.hop_length
        self.rows: list[list[int]] = []
        self.done = 0  # frames returned so far

    def push(self, codes: Sequence[Sequence[int]], last: bool = False) -> Tensor:
        """Append codes per level, in whole groups of frames -> the new final samples, wav [1, T]; T may be 0.

        `last`: no more codes follow, so all samples are final.
        """
        self.rows = [[*old, *new] for old, new in zip(self.rows or [[] for _ in codes], codes, strict=True)]
        frames, size = len(self.rows[0]) * self.codec.strides[0], self.codec.frame_multiple
        final = frames if last else (frames - self.ahead) // size * size
        if final <= self.done or (final - self.done < self.least and not last):
            return torch.zeros(1, 0)
        start = max(0, self.done - self.behind) // size * size
        stop = frames // size * size
        part = [row[start // s : stop // s] for row, s in zip(self.rows, self.codec.strides, strict=False)]
        wav = self.codec.decode([torch.tensor([row]) for row in part], noise=False)[0].cpu()
        hop = self.codec.hop_length
        samples = wav[:, (self.done - start) * hop : (final - start) * hop]
        self.done = final
        return samples
