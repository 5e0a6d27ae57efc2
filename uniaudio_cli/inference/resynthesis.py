"""Enhancement as published: the LLM writes clean codes after (noisy, clean) pairs, and the codec decodes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from uniaudio_cli.audio.io import AudioInput, read_audio, source_name
from uniaudio_cli.audio.transforms import level_db, overlap_add, overlap_windows
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.encoder import EncodedClip
from uniaudio_cli.inference.enhance import check_strength
from uniaudio_cli.inference.generation import AudioGenerator, check_generated_levels
from uniaudio_cli.inference.results import EnhancementResult
from uniaudio_cli.inference.session import EncodedExample, Models, Session
from uniaudio_cli.prompting.prompt import Example
from uniaudio_cli.prompting.prompt import render as render_prompt
from uniaudio_cli.prompting.task import Task

# Windows of a long input overlap by this share, cross-faded.
OVERLAP = 0.25


class Resynthesizer(Session):
    """Cleans recordings by the LLM and the codec. Safe to share between threads: a call holds the models' lock."""

    def __init__(self, models: Models, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> None:
        check_generated_levels(task.levels)
        super().__init__(models, task, demonstrations, seed)
        self.generator = AudioGenerator(self)

    def _encode_examples(self) -> Iterable[EncodedExample]:
        for demonstration in self.demonstrations:
            noisy = self.encoder.read(demonstration.audio, self.task.clip)
            clean = self._clean_side(demonstration, noisy.shape[-1])
            pair = [self.encoder.encode_cached(wav) for wav in (noisy, clean)]
            yield EncodedExample(Example(*(clip.as_audio(self.task.levels, self.layout) for clip in pair)), pair[1])

    def _clean_side(self, demonstration: Demonstration, length: int) -> Tensor:
        """The clean side of a pair, cut or padded to `length` samples."""
        assert demonstration.target is not None
        clean = self.encoder.read(demonstration.target, self.task.clip)[:, :length]
        return torch.nn.functional.pad(clean, (0, length - clean.shape[-1]))

    def __call__(self, source: AudioInput, strength: float = 1.0) -> EnhancementResult:
        """`enhance`."""
        return self.enhance(source, strength)

    def enhance(self, source: AudioInput, strength: float = 1.0) -> EnhancementResult:
        """A recording, cleaned: mono, at the codec's rate.

        Args:
            strength: share of the generated recording in the result, 0 to 1; the rest is the input.

        Raises:
            UsageError: `strength` is out of range.
            UniAudioError: the source cannot be read, or a window does not fit the LLM's context.
        """
        check_strength(strength)
        name, rate = source_name(source), self.models.codec.sample_rate
        try:
            with self.models.lock:
                wav, codes = self.enhance_wav(read_audio(source, rate), strength)
        except ValueError as problem:
            raise UniAudioError(f"{name}: {problem}") from problem
        return EnhancementResult(name, wav, rate, codes)

    def enhance_wav(self, wav: Tensor, strength: float = 1.0) -> tuple[Tensor, list[list[int]]]:
        """wav float32 [1, T] -> the cleaned wav of the same length and level, and the codes of its last window."""
        length = wav.shape[-1]
        window = min(length, max(1, int(self.task.clip.seconds * self.models.codec.sample_rate)))
        hop = max(1, int(window * (1 - OVERLAP)))
        starts = overlap_windows(length, window, hop)
        windows, codes = self._enhance_windows([wav[:, start : start + window] for start in starts])
        return torch.lerp(wav, overlap_add(windows, starts, length, hop), strength), codes

    def _enhance_windows(self, windows: Sequence[Tensor]) -> tuple[list[Tensor], list[list[int]]]:
        """Windows of one length, cleaned, and the codes of the last one; silent windows stay silent."""
        rate = self.models.codec.sample_rate
        clips = [self.encoder.encode(window) for window in windows]
        active = [n for n, window in enumerate(windows) if level_db(window, rate) > -math.inf]
        queries = [clips[n].as_audio(self.task.levels, self.layout) for n in active]
        generated = dict(zip(active, self.generator.generate(queries, windows[0].shape[-1]), strict=True))
        cleaned = [torch.zeros_like(window) for window in windows]
        for n, codes in generated.items():
            cleaned[n] = self._decode_at_input_level(codes, windows[n])
        last = len(windows) - 1
        return cleaned, generated.get(last) or self._own_codes(clips[last])

    def _decode_at_input_level(self, codes: Sequence[Sequence[int]], window: Tensor) -> Tensor:
        wav = self.encoder.decode(codes, self.seed)[:, : window.shape[-1]]
        # By the peaks: the gain that brings a window to the codec's level may be cut short by its peak.
        return wav * (window.abs().max() / self.encoder.at_codec_level(window).abs().max())

    def _own_codes(self, clip: EncodedClip) -> list[list[int]]:
        return [clip.codes[level] for level in self.task.levels]

    def render_prompt(self, source: AudioInput) -> str:
        """The prompt of a recording's first seconds with token counts."""
        clip = self.encoder.encode(self.encoder.read(source, self.task.clip))
        return render_prompt(self.build_query(clip.as_audio(self.task.levels, self.layout)), self.vocabulary)
