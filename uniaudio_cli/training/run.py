"""`uniaudio codec train`: runs a recipe in a folder and leaves a trained codec there."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from uniaudio_cli.codec.architectures import REGISTRY
from uniaudio_cli.codec.config import read_description
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.device import choose_device
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.models.registry import resolve_teacher
from uniaudio_cli.training.data import STEPS_PER_FRAME, load_packed, pack
from uniaudio_cli.training.encoders import SentenceEncoder, YAMNetTeacher, frame_teacher
from uniaudio_cli.training.initialise import initial_codec, load_lexicon
from uniaudio_cli.training.loop import Progress, Trainer
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.teachers import FrameTeacher, SoundTeacher, TextTeacher, teacher_targets
from uniaudio_cli.training.unit_matching import match_units


def train(
    recipe: Recipe,
    folder: Path,
    device: str,
    resume: bool = False,
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Run the recipe in `folder`, with models found by name, and return the trained codec's path.

    Raises:
        UsageError: `folder` holds a run and `resume` is not given, or it holds none to resume.
    """
    resuming = (folder / "state.pt").exists()
    if resuming and not resume:
        raise UsageError(f"{show(folder)}: holds a run already; go on with --resume or name another folder")
    if resume and not resuming:
        raise UsageError(f"{show(folder)}: holds no run to resume")
    if recipe.validation.samples and find_spec("matplotlib") is None:  # not first at validation
        raise UsageError("pictures of samples need matplotlib: pip install 'uniaudio[train]', or validation.samples=0")
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=choose_device(device) == "cpu")
    rate, level_db = int(recipe.codec["sample_rate"]), recipe.codec.get("level_db")
    frame = frame_length(recipe)

    def frames() -> FrameTeacher:
        return frame_teacher(resolve_teacher(recipe.speech_teacher or "", offline, say), frame // STEPS_PER_FRAME)

    def texts() -> TextTeacher:
        return SentenceEncoder(resolve_teacher(recipe.text_teacher or "", offline, say))

    def sounds() -> SoundTeacher:
        return YAMNetTeacher(resolve_teacher(recipe.sound_teacher or "", offline, say), frame)

    # The main process packs and runs the teachers; the others read the cache.
    with accelerator.main_process_first():
        if recipe.audio is None:
            packed = load_packed(recipe.cache)
        else:
            packed = pack(recipe.audio, recipe.cache, rate, level_db, frame)
        targets = teacher_targets(recipe, packed, frames, texts, sounds, say)
    if resuming:  # the state holds the weights
        codec = Codec(read_description(folder / f"{recipe.name}.json"))
    else:
        codec = initial_codec(recipe, load_lexicon(recipe.lm, offline, say))
    matching = folder / "units.npy"
    if recipe.init is not None and recipe.weight("units") and (not resuming or matching.exists()):
        with accelerator.main_process_first():
            if accelerator.is_main_process and not resuming:
                matching.unlink(missing_ok=True)  # of a run that was stopped before its first save
            targets = match_units(recipe, targets, packed, codec, matching)
    trainer = Trainer(recipe, codec, packed, targets, folder, accelerator)
    if resuming:
        trainer.resume()
    trainer.run(report)
    return folder / f"{recipe.name}.safetensors"


def frame_length(recipe: Recipe) -> int:
    """Samples per level-0 frame of the recipe's codec.

    Raises:
        UsageError: the recipe names no hop and no architecture that gives one.
    """
    codec = recipe.codec
    if "hop_length" in codec:
        return int(codec["hop_length"]) * int(codec["strides"][0])
    architecture = REGISTRY.get(str(codec.get("architecture")))
    if architecture is None:
        raise UsageError(f"codec.architecture: must be one of {', '.join(REGISTRY)}")
    return architecture.hop_of(codec.get("encoder", {})) * int(codec["strides"][0])
