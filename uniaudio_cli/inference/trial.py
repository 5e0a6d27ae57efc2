"""A trial prompt: checks a task's template and instruction with seeded noise for audio; no LLM is needed."""

from __future__ import annotations

import torch

from uniaudio_cli.audio.levels import FROZEN_LEVELS
from uniaudio_cli.audio.prosody import measure_prosody, prosody_codes
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.inference.encoder import EncodedClip
from uniaudio_cli.inference.session import layout_of
from uniaudio_cli.prompting.prompt import Audio, Example, Piece, Prompt, Text, build_prompt
from uniaudio_cli.prompting.task import Task
from uniaudio_cli.prompting.template import load_template
from uniaudio_cli.prompting.vocabulary import Vocabulary


def trial_prompt(task: Task, codec: Codec, vocabulary: Vocabulary) -> Prompt:
    """A real prompt of the task with two demonstrations, every clip being seeded noise.

    Raises:
        UsageError: the task's template or instruction does not work.
    """
    noise = 0.1 * torch.randn(1, int(task.clip.seconds * codec.sample_rate), generator=torch.Generator().manual_seed(0))
    codes = [level[0].tolist() for level in codec.encode(noise[None])]
    prosody = tuple(prosody_codes(measure_prosody(noise, codec.sample_rate)))
    # Levels of frozen encoders have no prompt: the coarsest of the codec stands for them.
    levels = tuple(level for level in task.levels if level not in FROZEN_LEVELS) or (0,)
    audio = EncodedClip(codes, noise.shape[-1], prosody=prosody).as_audio(levels, layout_of(task, vocabulary))
    examples = [Example(*pieces) for pieces in _pairs(task, audio)]
    return build_prompt(task, load_template(task.template), examples, examples[0].input, vocabulary)


def _pairs(task: Task, audio: Audio) -> list[tuple[Piece, Piece]]:
    """Inputs and outputs of two demonstrations."""
    one, two = Text("one"), Text("two")
    pairs: dict[str, list[tuple[Piece, Piece]]] = {
        "classify": [(audio, one), (audio, two)],
        "speak": [(one, audio), (one, audio)],
        "enhance": [(audio, audio), (audio, audio)],
    }
    return pairs[task.kind]
