"""Writes the generated pages of the site: command line, Python API, task keys and tables of results.

python docs/build.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import make_answers
import make_api
import make_cli
import make_enhancement
import make_results
import make_task_reference

PAGES: tuple[tuple[Path, Callable[[], str]], ...] = (
    (make_answers.TARGET, make_answers.reference),
    (make_api.TARGET, make_api.reference),
    (make_cli.TARGET, make_cli.reference),
    (make_enhancement.TARGET, make_enhancement.reference),
    (make_results.TARGET, make_results.reference),
    (make_results.README, make_results.readme),
    (make_task_reference.TARGET, make_task_reference.reference),
)


def main() -> int:
    """Write the pages; with --check, only say which are out of date."""
    stale = [path for path, make in PAGES if not path.is_file() or path.read_text(encoding="utf-8") != make()]
    for path in stale:
        print(f"{path.name}: {'out of date, run `make docs`' if '--check' in sys.argv else 'written'}")
    if "--check" in sys.argv:
        return bool(stale)
    for path, make in PAGES:
        if path in stale:
            path.write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
