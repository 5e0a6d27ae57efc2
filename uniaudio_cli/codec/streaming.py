"""Codes to a wav piece by piece, equal to decoding them all at once. Never knows where the codes come from.

A decoder looks some frames ahead and behind, so a frame's samples are final once the frames it looks ahead to are
known. How far it looks is measured on the decoder at hand: a group of codes is changed, and some samples differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uniaudio_cli.codec.model import Codec


def reach(codec: Codec) -> tuple[int, int]:
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
        other = [row.clone() for row in codes]
        for row, count, stride in zip(other, codec.config.sizes, codec.strides, strict=True):
            row[:, start // stride : stop // stride] = (row[:, start // stride : stop // stride] + count // 2) % count
        differs = (codec.decode(codes, noise=False) != codec.decode(other, noise=False))[0, 0].nonzero()[:, 0]
        first, last = int(differs[0]), int(differs[-1])
        ahead = max(0, -((first - start * codec.hop_length) // codec.hop_length))
        behind = max(0, last // codec.hop_length - (stop - 1))
        if ahead < start and behind < frames - stop:
            return ahead, behind
        groups *= 2


class StreamDecoder:
    """Takes codes as they are made and gives the samples that no later code can change; without the decoder's noise.

    `seconds`: the least that is decoded at once, since each time the frames around it are decoded again.
    """

    def __init__(self, codec: Codec, seconds: float = 0.25) -> None:
        self.codec = codec
        self.ahead, self.behind = reach(codec)
        self.least = seconds * codec.sample_rate / codec.hop_length
        self.rows: list[list[int]] = []
        self.done = 0  # frames given out

    def push(self, codes: Sequence[Sequence[int]], last: bool = False) -> Tensor:
        """More codes per level, whole groups of frames; `last` if there are no more. -> wav [1, T], T may be 0."""
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
        found = wav[:, (self.done - start) * hop : (final - start) * hop]
        self.done = final
        return found
