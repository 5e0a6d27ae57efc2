"""Audio encoder: clips in, codec codes, soft assignments and prosody codes out, with a cache for demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uniaudio_cli.audio.io import AudioInput, check_audible, read_audio, source_name
from uniaudio_cli.audio.levels import FROZEN_LEVELS, PROSODY, SPEECH, TAGS
from uniaudio_cli.audio.prosody import measure_prosody, prosody_codes, prosody_feature
from uniaudio_cli.audio.transforms import fit, normalise_level
from uniaudio_cli.codec.frozen.levels import RATE, FrozenLevels
from uniaudio_cli.codec.frozen.units import Array, SoftLevel, softmax, unit
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.parallel import side_by_side
from uniaudio_cli.prompting.prompt import Audio
from uniaudio_cli.prompting.task import Clip, Task
from uniaudio_cli.prompting.vocabulary import Layout

Item = TypeVar("Item")
Result = TypeVar("Result")

# With crop "loudest", this many times the clip's length is searched: nobody searches an hour for one second.
SEARCHED_LENGTHS = 60
NO_FROZEN = "these models have no frozen encoders; `load` gives ones that have"
# Soft counts of a codec level: cosine to logit, and how quiet a frame may be beside the loudest.
SOFT_SCALE, QUIET = 20.0, 0.05


@dataclass(frozen=True)
class EncodedClip:
    """A clip in codes.

    `codes`: per level of the codec. `samples`: length at the codec's rate. `similarity`: per level, the cosine between
    the latent and every code, float16 [T_k, K]; None for a clip whose codes come from the cache on disk. `prosody`:
    codes of the measures in `audio.prosody`, where the task uses that level. `soft`: the task's levels as soft counts,
    for the similarity readout.
    """

    codes: list[list[int]]
    samples: int
    similarity: list[Tensor] | None = field(default=None, compare=False, repr=False)
    prosody: tuple[int, ...] = ()
    soft: Mapping[int, SoftLevel] = field(default_factory=dict, compare=False, repr=False)

    def level(self, level: int) -> Sequence[int]:
        """The codes of one level, those by name included."""
        if level in self.soft:
            return self.soft[level].codes
        return self.prosody if level == PROSODY else self.codes[level]

    @property
    def features(self) -> dict[int, Array]:
        """What the similarity readout compares, by level."""
        return {level: soft.feature for level, soft in self.soft.items()}

    def as_audio(self, levels: Sequence[int], layout: Layout = "flattened") -> Audio:
        """The given levels as a piece of a prompt."""
        return Audio.of({level: self.level(level) for level in levels}, levels, layout)


class AudioEncoder:
    """Reads, crops, level-normalises and encodes clips with one codec. Safe to share between threads.

    Args:
        code_cache: where the codes of demonstrations are kept between runs; None keeps none.
        frozen: levels of frozen encoders; None where no task uses them.
    """

    def __init__(self, codec: Codec, code_cache: CodeCache | None = None, frozen: FrozenLevels | None = None) -> None:
        self.codec = codec
        self.code_cache = code_cache
        self.frozen = frozen

    def read(self, source: AudioInput, clip: Clip, audible: bool = False) -> Tensor:
        """A source as the task crops it: float32 [1, T].

        Raises:
            UniAudioError: it cannot be read as audio, or with `audible` it is silent or shorter than 20 ms.
        """
        longest = clip.seconds if clip.crop == "start" else SEARCHED_LENGTHS * clip.seconds
        wav = read_audio(source, self.codec.sample_rate, max_seconds=longest)
        if audible:
            check_audible(wav, self.codec.sample_rate, source_name(source))
        return fit(wav, self.codec.sample_rate, clip.seconds, clip.crop, clip.pad)

    def at_codec_level(self, wav: Tensor) -> Tensor:
        """`wav` [1, T] at the active level that the codec is trained at; as it is where the codec names none."""
        level = self.codec.config.level_db
        return wav if level is None else normalise_level(wav, level, self.codec.sample_rate)

    def encode(self, wav: Tensor) -> EncodedClip:
        """wav float32 [1, T] at the codec's rate -> codes and similarities."""
        return self.encode_batch([wav])[0]

    def encode_batch(self, wavs: Sequence[Tensor]) -> list[EncodedClip]:
        """`encode` of several clips; clips of one padded length share a forward pass, with equal codes."""
        levelled = [self.at_codec_level(wav) for wav in wavs]
        return [
            EncodedClip(
                [level.codes[0].tolist() for level in levels],
                wav.shape[-1],
                [level.similarity[0].half().cpu() for level in levels],
            )
            for wav, levels in zip(wavs, self.codec.encode_batch(levelled), strict=True)
        ]

    def encode_cached(self, wav: Tensor) -> EncodedClip:
        """`encode` of a demonstration: its codes, without similarities, come from the cache where it has them."""
        if self.code_cache is None:
            return self.encode(wav)
        codes = self.code_cache.codes(wav)
        if codes is not None:
            return EncodedClip(codes, wav.shape[-1])
        clip = self.encode(wav)
        self.code_cache.keep(wav, clip.codes)
        return clip

    def encode_with_offsets(self, source: AudioInput, task: Task, cached: bool = False) -> list[EncodedClip]:
        """A source encoded once for each of the task's `time_offsets_ms`; once only where the readout uses one.

        Raises:
            UniAudioError: it cannot be read as audio, is silent, or is shorter than 20 ms.
        """
        return self.encode_crop(self.read(source, task.clip, audible=True), task, cached)

    def encode_crop(self, wav: Tensor, task: Task, cached: bool = False) -> list[EncodedClip]:
        """`encode_with_offsets` of a crop [1, T] that is read already."""
        if task.readout == "similarity":
            return [self.encode_levels(wav, task.encoded_levels)]
        offsets = task.clip.time_offsets_ms if task.uses_time_offsets else task.clip.time_offsets_ms[:1]
        delayed = [torch.nn.functional.pad(wav, (ms * self.codec.sample_rate // 1000, 0)) for ms in offsets]
        if task.levels == (PROSODY,):  # no codec level is used
            clips = [EncodedClip([], wav.shape[-1]) for _ in delayed]
        elif cached:
            clips = [self.encode_cached(each) for each in delayed]
        else:
            clips = self.encode_batch(delayed)
        if PROSODY not in task.levels:
            return clips
        values = measure_prosody(wav, self.codec.sample_rate)
        return [
            replace(clip, prosody=tuple(prosody_codes(values, number / len(clips))))
            for number, clip in enumerate(clips)
        ]

    def side_by_side(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`work(item)` of every item, in order, where `work` encodes a clip: on a CPU, several clips at a time."""
        return side_by_side(work, items) if self.codec.device.type == "cpu" else [work(item) for item in items]

    def first_then_side_by_side(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`side_by_side`, where the first item loads the frozen encoders, and does so alone."""
        return [*map(work, items[:1]), *self.side_by_side(work, items[1:])]

    def encode_levels(self, wav: Tensor, levels: Sequence[int]) -> EncodedClip:
        """A crop [1, T] at the codec's rate as soft counts of these levels.

        Raises:
            MissingWeightsError: a frozen encoder is not here and cannot be fetched.
        """
        soft: dict[int, SoftLevel] = {}
        for level in levels:
            if level in (*FROZEN_LEVELS, TAGS):
                if self.frozen is None:
                    raise UsageError(NO_FROZEN)
                soft[level] = self.frozen[level](resampled(wav[0].numpy(), self.codec.sample_rate))
            elif level == PROSODY:
                values = measure_prosody(wav, self.codec.sample_rate)
                soft[level] = SoftLevel(tuple(prosody_codes(values)), prosody_feature(values))
        codec_levels = [level for level in levels if level >= 0]
        if codec_levels:
            soft |= self._soft_codes(self.at_codec_level(wav), codec_levels)
        return EncodedClip([], wav.shape[-1], soft=soft)

    def _soft_codes(self, wav: Tensor, levels: Sequence[int]) -> dict[int, SoftLevel]:
        """Levels of the codec: roots of the mean probability of each code, over frames that are not quiet."""
        coarsest = tuple(levels) == (0,)
        outputs = [self.codec.encode_coarsest(wav[None])] if coarsest else self.codec.encode_soft(wav[None])
        found = {}
        for level in levels:
            samples = self.codec.strides[level] * self.codec.hop_length
            frames = -(-wav.shape[-1] // samples)
            padded = torch.nn.functional.pad(wav[0], (0, frames * samples - wav.shape[-1]))
            power = padded.reshape(frames, samples).square().mean(dim=1).numpy()
            soft = softmax(SOFT_SCALE * outputs[level].similarity[0, :frames].float().cpu().numpy())
            loud = power >= QUIET**2 * power.max()
            codes = outputs[level].codes[0, :frames].tolist()
            found[level] = SoftLevel(tuple(codes), np.sqrt(soft[loud].mean(axis=0)))
        return found

    def decode(self, codes: Sequence[Sequence[int]], seed: int = 0) -> Tensor:
        """Codes per level -> wav float32 [1, T]."""
        return self.codec.decode([torch.tensor([row]) for row in codes], seed=seed)[0].cpu()

    def reconstruct(self, source: AudioInput, clip: Clip) -> tuple[Tensor, Tensor]:
        """The crop of a source at the codec's level, and the codec's reconstruction of it; float32 [1, T] each."""
        wav = self.at_codec_level(self.read(source, clip))
        return wav, self.decode(self.encode(wav).codes)[:, : wav.shape[-1]]

    def speech_features(self, source: AudioInput, clip: Clip) -> NDArray[np.float16]:
        """The level `speech` of a crop and of its reconstruction, of unit length: float16 [2, D].

        Raises:
            MissingWeightsError: the frozen encoder is not here and cannot be fetched.
        """
        if self.frozen is None:
            raise UsageError(NO_FROZEN)
        wav = self.at_codec_level(self.read(source, clip))
        what = f"speech {self.frozen.fingerprint}"
        kept = self.code_cache.array(wav, what) if self.code_cache else None
        if kept is not None:
            return kept
        decoded = self.decode(self.encode(wav).codes)[:, : wav.shape[-1]]
        both = (resampled(each[0].numpy(), self.codec.sample_rate) for each in (wav, decoded))
        found = np.stack([unit(self.frozen[SPEECH](each).feature) for each in both]).astype(np.float16)
        if self.code_cache:
            self.code_cache.keep_array(wav, what, found)
        return found


def resampled(wav: Array, sample_rate: int) -> Array:
    """float32 [T] -> the same at the frozen encoders' rate."""
    if sample_rate == RATE:
        return wav
    import soxr

    return soxr.resample(wav, sample_rate, RATE)
