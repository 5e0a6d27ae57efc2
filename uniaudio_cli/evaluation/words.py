"""What the LLM is given of a clip, as text for people."""

from __future__ import annotations

from pathlib import Path

from uniaudio_cli.audio.levels import TAGS
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.evaluation import zero_shot
from uniaudio_cli.evaluation.systems import Setup
from uniaudio_cli.inference.session import Models
from uniaudio_cli.prompting.task import Task

# Classes of the tagger that are named.
CLASSES = 5


def clip_words(setup: Setup, path: Path) -> str:
    """The words of a clip in the prompt, or the classes that stand for it where labels come from their names.

    "" where no LLM takes part, and for a clip that cannot be read.
    """
    try:
        if tags := setup.shared.get(zero_shot.SHARED):
            posterior = tags.posterior(path)
            likeliest = posterior.argsort()[::-1][:CLASSES]
            return ", ".join(f"{tags.session.class_names[place]} {posterior[place]:.2f}" for place in likeliest)
        needs_models = setup.task.uses_lm or setup.task.label_names
        return prompt_words(setup.models, setup.task, path) if needs_models else ""
    except UniAudioError:
        return ""


def prompt_words(models: Models, task: Task, path: Path) -> str:
    """The words of a clip, level by level, as a prompt of the task has them; "" where no LLM takes part.

    Where the labels' names count, these are the tagger's classes that stand out, for which the LLM scores the names.

    Raises:
        UniAudioError: the clip cannot be read.
    """
    if task.label_names and models.encoder.frozen is not None:
        encoded = models.encoder.encode_with_offsets(path, task)[0]
        return ", ".join(models.encoder.frozen.words(TAGS, tuple(encoded.level(TAGS))))
    if not task.uses_lm:
        return ""
    clip = models.encoder.encode_with_offsets(path, task)[0].as_audio(task.levels)
    return " / ".join(" ".join(row) for row in models.vocabulary.words(clip.codes, clip.levels))
