"""`Recipe`: how a codec is trained, as YAML; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from uniaudio_cli.codec.architectures.base import Count, Counts
from uniaudio_cli.codec.config import as_tuples
from uniaudio_cli.core.schema import FROM_LIST, Expected, FilePath, Schema, load_yaml, parse_settings, require

LOSSES = (
    "time",
    "mel",
    "stft",
    "subband",
    "loudness",
    "envelope",
    "cycle",
    "adversarial",
    "feature_matching",
    "commitment",
    "codebook",
    "entropy",
    "units",
    "consistency",
    "semantic",
)
# Losses of the codes alone, which have no gradient for a decoder, and those that train level 0's own encoder.
CODE_LOSSES = ("commitment", "codebook", "entropy", "units", "consistency", "semantic")
COARSE_LOSSES = ("units", "consistency")
NEEDS = {
    "adversarial": "discriminators",
    "feature_matching": "discriminators",
    "units": "speech_teacher",
    "consistency": "speech_teacher",
    "semantic": "text_teacher",
}

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Weights = Annotated[Mapping[str, float], Expected("a mapping of names to numbers")]
CodecFields = Annotated[Mapping[str, Any], BeforeValidator(as_tuples), Expected("a mapping of a codec's fields")]
Hops = Annotated[
    tuple[Annotated[int, Field(ge=16)], ...],
    Field(min_length=1),
    FROM_LIST,
    Expected("a list of whole numbers, 16 samples or more each"),
]
Paths = Annotated[tuple[FilePath, ...], Field(min_length=1), FROM_LIST, Expected("a list of paths")]


class DiscriminatorSettings(Schema):
    """The discriminators of adversarial training, one per hop."""

    hops: Hops = Field((32, 64, 128, 256, 512, 1024), description="STFT hop of each discriminator, samples.")
    channels: Counts = Field((64, 128, 256, 512, 512, 512), description="Channels of each discriminator.")
    start: int = Field(0, ge=0, description="Step at which adversarial training begins.")
    learning_rate: Positive = Field(2e-4, description="Learning rate of the discriminators.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(len(self.hops) == len(self.channels), "channels", "one per hop", self.channels)
        return self


class ValidationSettings(Schema):
    """Validation during training."""

    every: Count = Field(1000, description="Steps between validations.")
    batches: Count = Field(8, description="Batches of the validation split.")
    samples: int = Field(4, ge=0, description="Decoded clips to write, with spectrograms.")


class Recipe(Schema):
    """How a codec is trained."""

    name: str = Field(description="Name of the codec's files.")
    lm: str = Field(description="The LLM whose embeddings the codebooks are: preset, folder or hub name.")
    codec: CodecFields = Field(description="Fields of `CodecConfig` without words, sizes and embeddings.")
    sizes: Counts = Field(description="Codes per level, coarsest first.")
    cache: FilePath = Field(description="Folder for packed audio and teacher targets.")
    losses: Weights = Field(description="Weight of each loss by name; losses left out are not computed.")

    audio: Paths | None = Field(
        None,
        description="Folders (with metadata.jsonl or without), files and lists of files; null uses the packed audio "
        "of `cache` as it is.",
    )
    word_list: FilePath | None = Field(None, description="File of whole words, one a line, to choose words from.")
    vocabulary: FilePath | None = Field(None, description="File of `codec vocabulary build`; replaces `word_list`.")
    init: str | None = Field(
        None,
        description="Codec (preset or checkpoint) to continue from; its architecture and words replace the recipe's.",
    )
    trainable: Literal["all", "coarse", "fine", "codes", "decoder"] = Field(
        "all",
        description="Part that is trained. coarse: level 0's own encoder (copied from the other where it has none) and "
        "its projection, by the units and consistency losses. fine: all but these, so level-0 codes do not change. "
        "codes: fine less the decoder, which keeps what discriminators trained. "
        "decoder: the decoder alone, so no code changes.",
    )

    speech_teacher: str | None = Field(None, description="Whisper encoder: folder or preset.")
    consistency_dim: Count = Field(64, description="Whitened teacher dimensions of the consistency loss.")
    unit_dim: Count = Field(256, description="Whitened teacher dimensions that are clustered to units.")
    sound_teacher: str | None = Field(None, description="YAMNet (folder or preset) for the units of sounds.")
    sound_units: Count = Field(64, description="How many of level 0's units are of sounds.")
    text_teacher: str | None = Field(None, description="Text encoder of the semantic loss: folder or preset.")

    kind_weights: Weights = Field({}, description="Factor of a clip's sampling probability by its kind; else 1.")
    batch_size: Count = Field(16, description="Crops of a batch, per process.")
    gradient_accumulation: Count = Field(1, description="Batches per step.")
    crop_frames: Count = Field(12, description="Level-0 frames of a crop.")
    gain_db: float = Field(3.0, description="A crop's gain is uniform within plus or minus this, dB.")
    tempo: Share = Field(0.0, description="A crop plays up to this share faster or slower, its pitch too.")
    band_limit_probability: Share = Field(
        0.0, description="Probability that a crop, target included, is low-passed at 3 to 4 kHz."
    )
    degrade_probability: Share = Field(
        0.0, description="Probability that the encoder's input alone has noise, reverberation or a band limit."
    )
    vtlp: Share = Field(0.0, description="Vocal tract length perturbation: mel bands move up to this share.")

    steps: Count = Field(10_000, description="Steps of the whole run.")
    learning_rate: Positive = Field(5e-4, description="Highest learning rate, of AdamW.")
    warmup_steps: int = Field(300, ge=0, description="Steps of linear warm-up.")
    decay_fraction: Share = Field(0.3, description="Last share of the steps, of linear decay to 0.")
    gradient_clip_norm: Positive = Field(1.0, description="Largest norm of a gradient.")
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Decay of the moving average of weights that is validated and saved; 0: none."
    )
    discriminators: DiscriminatorSettings | None = Field(None, description="Adversarial training; null for none.")
    validation: ValidationSettings = Field(ValidationSettings(), description="Validation during training.")
    bfloat16: bool = Field(True, description="Whether networks run in bfloat16 autocast.")
    compile: bool = Field(False, description="Whether networks are compiled by torch.compile.")
    log_every: Count = Field(50, description="Steps between reports.")
    save_every: Count = Field(250, description="Steps between saved states.")
    seed: int = Field(0, description="Seed of weights, crops and clusters.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sound_teacher is not None:
            require(self.speech_teacher is not None, "speech_teacher", "given beside a sound_teacher", None)
            fewer = self.sound_units < self.sizes[0]
            require(fewer, "sound_units", "1 or more, below sizes[0]", self.sound_units)
        one = self.init is None or self.vocabulary is None
        require(one, "vocabulary", "left out beside init", str(self.vocabulary))
        require(len(self.sizes) == len(self.codec.get("strides", ())), "sizes", "one size per stride", self.sizes)
        require(not self.vtlp or self.trainable == "coarse", "vtlp", "0 unless trainable is coarse", self.vtlp)
        unused = self.discriminators is not None and self.trainable == "coarse"
        require(not unused, "discriminators", "left out where trainable is coarse", "given")
        for name in self.losses:
            require(name in LOSSES, f"losses.{name}", f"one of {', '.join(LOSSES)}", name)
        for name in LOSSES:
            fits = {"decoder": name not in CODE_LOSSES, "coarse": name in COARSE_LOSSES}.get(self.trainable, True)
            weight, must = self.weight(name), f"left out where trainable is {self.trainable}"
            require(fits or not weight, f"losses.{name}", must, weight)
            if name in NEEDS and weight:
                require(getattr(self, NEEDS[name]) is not None, NEEDS[name], f"given for the loss '{name}'", None)
        return self

    def weight(self, loss: str) -> float:
        """The weight of a loss; 0 where it is left out."""
        return self.losses.get(loss, 0.0)


def load_recipe(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """A recipe's YAML; `settings` are "key=value" or "section.key=value" in place of the file's values.

    Raises:
        UsageError: as `load_yaml` and `parse_settings`.
    """
    return load_yaml(path, Recipe, parse_settings(settings))
