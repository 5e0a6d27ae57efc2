"""EnCodec, DAC and Mimi of transformers beside a codec of this package: the same segments, measured by the same code.

A peer runs at its own rate. Its output is brought back to the rate of the other codec, where all are measured. It
stands in the table twice: with as many codebooks as come nearest to the other codec's bits, and with all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from uniaudio_cli.codec import quality
from uniaudio_cli.codec.quality import MeasuredReconstruction, Reconstruction
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.evaluation.peers import Peer, parse_peers

FLAG = "--compare"
SOURCES: Mapping[str, str] = {
    "encodec": "facebook/encodec_24khz",
    "dac": "descript/dac_16khz",
    "mimi": "kyutai/mimi",
}
TITLES = {"encodec": "EnCodec", "dac": "DAC", "mimi": "Mimi"}


@dataclass(frozen=True)
class PeerCodec:
    """A codec of transformers. `depths`: numbers of codebooks that it can use, rising. `size`: codes of a codebook."""

    title: str
    model: Any
    sample_rate: int
    hop_length: int
    size: int
    depths: tuple[int, ...]

    @classmethod
    def load(cls, folder: Path, title: str) -> PeerCodec:
        """The codec in a folder as transformers saves it."""
        raise NotImplementedError

    @property
    def frame_rate(self) -> float:
        """Codes a second of one codebook."""
        return self.sample_rate / self.hop_length

    def bits_per_second(self, depth: int) -> float:
        return float(depth * self.frame_rate * np.log2(self.size))

    def nearest_depth(self, bits_per_second: float) -> int:
        """The number of codebooks whose rate is nearest, the smaller of two."""
        return min(self.depths, key=lambda depth: (abs(self.bits_per_second(depth) - bits_per_second), depth))

    def round_trip(self, wav: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """wav float32 [1, T] at `sample_rate` -> codes int64 [depth, frames] and the wav [1, T] that they decode to."""
        raise NotImplementedError


class EnCodec(PeerCodec):
    """transformers' EncodecModel, of one channel. Its depths are those of its bandwidths."""

    @classmethod
    def load(cls, folder: Path, title: str) -> EnCodec:
        from transformers import EncodecModel

        model = _loaded(EncodecModel, folder)
        config, quantizer = model.config, model.quantizer
        if config.audio_channels != 1:
            raise UsageError(f"{show(folder)}: has {config.audio_channels} channels; this takes a codec of one")
        depths = {quantizer.get_num_quantizers_for_bandwidth(each) for each in config.target_bandwidths}
        hop = int(np.prod(config.upsampling_ratios))
        return cls(title, model, config.sampling_rate, hop, config.codebook_size, tuple(sorted(depths)))

    def round_trip(self, wav: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        widths = self.model.config.target_bandwidths
        width = next(each for each in widths if self.model.quantizer.get_num_quantizers_for_bandwidth(each) == depth)
        made = self.model.encode(wav[None], bandwidth=width)
        rest = made.last_frame_pad_length
        decoded = self.model.decode(made.audio_codes, made.audio_scales, last_frame_pad_length=rest).audio_values
        return torch.cat([frame[0] for frame in made.audio_codes], dim=-1), decoded[0]


class DAC(PeerCodec):
    """transformers' DacModel."""

    @classmethod
    def load(cls, folder: Path, title: str) -> DAC:
        from transformers import DacModel

        model = _loaded(DacModel, folder)
        config = model.config
        depths = tuple(range(1, config.n_codebooks + 1))
        return cls(title, model, config.sampling_rate, config.hop_length, config.codebook_size, depths)

    def round_trip(self, wav: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        codes = self.model.encode(wav[None], n_quantizers=depth).audio_codes
        return codes[0], self.model.decode(audio_codes=codes).audio_values.reshape(1, -1)


class Mimi(PeerCodec):
    """transformers' MimiModel."""

    @classmethod
    def load(cls, folder: Path, title: str) -> Mimi:
        from transformers import MimiModel

        model = _loaded(MimiModel, folder)
        config = model.config
        hop = round(config.sampling_rate / config.frame_rate)
        # The first codebooks, by default one, are for what is said; decoding takes at least one more.
        depths = tuple(range(config.num_semantic_quantizers + 1, config.num_quantizers + 1))
        return cls(title, model, config.sampling_rate, hop, config.codebook_size, depths)

    def round_trip(self, wav: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        codes = self.model.encode(wav[None], num_quantizers=depth).audio_codes
        return codes[0], self.model.decode(codes).audio_values[0]


@dataclass
class ComparedCodec:
    """One row: a peer at one number of codebooks, and what was measured of it."""

    codec: PeerCodec
    depth: int
    measured: list[MeasuredReconstruction] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.codec.title}, {self.depth} codebook{'s' if self.depth > 1 else ''}"

    @property
    def rates(self) -> list[float]:
        """Codes a second of each codebook in use."""
        return [self.codec.frame_rate] * self.depth

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.codec.size,) * self.depth

    def measure(self, original: Tensor, sample_rate: int) -> Tensor:
        """Measure a segment float32 [1, T], as it went into the codec that this is beside; return what is decoded."""
        codec, samples = self.codec, original.shape[-1]
        wav = torch.from_numpy(_resampled(original[0].numpy(), sample_rate, codec.sample_rate))[None]
        padded = torch.nn.functional.pad(wav, (0, -wav.shape[-1] % codec.hop_length))
        started = time.perf_counter()
        with torch.inference_mode():
            codes, found = codec.round_trip(padded, self.depth)
        seconds = time.perf_counter() - started
        back = _resampled(found[0, : wav.shape[-1]].float().numpy(), codec.sample_rate, sample_rate)[:samples]
        decoded = torch.from_numpy(np.pad(back, (0, samples - len(back))))[None]
        made = Reconstruction(original, [level.numpy() for level in codes], decoded, seconds)
        self.measured.append(quality.compute_metrics(made, sample_rate))
        return decoded


def parse_compared(text: str | None, flag: str = FLAG) -> tuple[Peer, ...]:
    """ "encodec,dac=FOLDER" as peers. `flag`: that names them. Raises UsageError as `parse_peers` does."""
    return parse_peers(text, SOURCES, flag)


def load_compared(peers: Iterable[Peer], bits_per_second: float, offline: bool) -> list[ComparedCodec]:
    """The rows of peers: at the depth nearest to `bits_per_second`, and at all codebooks.

    Raises:
        MissingWeightsError: weights are not here and cannot be fetched.
    """
    kinds: Mapping[str, type[PeerCodec]] = {"encodec": EnCodec, "dac": DAC, "mimi": Mimi}
    rows = []
    for peer in peers:
        codec = kinds[peer.name].load(peer.weights(offline, tokenizer=False), peer.row_name(TITLES[peer.name]))
        depths: Sequence[int] = sorted({codec.nearest_depth(bits_per_second), codec.depths[-1]})
        rows += [ComparedCodec(codec, depth) for depth in depths]
    return rows


def _loaded(kind: Any, folder: Path) -> Any:
    with quiet_transformers():
        return kind.from_pretrained(folder, local_files_only=True).eval()


def _resampled(samples: np.ndarray, given: int, wanted: int) -> np.ndarray:
    """float32 [T] at `given` Hz -> at `wanted` Hz."""
    return samples if given == wanted else np.asarray(soxr.resample(samples, given, wanted), dtype=np.float32)
