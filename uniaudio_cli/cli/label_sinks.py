"""What a run of labels makes beside its records: clips in folders by label, features, and clips to label next."""

from __future__ import annotations

import csv
import filecmp
import io
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from uniaudio_cli.cli import params as options
from uniaudio_cli.cli.console import note
from uniaudio_cli.cli.label_output import UNDECIDED, writing
from uniaudio_cli.cli.output_paths import check_targets, refuse_stdout
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import atomic, is_folder, show

if TYPE_CHECKING:
    import numpy as np

    from uniaudio_cli.inference.results import ErrorResult, LabelResult

FEATURE_FILES = (".npy", ".csv", ".parquet")


class Sink(Protocol):
    """Takes every result in turn."""

    def __call__(self, result: LabelResult | ErrorResult) -> None: ...

    def finish(self) -> None:
        """After the last one."""


def check_sinks(outputs: options.LabelOutputs, given: Sequence[Path], force: bool) -> None:
    """Refuse outputs that cannot be written, before any model is loaded.

    Raises:
        UsageError: a folder that is not empty without --force or --resume, or lies in one of the inputs; a file of
            features that exists or has another ending; features of a run that is continued.
    """
    if outputs.copy_to is not None and outputs.link_to is not None:
        raise UsageError("--copy-to and --link-to: name one of them")
    if (folder := outputs.copy_to or outputs.link_to) is not None:
        flag = "--copy-to" if outputs.copy_to else "--link-to"
        refuse_stdout(folder, flag)
        if os.path.lexists(folder) and not is_folder(folder):
            raise UsageError(f"{flag} {show(folder)}: is a file, not a folder")
        if is_folder(folder) and any(folder.iterdir()) and not (force or outputs.resume):
            raise UsageError(f"{flag} {show(folder)}: is not empty (pass --force to add to it)")
        home = Path(os.path.realpath(folder))
        for path in given:
            if is_folder(path) and Path(os.path.realpath(path)) in (home, *home.parents):
                raise UsageError(f"{flag} {show(folder)}: lies in the input {show(path)}; name a folder apart from it")
    if outputs.embed is not None:
        if outputs.resume:
            raise UsageError("--embed: takes all clips of a run; leave out --resume")
        if outputs.embed.suffix.lower() not in FEATURE_FILES:
            kinds = ", ".join(FEATURE_FILES)
            raise UsageError(f"{show(outputs.embed)}: features are written as {kinds}; end the name in one of these")
        if outputs.embed.suffix.lower() == ".parquet":
            _pyarrow(outputs.embed)
        check_targets([outputs.embed], force)


def open_sinks(stack: ExitStack, outputs: options.LabelOutputs, total: int, quiet: bool) -> list[Sink]:
    """The sinks that a command line names."""
    sinks: list[Sink] = []
    if outputs.copy_to is not None:
        sinks.append(ByLabel(outputs.copy_to, _copy))
    if outputs.link_to is not None:
        sinks.append(ByLabel(outputs.link_to, _link))
    if outputs.embed is not None:
        sinks.append(Features(outputs.embed, total, stack))
    if outputs.suggest:
        sinks.append(Suggested(outputs.suggest, quiet))
    return sinks


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as temporary:
        shutil.copy2(source, temporary)


def _link(source: Path, target: Path) -> None:
    target.symlink_to(os.path.realpath(source))


@dataclass
class ByLabel:
    """Clips in `folder`/LABEL; clips of one name are numbered. Clips that failed are left where they are."""

    folder: Path
    put: Callable[[Path, Path], object]
    _taken: set[Path] = field(default_factory=set)

    def __call__(self, result: LabelResult | ErrorResult) -> None:
        if not result.ok:
            return
        source = Path(result.file)
        home = self.folder / folder_name(getattr(result, "label", None) or UNDECIDED)
        with writing(home):
            home.mkdir(parents=True, exist_ok=True)
        target = self._free(home / source.name, source)
        with writing(target):
            if not os.path.lexists(target):
                self.put(source, target)

    def _free(self, target: Path, source: Path) -> Path:
        """`target`, with a number where that name is another clip's. An equal file of an earlier run is this clip's."""
        number, path = 1, target
        while path in self._taken or (os.path.lexists(path) and not _equal(path, source)):
            number += 1
            path = target.with_name(f"{target.stem}-{number}{target.suffix}")
        self._taken.add(path)
        return path

    def finish(self) -> None:
        pass


def folder_name(label: str) -> str:
    """A label as the name of one folder that is not hidden."""
    name = label.replace("/", "_").replace("\\", "_")
    return f"_{name[1:]}" if name.startswith(".") else name


def _equal(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return filecmp.cmp(one, other, shallow=False)
    return False


@dataclass
class Features:
    """A row of features a clip, in the order of the clips; NaN, or empty cells, for one that failed."""

    path: Path
    total: int
    stack: ExitStack
    _rows: int = 0
    _waiting: list[str] = field(default_factory=list)  # clips that failed before the size of a row is known
    _write: Callable[[str, str | None, np.ndarray | None], None] | None = None

    def __call__(self, result: LabelResult | ErrorResult) -> None:
        features = getattr(result, "features", None)
        if result.ok and features is None:
            raise UsageError("--embed: clips have features under readout similarity; pass --readout similarity")
        if self._write is None:
            if features is None:
                self._waiting.append(result.file)
                return
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._write = WRITERS[self.path.suffix.lower()](self.path, self.total, len(features), self.stack)
                for file in self._waiting:
                    self._write(file, None, None)
        with writing(self.path):
            self._write(result.file, getattr(result, "label", None), features)

    def finish(self) -> None:
        pass


def _npy(path: Path, total: int, size: int, stack: ExitStack) -> Callable[..., None]:
    """float32 [clips, F], row by row: a run of any length needs no memory for it. Not mapped: a full disk would end
    the process."""
    import numpy as np

    out = stack.enter_context(path.open("wb", buffering=0))
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (total, size)})
    rows = 0

    def write(file: str, label: str | None, features: np.ndarray | None) -> None:
        nonlocal rows
        row = np.full(size, np.nan) if features is None else features
        out.write(row.astype("<f4").tobytes())
        rows += 1

    def rest() -> None:
        """A run that is stopped leaves rows of NaN."""
        with writing(path):
            for _ in range(total - rows):
                write("", None, None)

    stack.callback(rest)
    return write


def _csv(path: Path, total: int, size: int, stack: ExitStack) -> Callable[..., None]:
    """Columns file, label and f0, f1, ..."""
    out = stack.enter_context(path.open("wb", buffering=0))

    def line(cells: Sequence[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        out.write(text.getvalue().encode("utf-8", "surrogateescape"))

    line(["file", "label", *(f"f{number}" for number in range(size))])

    def write(file: str, label: str | None, features: np.ndarray | None) -> None:
        line([file, label, *([""] * size if features is None else (f"{value:.6g}" for value in features))])

    return write


def _parquet(path: Path, total: int, size: int, stack: ExitStack) -> Callable[..., None]:
    """Columns file, label and features, a list of float32; a row group every 1,000 clips."""
    arrow, parquet = _pyarrow(path)
    schema = arrow.schema(
        [("file", arrow.string()), ("label", arrow.string()), ("features", arrow.list_(arrow.float32()))]
    )
    out = parquet.ParquetWriter(str(path), schema)
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        if rows:
            out.write_table(arrow.Table.from_pylist(rows, schema))
            rows.clear()

    def close() -> None:
        with writing(path):
            flush()
            out.close()

    stack.callback(close)

    def write(file: str, label: str | None, features: np.ndarray | None) -> None:
        rows.append({"file": show(file), "label": label, "features": None if features is None else features.tolist()})
        if len(rows) == 1000:
            flush()

    return write


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as problem:
        raise UsageError(
            f"{show(path)}: needs pyarrow: pip install 'uniaudio[parquet]', or write .npy or .csv"
        ) from problem
    return pyarrow, pyarrow.parquet


WRITERS: dict[str, Callable[[Path, int, int, ExitStack], Callable[..., None]]] = {
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}


class Suggested:
    """Names the clips that are most worth labelling next, on stderr."""

    def __init__(self, count: int, quiet: bool) -> None:
        from uniaudio_cli.inference.suggest import Suggestions

        self.suggestions, self.quiet = Suggestions(count), quiet

    def __call__(self, result: LabelResult | ErrorResult) -> None:
        from uniaudio_cli.inference.results import LabelResult

        if isinstance(result, LabelResult):
            self.suggestions.add(result)

    def finish(self) -> None:
        for result in self.suggestions.chosen():
            (label, p), *others = result.scores.items()
            following = f", {show(others[0][0])} {others[0][1]:.2f}" if others else ""
            note(f"label next: {show(result.file)} ({show(label)} {p:.2f}{following})", self.quiet)
