"""README and docs: generated pages are current, commands exist, README's commands run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from uniaudio_cli.cli.main import app

ROOT = Path(__file__).parents[2]
# The research log quotes commands of versions that are gone.
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name != "LOG.md")]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every `uniaudio` command of a page's shell blocks, split into words."""
    lines = [line for block in BLOCK.findall(page.read_text(encoding="utf-8")) for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("uniaudio ")]
    return [words[1 : words.index(">")] if ">" in words else words[1:] for words in found]


ALL = [(page, words) for page in PAGES for words in commands(page)]


def test_pages_show_commands():
    assert len(ALL) > 40
    assert len(commands(ROOT / "README.md")) >= 5


@pytest.mark.parametrize(("page", "words"), ALL, ids=lambda value: getattr(value, "name", None) or " ".join(value)[:60])
def test_every_command_shown_exists(page, words):
    """The command and its options are parsed as the command line does; nothing is run."""
    command, arguments = typer.main.get_command(app), words
    while hasattr(command, "commands"):
        name, *rest = arguments
        if name not in command.commands:  # `uniaudio eval FOLDER` is `uniaudio eval run FOLDER`
            name, rest = "run", arguments
        command, arguments = command.commands[name], rest
    command.make_context(name, list(arguments))


def test_generated_pages_are_current():
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1000


@pytest.mark.slow
def test_readme_commands_run(tmp_path):
    """README's commands, in order, in a folder with the examples; folders that stand for one's own are made."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    sounds = ROOT / "examples" / "audio" / "sounds"
    stands_for = {"my-clips/": str(sounds), "clips/": str(sounds / "rain"), "demos/": str(sounds)}
    for words in commands(ROOT / "README.md"):
        given = [stands_for.get(word, word) for word in words]
        if given[0] == "eval":
            given += ["--episodes", "4"]
        command = [sys.executable, "-m", "uniaudio_cli", *given]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        if words[:2] == ["tasks", "show"]:
            (tmp_path / "mine.yaml").write_text(done.stdout, encoding="utf-8")
