"""Small real parts for tests: seeded codecs of both architectures and their files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.model import Codec

_SYLLABLES = ("river", "stone", "cloud", "paper", "garden", "window", "bridge", "winter")
WORDS = tuple(a + b for a in ("", *_SYLLABLES) for b in _SYLLABLES)[:60]
VOCAB = 320

PUBLISHED_ENCODER = {"encoder_dim": 8, "encoder_rates": (3, 4, 5, 8), "depthwise": True, "attn_window_size": 8}
PUBLISHED_DECODER = {
    "decoder_dim": 128,
    "decoder_rates": (8, 5, 4, 3),
    "noise": True,
    "depthwise": True,
    "attn_window_size": 8,
}
SMALL_ENCODER = {"mel_bins": 32, "fine_channels": 16, "fine_blocks": 1, "channels": 16, "blocks": 2}
SMALL_DECODER = {"channels": 16, "blocks": 2}


def seeded(module: nn.Module, seed: int = 0) -> None:
    """Fill every parameter from a generator that gives the same numbers in all versions of numpy and torch."""
    random = np.random.RandomState(seed)
    for name, parameter in sorted(module.named_parameters()):
        shape = tuple(parameter.shape)
        values = random.standard_normal(shape)
        if name.endswith("bias"):
            values *= 0.02
        elif name.endswith(("alpha", "original0", "norm.weight", "scale")):
            values = 0.5 + 0.4 * random.random_sample(shape)
        elif not name.endswith("codebook.weight"):
            values /= np.sqrt(np.prod(shape[1:]))
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values))


def published_codec(words: Sequence[str] | None = WORDS, vocab: int = VOCAB, seed: int = 0) -> Codec:
    """The published architecture, 8 channels wide, with the real strides. `words=None`: level 0 is the vocabulary."""
    config = CodecConfig(
        architecture="published",
        sample_rate=16_000,
        hop_length=480,
        strides=(4, 2, 1),
        sizes=(vocab if words is None else len(words), vocab, vocab),
        embedding_dim=24,
        latent_dim=128,
        words=(None if words is None else tuple(words), None, None),
        llm="meta-llama/Llama-2-7b-hf",
        encoder=PUBLISHED_ENCODER,
        decoder=PUBLISHED_DECODER,
    )
    return _codec(config, seed)


def small_codec(words: Sequence[str] | None = WORDS, vocab: int = VOCAB, seed: int = 0, **fields: Any) -> Codec:
    """The small architecture, 16 channels wide; `fields` replace those of its `CodecConfig`."""
    defaults: dict[str, Any] = {
        "architecture": "small",
        "sample_rate": 16_000,
        "hop_length": 480,
        "strides": (4, 2, 1),
        "sizes": (vocab if words is None else len(words), vocab, vocab),
        "embedding_dim": 24,
        "latent_dim": 32,
        "words": (None if words is None else tuple(words), None, None),
        "llm": "a-tiny-llm",
        "level_db": -23.0,
        "encoder": SMALL_ENCODER,
        "decoder": SMALL_DECODER,
    }
    return _codec(CodecConfig(**{**defaults, **fields}), seed)


def codec_in_words(*words: Sequence[str], seed: int = 0, **fields: Any) -> Codec:
    """`small_codec` where every level has words of its own."""
    codec = small_codec(words[0], seed=seed, sizes=tuple(map(len, words)), **fields)
    codec.config = codec.config.replace(words=tuple(map(tuple, words)))
    return codec


def _codec(config: CodecConfig, seed: int) -> Codec:
    codec = Codec(config)
    seeded(codec, seed)
    codec.quantizer.project()
    return codec.eval().requires_grad_(False)


def old_weight_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with weight norm spelt as the published checkpoint has it."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    renamed = {}
    for name, value in state.items():
        for new, spelling in old.items():
            name = name.replace(new, spelling)
        renamed[name] = value
    return renamed


@cache
def _published_state(words: tuple[str, ...] | None, vocab: int, seed: int) -> dict[str, Tensor]:
    return old_weight_norm(dict(published_codec(words, vocab, seed).state_dict()))


def tiny_published(folder: Path, words: Sequence[str] | None = WORDS, vocab: int = VOCAB, seed: int = 0) -> Path:
    """Write checkpoint.pth, config.yaml and words.npy (none for `words=None`) as published; return the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    state = _published_state(None if words is None else tuple(words), vocab, seed)
    torch.save({"codec_model": state}, folder / "checkpoint.pth")
    arguments = {
        **PUBLISHED_ENCODER,
        **PUBLISHED_DECODER,
        "encoder_rates": [3, 4, 5, 8],
        "decoder_rates": [8, 5, 4, 3],
        "latent_dim": 128,
        "vq_strides": [4, 2, 1],
        "sample_rate": 16_000,
        "use_cblinear": True,
        "local_embedding_path": "not/here.pt",
        "global_embedding_path": "not/here.pth",
    }
    config = {"sample_rate": 16_000, "generator": {"name": "MSCodecLM", "config": arguments}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    if words is not None:
        np.save(folder / "words.npy", np.array(words))
    return folder / "checkpoint.pth"


def chirps(samples: int, seed: int = 0) -> Tensor:
    """A wav [1, 1, samples] that changes all the time: a new chord, loudness and noise every 75 ms."""
    random = np.random.RandomState(seed)
    time = np.arange(1_200) / 16_000
    pieces = []
    for _ in range(-(-samples // len(time))):
        chord = sum(np.sin(2 * np.pi * frequency * time) for frequency in 2 ** random.uniform(7, 12.5, 2))
        noise = random.choice((0, 0.001, 0.1)) * random.standard_normal(len(time))
        pieces.append(random.uniform(0, 0.2) * chord + noise)
    return torch.from_numpy(np.concatenate(pieces)[:samples].clip(-1, 1)).float()[None, None]
