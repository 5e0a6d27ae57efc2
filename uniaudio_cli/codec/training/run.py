"""`uniaudio codec train`: a recipe and a run folder in, a trained codec out. Puts the parts together."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from uniaudio_cli.codec.config import read_description
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.training.data import load_packed, pack
from uniaudio_cli.codec.training.encoders import SentenceEncoder, YAMNetTeacher, frame_teacher
from uniaudio_cli.codec.training.initialise import first_codec, load_lexicon
from uniaudio_cli.codec.training.loop import Progress, Trainer
from uniaudio_cli.codec.training.numbering import renumbered
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import FrameTeacher, SoundTeacher, TextTeacher, prepare
from uniaudio_cli.core.device import choose_device
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.models.registry import resolve_teacher


def train(
    recipe: Recipe,
    folder: Path,
    device: str,
    resume: bool = False,
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Run the recipe in `folder`, its models found by name, and return the path of the codec it leaves there.

    Raises:
        UsageError: `folder` holds a run already and `resume` is not given, or the other way round.
    """
    going = (folder / "state.pt").exists()
    if going and not resume:
        raise UsageError(f"{show(folder)}: holds a run already; go on with --resume or name another folder")
    if resume and not going:
        raise UsageError(f"{show(folder)}: holds no run to resume")
    if recipe.validation.samples and find_spec("matplotlib") is None:  # or the first validation would be the end
        raise UsageError("pictures of samples need matplotlib: pip install 'uniaudio[train]', or validation.samples=0")
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        cpu=choose_device(device) == "cpu",
    )
    rate, level_db = int(recipe.codec["sample_rate"]), recipe.codec.get("level_db")

    def frames() -> FrameTeacher:
        return frame_teacher(resolve_teacher(recipe.teacher_model or "", offline, say))

    def texts() -> TextTeacher:
        return SentenceEncoder(resolve_teacher(recipe.text_teacher or "", offline, say))

    def sounds() -> SoundTeacher:
        return YAMNetTeacher(resolve_teacher(recipe.sound_teacher or "", offline, say))

    # One process packs and asks the teachers; the others find it done.
    with accelerator.main_process_first():
        packed = load_packed(recipe.cache) if recipe.audio is None else pack(recipe.audio, recipe.cache, rate, level_db)
        targets = prepare(recipe, packed, frames, texts, sounds, say)
    if going:  # its weights come with the state
        codec = Codec(read_description(folder / f"{recipe.name}.json"))
    else:
        codec = first_codec(recipe, load_lexicon(recipe.lm, offline, say))
    numbers = folder / "units.npy"
    if recipe.init is not None and (not going or numbers.exists()):  # a run from before there were any goes on without
        with accelerator.main_process_first():
            if accelerator.is_main_process and not going:
                numbers.unlink(missing_ok=True)  # of a run that was stopped before it saved, perhaps on other audio
            targets = renumbered(recipe, targets, packed, codec, numbers)
    trainer = Trainer(recipe, codec, packed, targets, folder, accelerator)
    if going:
        trainer.resume()
    trainer.run(report)
    return folder / f"{recipe.name}.safetensors"
