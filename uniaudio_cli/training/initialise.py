"""The codec that training starts from: a new one with an LLM's embeddings, or a trained one made trainable again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.config import CodecConfig, as_tuples
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.llm.tokenizer import Tokenizer, load_tokenizer
from uniaudio_cli.models.registry import resolve_codec, resolve_lm
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.words import Levels, choose_words, codebooks, read_vocabulary, read_word_list


@dataclass(frozen=True)
class Lexicon:
    """The LLM's tokenizer and `embeddings`, its input embeddings: float32 [V, E]."""

    name: str
    tokenizer: Tokenizer
    embeddings: np.ndarray


def load_lexicon(name: str, offline: bool = False, say: Callable[[str], None] = lambda line: None) -> Lexicon:
    """The tokenizer and the embeddings of an LLM by preset, folder or hub name."""
    from transformers import AutoModelForCausalLM

    folder = resolve_lm(name, offline, say).folder
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    embeddings = model.get_input_embeddings().weight.detach().float().numpy()  # type: ignore[operator]
    return Lexicon(name, load_tokenizer(str(folder)), embeddings)


def initial_codec(recipe: Recipe, lexicon: Lexicon) -> Codec:
    """The trainable codec of the recipe.

    Raises:
        UsageError: the codec does not fit the recipe or the LLM.
    """
    if recipe.init is not None:
        files = resolve_codec(recipe.init)
        start = load_codec(files.weights, files.config, files.words)
        codec = trainable_copy(start, lexicon, recipe.trainable == "coarse")
    elif recipe.vocabulary is not None:
        codec = new_codec(recipe, read_vocabulary(recipe.vocabulary), lexicon)
    else:
        codec = new_codec(recipe, choose_levels(recipe.sizes, recipe.word_list, lexicon, recipe.seed), lexicon)
    if recipe.trainable in ("coarse", "fine", "codes") and codec.coarse_encoder is None:
        raise UsageError(f"trainable: {recipe.trainable} is for a codec whose level 0 has an encoder of its own (init)")
    return codec


def choose_levels(sizes: tuple[int, ...], words: Path | None, lexicon: Lexicon, seed: int, pieces: int = 1) -> Levels:
    """`choose_words` with the allowed words from a file; None for the LLM's own.

    Raises:
        UsageError: the file cannot be read.
    """
    allowed = read_word_list(words) if words else None
    return choose_words(lexicon.tokenizer, lexicon.embeddings, sizes, allowed, pieces, seed)


def new_codec(recipe: Recipe, levels: Levels, lexicon: Lexicon) -> Codec:
    """An untrained codec whose frozen codebooks are the words' embeddings.

    Raises:
        UsageError: the levels do not have the recipe's sizes.
    """
    books = codebooks(levels, lexicon.tokenizer, lexicon.embeddings)
    sizes = tuple(len(book) for book in books)
    if sizes != recipe.sizes:
        raise UsageError(
            f"the vocabulary has levels of {list(sizes)} codes, and the recipe's sizes are {list(recipe.sizes)}"
        )
    torch.manual_seed(recipe.seed)
    given = {key: as_tuples(value) for key, value in recipe.codec.items()}
    codec = Codec(CodecConfig(sizes=sizes, embedding_dim=books[0].shape[1], words=levels, llm=recipe.lm, **given))
    for level, book in zip(codec.quantizer.levels(), books, strict=True):
        level.codebook.weight.data.copy_(torch.from_numpy(book))
    return codec


def trainable_copy(start: Codec, lexicon: Lexicon, coarse: bool = False) -> Codec:
    """A trainable codec that encodes and decodes as `start`, which may have projected codebooks only.

    `coarse`: copy the encoder for level 0 where it has none of its own.

    The raw codebooks are computed from the words, and each level's layer is the least-squares map from the raw to the
    projected codebook (of minimal norm where there are fewer codes than dimensions). It is exact up to rounding where
    the projected codebook is such a map's output, and the nearest map for a codec that has got other words since.

    Raises:
        UsageError: the LLM lacks words of `start`, its codebooks are of another LLM, or `coarse` is given and the
            architecture does not allow it.
    """
    config = start.config
    if coarse and not start.architecture.allows_coarse_encoder:
        raise UsageError(f"trainable: coarse is not for codecs of the {config.architecture} architecture")
    if coarse and not config.coarse_encoder:
        config = config.replace(coarse_encoder=config.encoder)
    wanted = {id for words in start.config.words for word in words or () for id in lexicon.tokenizer.word_ids(word)}
    if wanted and max(wanted) >= len(lexicon.embeddings):
        raise UsageError(f"init: a codec in words of {start.config.llm} that {lexicon.name} does not have")
    codec = Codec(config)
    codec.encoder.load_state_dict(start.encoder.state_dict())
    codec.decoder.load_state_dict(start.decoder.state_dict())
    if codec.coarse_encoder is not None:
        codec.coarse_encoder.load_state_dict((start.coarse_encoder or start.encoder).state_dict())
    books = codebooks(start.config.words, lexicon.tokenizer, lexicon.embeddings)
    for level, known, book in zip(codec.quantizer.levels(), start.quantizer.levels(), books, strict=True):
        projected = known.projection().double()
        if book.shape != (len(projected), start.config.embedding_dim):
            raise UsageError(f"init: a codec made for {start.config.llm}, not for {lexicon.name}")
        codebook = torch.from_numpy(book).double()
        affine = torch.cat([codebook, torch.ones(len(codebook), 1, dtype=torch.float64)], dim=1)
        solution = torch.linalg.lstsq(affine, projected, driver="gelsd").solution
        level.codebook.weight.data.copy_(codebook)
        level.cb_proj.weight.data.copy_(solution[:-1].T)
        level.cb_proj.bias.data.copy_(solution[-1])
    return codec
