"""What a benchmark has found so far, on disk, so that a run that was stopped goes on. Knows no audio, no LLM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show


class Kept:
    """Findings by name; in `path`, where there is one, a line each as JSON, below a line that says what they are about.

    Raises:
        UsageError: `path` holds findings about something else, or none at all.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.found = path, dict[str, Any]()
        if path is None:
            return
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(about)
            return
        lines = path.read_text(encoding="utf-8").split("\n")
        whole = lines[:-1]  # a run that was killed may have left half a line
        try:
            first, *rows = map(json.loads, whole)
            self.found = {row["name"]: row["found"] for row in rows}
        except (ValueError, KeyError, TypeError) as problem:
            raise UsageError(f"{show(path)}: holds no findings of this benchmark; name another file") from problem
        if first != about:
            other = ", ".join(key for key in {**first, **about} if first.get(key) != about.get(key))
            raise UsageError(f"{show(path)}: was made with another {other}; name another file")
        if lines[-1]:
            path.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """What `find` finds, or found in an earlier run."""
        if name not in self.found:
            self.found[name] = find()
            if self.path is not None:
                self._append({"name": name, "found": self.found[name]})
        return self.found[name]

    def _append(self, row: dict[str, Any]) -> None:
        assert self.path is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
