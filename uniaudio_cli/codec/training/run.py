"""`uniaudio codec train`: a recipe and a run folder in, a trained codec out. Puts words, audio and teacher together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.description import read_description
from uniaudio_cli.codec.model import Codec, CodecConfig
from uniaudio_cli.codec.training.data import PackedAudio, load_packed, pack
from uniaudio_cli.codec.training.loop import Progress, Trainer
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Units, cache_features, make_units, whisper_teacher
from uniaudio_cli.codec.training.words import choose_words, standardised
from uniaudio_cli.device import choose_device
from uniaudio_cli.errors import UsageError
from uniaudio_cli.models import resolve_codec, resolve_judge, resolve_lm


def new_codec(recipe: Recipe, tokens: list[str], embeddings: np.ndarray) -> Codec:
    """An untrained codec whose frozen codebooks are the chosen words' standardised embeddings, in float16 steps."""
    allowed = set(recipe.words.read_text(encoding="utf-8").split()) if recipe.words else None
    levels = choose_words(tokens, embeddings, recipe.sizes, allowed, recipe.seed)
    torch.manual_seed(recipe.seed)
    config = CodecConfig(
        sizes=recipe.sizes,
        embedding_dim=embeddings.shape[1],
        words=tuple(tuple(words) for words, _ in levels),
        llm=recipe.lm,
        **recipe.codec,
    )
    codec = Codec(config)
    for level, (_, codebook) in zip(codec.quantizer.levels(), levels, strict=True):
        # Shipped in float16, so trained on what will be shipped.
        level.codebook.weight.data.copy_(torch.from_numpy(codebook).half().float())
    return codec


def continued(start: Codec, tokens: list[str], embeddings: np.ndarray) -> Codec:
    """A trainable codec that encodes and decodes as `start` does, which may hold nothing but projected tables.

    The codebooks are made again from the words, and each level's layer is the least-squares map (shortest, where there
    are fewer codes than dimensions) from its codebook to its table; with float32 tables that is exact to rounding.

    Raises:
        UsageError: `start` is in words that the LLM does not have.
    """
    rows = {token[1:]: number for number, token in enumerate(tokens) if token[:1] in ("Ġ", "▁")}
    space = standardised(embeddings)
    codec = Codec(start.config)
    codec.encoder.load_state_dict(start.encoder.state_dict())
    codec.decoder.load_state_dict(start.decoder.state_dict())
    levels = zip(codec.quantizer.levels(), start.quantizer.levels(), start.config.words, strict=True)
    for level, known, words in levels:
        if words is None or not rows.keys() >= set(words):
            raise UsageError(f"init: a codec in words of {start.config.llm} that the recipe's LLM does not have")
        codebook = torch.from_numpy(space[[rows[word] for word in words]]).half().double()
        ones = torch.ones(len(codebook), 1, dtype=torch.float64)
        solution = torch.linalg.lstsq(torch.cat([codebook, ones], dim=1), known.projection().double(), driver="gelsd")
        level.codebook.weight.data.copy_(codebook)
        level.cb_proj.weight.data.copy_(solution.solution[:-1].T)
        level.cb_proj.bias.data.copy_(solution.solution[-1])
    return codec


def lm_words(folder: Path) -> tuple[list[str], np.ndarray]:
    """Token texts (word marks in place) and float32 input embeddings [V, E] of a transformers model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    embeddings = model.get_input_embeddings().weight.detach().numpy()  # type: ignore[operator]
    return [str(tokenizer.convert_ids_to_tokens(i)) for i in range(len(embeddings))], embeddings


def prepare_teacher(recipe: Recipe, packed: PackedAudio, folder: Path, say: Callable[[str], None]) -> Units:
    """The teacher's targets of all packed audio, computed once and kept beside it."""
    targets = recipe.cache / f"targets-{recipe.sizes[0]}-{recipe.unit_dim}-{recipe.teacher_dim}.npz"
    if not targets.exists():
        clips = np.flatnonzero(packed.kinds != "music")
        features = cache_features(
            packed,
            clips,
            lambda: whisper_teacher(folder),
            recipe.cache / "teacher",
            lambda done: say(f"teacher: {done:.0%}"),
        )
        units = make_units(packed, features, recipe.sizes[0], recipe.unit_dim, recipe.teacher_dim, recipe.seed)
        np.savez(targets, reduced=units.reduced, units=units.units)
    loaded = np.load(targets)
    return Units(loaded["reduced"], loaded["units"])


def train_recipe(
    recipe: Recipe,
    folder: Path,
    device: str,
    resume: bool = False,
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """`train` with the recipe's LLM and teacher found by name."""
    lm = resolve_lm(recipe.lm, offline, say)
    teacher = resolve_judge(recipe.teacher_model, offline, say) if recipe.teacher_model else None
    return train(recipe, folder, lm.folder, teacher, torch.device(choose_device(device)), resume, say, report)


def train(
    recipe: Recipe,
    folder: Path,
    lm_folder: Path,
    teacher_folder: Path | None,
    device: torch.device,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Run the recipe in `folder` and return the path of the codec it leaves there.

    Raises:
        UsageError: `folder` holds a run already and `resume` is not given.
    """
    state = folder / "state.pt"
    if state.exists() and not resume:
        raise UsageError(f"{folder}: holds a run already; go on with --resume or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.audio:
        packed = pack(
            list(recipe.audio), recipe.cache, int(recipe.codec["sample_rate"]), float(recipe.codec["level_db"])
        )
    else:
        packed = load_packed(recipe.cache)
    teacher = prepare_teacher(recipe, packed, teacher_folder, say) if teacher_folder is not None else None
    checkpoint = folder / f"{recipe.name}.safetensors"
    if resume and checkpoint.exists():
        # The weights, codebooks among them, come with the state.
        codec = Codec(read_description(checkpoint.with_suffix(".json")))
    elif recipe.init is not None:
        files = resolve_codec(recipe.init)
        codec = continued(load_codec(files.weights, files.config, files.words), *lm_words(lm_folder))
    else:
        codec = new_codec(recipe, *lm_words(lm_folder))
    trainer = Trainer(recipe, codec, packed, teacher, folder, device)
    if resume:
        trainer.resume()
    trainer.run(report)
    return checkpoint
