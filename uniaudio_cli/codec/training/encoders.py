"""The teachers there are: Whisper (CTranslate2 or transformers) and YAMNet hear, MiniLM or T5 reads.

Never knows packed audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uniaudio_cli.codec.frozen.yamnet import PATCH, YAMNet
from uniaudio_cli.codec.training.teachers import STEP, FrameTeacher
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.quiet import quiet_transformers

WHISPER_FRAMES_PER_STEP = 3
AFTERWARDS = 50  # mel frames: half a second of silence follows every clip, as in a Whisper window


def frame_teacher(folder: Path) -> FrameTeacher:
    """The Whisper encoder in `folder`: CTranslate2's model.bin, or transformers' config.json with its weights.

    Raises:
        UsageError: it is neither, or faster-whisper is not installed.
    """
    if (folder / "model.bin").exists():
        return CTranslatedWhisper(folder)
    if (folder / "config.json").exists():
        return TransformersWhisper(folder)
    raise UsageError(f"{show(folder)}: no Whisper in this folder (a model.bin, or a config.json with weights)")


class _Whisper:
    """What both forms share: mel frames in, and three 20-ms frames out averaged to a step."""

    @cached_property
    def bins(self) -> int:
        """Mel bands it hears."""
        return 80

    def encoded(self, mels: np.ndarray) -> np.ndarray:
        """float32 [B, bins, 2 F] -> [B, F, D]."""
        raise NotImplementedError

    @cached_property
    def _extractor(self) -> Any:
        try:
            from faster_whisper.feature_extractor import FeatureExtractor
        except ImportError as problem:
            raise UsageError("the Whisper teacher needs faster-whisper: pip install 'uniaudio[train]'") from problem
        return FeatureExtractor(feature_size=self.bins)

    @cached_property
    def dimensions(self) -> int:
        return int(self([np.zeros(4 * STEP, dtype=np.float32)])[0].shape[1])

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        longest = max(len(wav) for wav in wavs) // STEP
        frames = 2 * longest * WHISPER_FRAMES_PER_STEP + AFTERWARDS
        states = self.encoded(np.ascontiguousarray(np.stack([self._mel(wav, frames) for wav in wavs])))
        out = []
        for wav, state in zip(wavs, states, strict=True):
            steps = len(wav) // STEP
            kept = state[: steps * WHISPER_FRAMES_PER_STEP].reshape(steps, WHISPER_FRAMES_PER_STEP, -1)
            out.append(kept.mean(axis=1).astype(np.float16))
        return out

    def _mel(self, wav: np.ndarray, frames: int) -> np.ndarray:
        padded = np.zeros(frames * self._extractor.hop_length, dtype=np.float32)
        padded[: len(wav)] = wav
        return self._extractor(padded, padding=0)[:, :frames].astype(np.float32)


class CTranslatedWhisper(_Whisper):
    """The encoder of a CTranslate2 Whisper, int8 on the CPU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def model(self) -> Any:
        try:
            import ctranslate2
        except ImportError as problem:
            raise UsageError("the Whisper teacher needs faster-whisper: pip install 'uniaudio[train]'") from problem
        return ctranslate2.models.Whisper(str(self.folder), device="cpu", compute_type="int8", inter_threads=1)

    def encoded(self, mels: np.ndarray) -> np.ndarray:
        import ctranslate2

        return np.array(self.model.encode(ctranslate2.StorageView.from_array(mels), to_cpu=True))


class TransformersWhisper(_Whisper):
    """The encoder of a transformers Whisper, on the GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import WhisperModel

        device = "cuda" if torch.cuda.is_available() else "cpu"
        with quiet_transformers():
            encoder = WhisperModel.from_pretrained(self.folder, local_files_only=True).encoder
        return encoder.eval().requires_grad_(False).to(device)

    @cached_property
    def bins(self) -> int:
        return int(self.model.config.num_mel_bins)

    def encoded(self, mels: np.ndarray) -> np.ndarray:
        import torch
        import torch.nn.functional as F

        # transformers insists on a whole window of 30 s; what a clip's own length says of the positions stays the same.
        window = 2 * self.model.config.max_source_positions
        with torch.inference_mode():
            padded = F.pad(torch.from_numpy(mels), (0, max(0, window - mels.shape[-1])))[..., :window]
            return self.model(padded.to(self.model.device)).last_hidden_state.float().cpu().numpy()


class SentenceEncoder:
    """A transformers text encoder (MiniLM, T5's encoder): the mean of a text's last states, float32 [texts, D]."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def parts(self) -> tuple[Any, Any]:
        from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel

        config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
        kind = T5EncoderModel if config.model_type in ("t5", "mt5") else AutoModel
        with quiet_transformers():
            model = kind.from_pretrained(self.folder, local_files_only=True).eval().requires_grad_(False)
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True), model

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        tokenizer, model = self.parts
        with torch.inference_mode():
            batch = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            return ((states * mask).sum(dim=1) / mask.sum(dim=1)).float().numpy()


class YAMNetTeacher:
    """What YAMNet hears every 240 ms in the 0.96 s around; two frames share one embedding."""

    HOP = 24  # of its frames of 10 ms

    def __init__(self, folder: Path) -> None:
        self.yamnet = YAMNet(folder)

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        frames, seen = len(wav) // (2 * STEP), self.yamnet.frames(wav)
        middles = np.arange(self.HOP // 2, max(len(seen), self.HOP), self.HOP)
        starts = (middles - PATCH // 2).clip(0, len(seen) - PATCH)
        heard = np.stack([self.yamnet(seen[start : start + PATCH])[0] for start in starts])
        return heard[(np.arange(frames) // 2).clip(max=len(starts) - 1)].astype(np.float16)
