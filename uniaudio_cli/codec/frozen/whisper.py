"""A frozen Whisper encoder in plain torch: a wav to a feature every 20 ms.

A clip's silence is trimmed, the rest is padded to a window of 3 s, and the frames that hold the clip are kept. Longer
clips are encoded in windows that follow each other. Tensors have the names of `transformers`' WhisperEncoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from uniaudio_cli.audio.features import whisper_log_mel
from uniaudio_cli.audio.transforms import at_full_scale
from uniaudio_cli.codec.frozen.ct2 import read_variables
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show

RATE, FRAME = 16_000, 320
WINDOW = 3 * RATE
QUIET_DB = 35.0  # below the loudest 128 ms: silence
LOUDNESS_POWER = 0.5  # a frame's weight is its root mean square to this power
HEAD = 64  # dimensions of an attention head

Array = NDArray[np.float32]


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))
        self.k_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = (
            layer(x).unflatten(-1, (-1, HEAD)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.self_attn = _Attention(width)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """Log-mel [B, bands, 2 T] -> features [B, T, D]; T may be less than the 1,500 of a window of 30 s."""

    def __init__(self, width: int, bands: int, layers: int, inner: int, positions: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(bands, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(_Layer(width, inner) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> WhisperEncoder:
        """The encoder of these weights, frozen; its sizes are read off them."""
        width, bands, _ = state["conv1.weight"].shape
        layers = sum(name.endswith(".fc1.weight") for name in state)
        inner, positions = len(state["layers.0.fc1.weight"]), len(state["embed_positions.weight"])
        with torch.device("meta"):
            encoder = cls(width, bands, layers, inner, positions)
        encoder.load_state_dict(dict(state), assign=True)
        return encoder.eval().requires_grad_(False)


def encoder_state(path: Path) -> dict[str, Tensor]:
    """The encoder's weights of a Whisper model.bin (CTranslate2), float32, by the names of `WhisperEncoder`.

    Raises:
        UniAudioError: not a Whisper model's file.
    """
    stored = read_variables(path, "encoder/")

    def take(name: str) -> Tensor:
        return torch.from_numpy(np.array(stored[f"encoder/{name}"], dtype=np.float32))

    def norm(target: str, source: str) -> dict[str, Tensor]:
        return {f"{target}.weight": take(f"{source}/gamma"), f"{target}.bias": take(f"{source}/beta")}

    def linear(target: str, source: str) -> dict[str, Tensor]:
        return {f"{target}.{kind}": take(f"{source}/{kind}") for kind in ("weight", "bias")}

    try:
        state = {"embed_positions.weight": take("position_encodings/encodings"), **norm("layer_norm", "layer_norm")}
        state |= linear("conv1", "conv1") | linear("conv2", "conv2")
        for number in range(sum(name.endswith("/ffn/layer_norm/gamma") for name in stored)):
            source, target = f"layer_{number}", f"layers.{number}"
            joined = linear("", f"{source}/self_attention/linear_0")  # the projections q, k and v in one matrix
            for place, part in enumerate("qkv"):
                state[f"{target}.self_attn.{part}_proj.weight"] = joined[".weight"].chunk(3)[place]
                if part != "k":
                    state[f"{target}.self_attn.{part}_proj.bias"] = joined[".bias"].chunk(3)[place]
            state |= linear(f"{target}.self_attn.out_proj", f"{source}/self_attention/linear_1")
            state |= norm(f"{target}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            state |= norm(f"{target}.final_layer_norm", f"{source}/ffn/layer_norm")
            state |= linear(f"{target}.fc1", f"{source}/ffn/linear_0") | linear(
                f"{target}.fc2", f"{source}/ffn/linear_1"
            )
    except KeyError as problem:
        raise UniAudioError(f"{show(path)}: no Whisper encoder, it lacks {problem}") from problem
    return state


@dataclass(frozen=True)
class Frames:
    """`features` float32 [T, D] and `loudness` float32 [T], a root mean square each, of frames of 20 ms. T >= 1."""

    features: Array
    loudness: Array

    @property
    def weights(self) -> Array:
        """The weight of each frame, [T]."""
        return self.loudness**LOUDNESS_POWER


class WhisperFrames:
    """The encoder in `folder`, which holds a model.bin. Nothing is read before a call."""

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        self.folder, self.device = folder, device

    @cached_property
    def encoder(self) -> WhisperEncoder:
        """The network; `encoder_state` says what it raises."""
        return WhisperEncoder.of(encoder_state(self.folder / "model.bin")).to(self.device)

    @torch.inference_mode()
    def __call__(self, wav: Array) -> Frames:
        """wav float32 [T] at 16 kHz, of any level -> its frames, silence at both ends left out."""
        wav = at_full_scale(trimmed(wav))
        count = -(-len(wav) // FRAME)
        power = np.pad(wav, (0, count * FRAME - len(wav))).reshape(count, FRAME) ** 2
        windows = np.pad(wav, (0, -len(wav) % WINDOW)).reshape(-1, WINDOW)
        mel = torch.from_numpy(np.stack([whisper_log_mel(window) for window in windows]))
        features = self.encoder(mel.to(self.device)).flatten(0, 1)[:count].cpu().numpy()
        return Frames(features, np.sqrt(power.mean(axis=1)))


def trimmed(wav: Array) -> Array:
    """Without what is quieter than `QUIET_DB` below the loudest, at both ends (128-ms frames every 32 ms).

    float32 [T] -> [T'], at least one sample where there was one; the same as `librosa.effects.trim`.
    """
    wav = np.asarray(wav, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, 1024), 2048)[::512]
    power = np.einsum("ft,ft->f", frames, frames) / 2048
    loud = np.flatnonzero(power > power.max() * 10 ** (-QUIET_DB / 10)) if power.max() > 0 else np.arange(len(power))
    return wav[loud[0] * 512 : min(len(wav), (int(loud[-1]) + 1) * 512)]
