"""What codecs keep of clips: the same segments through a codec and others beside it, measured, with intervals.

`uniaudio codec eval` shows it of any clips; a suite of kind reconstruction writes it of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
from torch import Tensor

from uniaudio_cli.codec import quality
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.quality import Clip, MeasuredReconstruction
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.evaluation.codec_peers import ComparedCodec, load_compared
from uniaudio_cli.evaluation.manifest import Document
from uniaudio_cli.evaluation.metrics import clustered_mean
from uniaudio_cli.evaluation.peers import Peer
from uniaudio_cli.evaluation.results import Rate

SEGMENTS = 200  # most that are measured, unless told


class LevelUse(Document):
    """Of one level: its `codes`, how many are `used`, and the `perplexity` of their distribution."""

    codes: int
    used: int
    perplexity: float


class Reconstruction(Document):
    """One codec. `metrics`: means by name over segments, with 95 % intervals over groups."""

    segments: int
    seconds: float
    codes_per_second: float
    bits_per_second: int
    bits_per_second_by_use: int
    metrics: dict[str, Rate]
    usage: tuple[LevelUse, ...]


class ReconstructionResults(Document):
    """results.json of a suite of kind reconstruction. `groups`: speakers or recordings. `codecs`: the product's first.

    `left_out`: files that cannot be read.
    """

    schema_version: Literal[1] = 1
    suite: str
    data: str
    seed: int
    groups: int
    codecs: dict[str, Reconstruction]
    left_out: tuple[str, ...] = ()
    versions: dict[str, str]


@dataclass
class Comparison:
    """A codec, and others `beside` it at their own depths, on the same segments.

    `measured`: of `codec`, a segment each; `groups`: of each segment.
    """

    codec: Codec
    beside: Sequence[ComparedCodec] = ()
    seed: int = 0
    measured: list[MeasuredReconstruction] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, codec: Codec, peers: Sequence[Peer], offline: bool, seed: int = 0) -> Comparison:
        """`codec` beside peers at the depths nearest to its bits, and at all. Raises as `load_compared`."""
        bits = quality.bits(quality.code_rates(codec), codec.config.sizes)
        return cls(codec, load_compared(peers, bits, offline), seed)

    def measure(
        self, clips: Sequence[Clip], most: int, unread: Callable[[Clip, UniAudioError], None] | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """Measure up to `most` segments of clips; yield of each the wavs [1, T] by "original", "decoded" and peer.

        `unread`: as `quality.segments`.
        """
        found = islice(quality.grouped_segments(clips, self.codec.sample_rate, unread), most)

        def wavs() -> Iterator[Tensor]:
            for group, wav in found:
                self.groups.append(group)
                yield wav

        for each in quality.measure_all(self.codec, wavs(), self.seed):
            self.measured.append(each)
            others = {row.name: row.measure(each.original, self.codec.sample_rate) for row in self.beside}
            yield {"original": each.original, "decoded": each.decoded, **others}

    def summary(self) -> Reconstruction:
        """Of `codec`.

        Raises:
            UniAudioError: fewer than two segments are measured.
        """
        if len(self.measured) < 2:
            raise UniAudioError("fewer than two segments of 3 s: there is nothing to take a mean of")
        return self._summarise(self.measured, quality.code_rates(self.codec), self.codec.config.sizes)

    def compared(self) -> dict[str, Reconstruction]:
        """Of the codecs beside it, by name."""
        return {row.name: self._summarise(row.measured, row.rates, row.sizes) for row in self.beside}

    def _summarise(
        self, measured: Sequence[MeasuredReconstruction], rates: Sequence[float], sizes: tuple[int, ...]
    ) -> Reconstruction:
        """`rates`, `sizes`: codes a second and codes there are, by level."""
        usage = quality.usage([segment.codes for segment in measured], sizes)
        names = dict.fromkeys(name for segment in measured for name in segment.metrics)
        samples = sum(segment.original.shape[-1] for segment in measured)
        return Reconstruction(
            segments=len(measured),
            seconds=round(samples / self.codec.sample_rate, 1),
            codes_per_second=round(sum(rates), 2),
            bits_per_second=round(quality.bits(rates, sizes)),
            bits_per_second_by_use=round(quality.bits(rates, [level["perplexity"] for level in usage])),
            metrics={name: self._mean(name, measured) for name in names},
            usage=tuple(LevelUse.model_validate(level) for level in usage),
        )

    def _mean(self, name: str, measured: Sequence[MeasuredReconstruction]) -> Rate:
        pairs = [
            (segment.metrics[name], group)
            for segment, group in zip(measured, self.groups, strict=True)
            if name in segment.metrics
        ]
        values, groups = zip(*pairs, strict=True)
        found = clustered_mean(np.array(values), groups)
        numbers: dict[str, Any] = {key: round(getattr(found, key), 4) for key in ("value", "low", "high")}
        return Rate(**numbers, n=found.n, clusters=found.clusters)


def spread(clips: Sequence[Clip], most: int) -> list[Clip]:
    """About eight clips a segment, evenly over all groups, so that a few segments still have every speaker."""
    ordered = sorted(clips, key=lambda clip: (clip.group, clip.path))
    return ordered[:: max(1, len(ordered) // (8 * most))]
