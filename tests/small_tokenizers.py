"""Real tokenizers for the tests: a byte-level BPE trained on the spot, the SentencePiece model of a dev dependency."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from uniaudio_cli.core.errors import MissingWeightsError
from uniaudio_cli.llm.tokenizer import HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer
from uniaudio_cli.models.registry import resolve_lm

STEMS = ["river", "stone", "cloud", "paper", "garden", "window", "bridge", "winter"]
STEMS += ["candle", "mirror", "basket", "forest", "silver", "pocket"]
# Most words of two stems go on where one of a single stem ends: "river", "riverstone".
WORDS = [*STEMS, *(a + b for a in STEMS[:6] for b in STEMS[:4] if a != b)]


def byte_bpe_object() -> Any:
    """A transformers tokenizer of GPT-2's kind: stems are one id, longer words two or three."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(["Input: < > Output:", *STEMS]) + "\n"] * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def byte_bpe() -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(byte_bpe_object())


def sentencepiece_model() -> Path:
    """A SentencePiece model of LLaMA's kind, 32,000 pieces."""
    package = pytest.importorskip("mistral_common")
    return Path(package.__file__).parent / "data" / "tokenizer.model.v1"


def sentencepiece() -> SentencePieceTokenizer:
    from sentencepiece import SentencePieceProcessor

    return SentencePieceTokenizer(SentencePieceProcessor(model_file=str(sentencepiece_model())))


def smollm2() -> HuggingFaceTokenizer:
    """The default LLM's own tokenizer, where it has been prepared."""
    try:
        loaded = load_tokenizer(resolve_lm("smollm2-135m", offline=True).folder)
    except MissingWeightsError:
        pytest.skip("SmolLM2 is not prepared here")
    assert isinstance(loaded, HuggingFaceTokenizer)
    return loaded


def random_codes(draw: random.Random, sizes: list[int], strides: list[int]) -> list[list[int]]:
    """Codes of 1 to 5 coarsest frames, all levels."""
    frames = draw.randint(1, 5) * max(strides)
    return [
        [draw.randrange(size) for _ in range(frames // stride)] for size, stride in zip(sizes, strides, strict=True)
    ]
