"""docs/CLI.md is what the commands say of themselves."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("columns", ["30", "300"])
def test_the_reference_is_up_to_date(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    fresh = runpy.run_path(str(DOCS / "make_cli.py"))["reference"]()
    assert (DOCS / "CLI.md").read_text(encoding="utf-8") == fresh, "run `python docs/make_cli.py`"
