"""Recordings side by side: what a codec keeps, what enhancement changes, or what is spoken and recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from uniaudio_cli.evaluation.page.build import require, write_page
from uniaudio_cli.evaluation.page.media import Medium, Room, media
from uniaudio_cli.inference.encoder import resampled

# Pairs of a page.
LISTED = 100


@dataclass(frozen=True)
class Pair:
    """`media` by side, such as "original" and "decoded"; `numbers`: measures by name; `lines`: what else is said."""

    name: str
    media: Mapping[str, Medium]
    numbers: Mapping[str, float]
    lines: Sequence[str] = ()


@dataclass
class PairPage:
    """A page that is filled pair by pair. Raises MissingLibrary where pages cannot be made.

    `eyebrow`: the command that made it. `heading`: of the list.
    """

    eyebrow: str
    heading: str = "Before and after"
    pairs: list[Pair] = field(default_factory=list)
    total: int = 0
    room: Room = field(default_factory=Room)

    def __post_init__(self) -> None:
        require()

    def add(
        self,
        name: str,
        sides: Mapping[str, Path | Tensor],
        sample_rate: int,
        numbers: Mapping[str, float] | None = None,
        lines: Sequence[str] = (),
    ) -> None:
        """One recording. `sides`: files, or wav float32 [1, T] at `sample_rate`. `lines`: beside its name."""
        self.total += 1
        if self.total > LISTED:
            return
        found = {
            side: source if isinstance(source, Path) else _at_16k(source, sample_rate) for side, source in sides.items()
        }
        self.pairs.append(Pair(name, media(found, self.room), dict(numbers or {}), lines))

    def write(self, path: Path, title: str, about: str) -> None:
        """Write the page; raises UniAudioError where that fails."""
        write_page(
            path,
            "pairs.html",
            title=title,
            about=about,
            heading=self.heading,
            eyebrow=self.eyebrow,
            pairs=self.pairs,
            total=self.total,
        )


def _at_16k(wav: Tensor, sample_rate: int) -> Tensor:
    """wav float32 [1, T] -> the same at 16 kHz."""
    return torch.from_numpy(resampled(wav.detach().float().cpu()[0].numpy(), sample_rate))[None]
