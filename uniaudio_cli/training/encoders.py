"""The teachers: Whisper (CTranslate2 or transformers), YAMNet, and text encoders (MiniLM, T5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from uniaudio_cli.audio.features import whisper_log_mel
from uniaudio_cli.codec.frozen.yamnet import PATCH, YAMNet
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.training.teachers import FrameTeacher

WHISPER_FRAME = 320  # samples of one encoder output, 20 ms
TRAILING_SILENCE = 50  # mel frames, half a second: Whisper was trained on clips that silence follows


def frame_teacher(folder: Path, step_length: int) -> FrameTeacher:
    """The Whisper encoder in `folder`: CTranslate2's model.bin, or transformers' config.json with its weights.

    Raises:
        UsageError: it is neither, or a step is not a multiple of Whisper's 20 ms.
    """
    if step_length % WHISPER_FRAME:
        raise UsageError(
            f"speech_teacher: half a level-0 frame is {step_length} samples, which is no multiple of {WHISPER_FRAME}"
        )
    if (folder / "model.bin").exists():
        return CTranslate2Whisper(folder, step_length)
    if (folder / "config.json").exists():
        return TransformersWhisper(folder, step_length)
    raise UsageError(f"{show(folder)}: no Whisper in this folder (a model.bin, or a config.json with weights)")


class _Whisper:
    """The part common to both forms: log-mel input, and 20-ms outputs averaged per step."""

    def __init__(self, folder: Path, step_length: int) -> None:
        self.folder, self.step_length = folder, step_length

    @cached_property
    def bins(self) -> int:
        """Mel bands of the input."""
        return 80

    def encode(self, mels: np.ndarray) -> np.ndarray:
        """Log-mel float32 [B, bins, 2 F] -> states [B, F, D]."""
        raise NotImplementedError

    @cached_property
    def dimensions(self) -> int:
        return int(self([np.zeros(4 * self.step_length, dtype=np.float32)])[0].shape[1])

    def __call__(self, wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
        frames_per_step = self.step_length // WHISPER_FRAME
        longest = max(len(wav) for wav in wavs) // self.step_length
        frames = 2 * longest * frames_per_step + TRAILING_SILENCE
        states = self.encode(np.ascontiguousarray(np.stack([self._mel(wav, frames) for wav in wavs])))
        out = []
        for wav, state in zip(wavs, states, strict=True):
            steps = len(wav) // self.step_length
            by_step = state[: steps * frames_per_step].reshape(steps, frames_per_step, -1)
            out.append(by_step.mean(axis=1).astype(np.float16))
        return out

    def _mel(self, wav: np.ndarray, frames: int) -> np.ndarray:
        padded = np.zeros(frames * WHISPER_FRAME // 2, dtype=np.float32)
        padded[: len(wav)] = wav
        return whisper_log_mel(padded, self.bins)


class CTranslate2Whisper(_Whisper):
    """The encoder of a CTranslate2 Whisper, int8 on the CPU."""

    @cached_property
    def model(self) -> Any:
        try:
            import ctranslate2
        except ImportError as problem:
            raise UsageError("the Whisper teacher needs faster-whisper: pip install 'uniaudio[train]'") from problem
        return ctranslate2.models.Whisper(str(self.folder), device="cpu", compute_type="int8", inter_threads=1)

    def encode(self, mels: np.ndarray) -> np.ndarray:
        import ctranslate2

        return np.array(self.model.encode(ctranslate2.StorageView.from_array(mels), to_cpu=True))


class TransformersWhisper(_Whisper):
    """The encoder of a transformers Whisper, on the GPU where there is one."""

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

    def encode(self, mels: np.ndarray) -> np.ndarray:
        import torch
        import torch.nn.functional as F

        # transformers requires a whole window of 30 s; the positions of the clip's own frames do not change.
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
    """YAMNet's embedding of the 0.96 s around, every 240 ms; the frames within 240 ms share one embedding."""

    HOP = 24  # mel frames of 10 ms
    HOP_SAMPLES = 3840

    def __init__(self, folder: Path, frame_length: int) -> None:
        self.yamnet, self.frame_length = YAMNet(folder), frame_length

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        frames, mel = len(wav) // self.frame_length, self.yamnet.frames(wav)
        middles = np.arange(self.HOP // 2, max(len(mel), self.HOP), self.HOP)
        starts = (middles - PATCH // 2).clip(0, len(mel) - PATCH)
        embeddings = np.stack([self.yamnet(mel[start : start + PATCH])[0] for start in starts])
        places = np.arange(frames) * self.frame_length // self.HOP_SAMPLES
        return embeddings[places.clip(max=len(starts) - 1)].astype(np.float16)
