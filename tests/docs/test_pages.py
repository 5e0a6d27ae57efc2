"""README and docs: generated pages are current, commands exist and run."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
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


@pytest.fixture(scope="module")
def tree():
    """Not `main.parser()`: what is parsed here without its parent has no -h, and keeps that."""
    return typer.main.get_command(app)


@pytest.mark.parametrize(("page", "words"), ALL, ids=lambda value: getattr(value, "name", None) or " ".join(value)[:60])
def test_every_command_shown_exists(tree, page, words):
    """The command and its options are parsed as the command line does; nothing is run."""
    command, arguments = tree, words
    while hasattr(command, "commands"):
        name, *rest = arguments
        if name not in command.commands:  # `uniaudio eval FOLDER` is `uniaudio eval run FOLDER`
            name, rest = "run", arguments
        command, arguments = command.commands[name], rest
    command.make_context(name, list(arguments))


def test_generated_pages_are_current(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    assert (runpy.run_path(str(ROOT / "docs" / "build.py"))["main"](), capsys.readouterr().out) == (0, "")


def test_make_results_gives_the_committed_tables(tmp_path):
    """What `make results` runs, in a copy whose tables are gone."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nresults: setup\n")[1].split("\n\n")[0]
    scripts = re.findall(r"python (docs/\w+\.py)$", recipe, re.MULTILINE)
    makers = {name for name, text in _makers() if '"results"' in text}
    assert {Path(script).name for script in scripts} == makers
    for name in ("docs/results", *scripts):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    mark, end = "<!-- results -->\n", "<!-- /results -->\n"
    (tmp_path / "README.md").write_text(readme.split(mark)[0] + mark + end + readme.split(end)[1], encoding="utf-8")
    for script in scripts:
        subprocess.run([sys.executable, str(tmp_path / script)], check=True)
    written = [tmp_path / "README.md", *(tmp_path / "docs").glob("*.md")]
    assert len(written) == 1 + len(scripts)
    for path in written:
        assert path.read_text(encoding="utf-8") == (ROOT / path.relative_to(tmp_path)).read_text(encoding="utf-8")


def _makers() -> list[tuple[str, str]]:
    return [(path.name, path.read_text(encoding="utf-8")) for path in (ROOT / "docs").glob("make_*.py")]


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1000


# Commands that no test runs, by how they begin, and why.
NOT_RUN = {
    ("serve",): "runs until it is stopped; tests/serve runs it",
    ("codec", "train"): "takes hours, and audio that a recipe downloads",
    ("codec", "convert"): "takes the published checkpoint",
    ("codec", "eval", "data/open"): "takes audio that a recipe downloads",
    ("codec", "eval", "FSDD"): "takes a corpus of one's own",
    ("codec", "eval", "ESC-10"): "takes a corpus of one's own",
    ("demos", "check"): "exits with 1 where it has a remark",
    ("eval", "FSDD/"): "takes a corpus of one's own",
    ("eval", "my-clips/", "--peers"): "takes weights of the hub",
    ("codec", "eval", "clips/", "--compare"): "takes weights of the hub",
    ("eval", "suite"): "takes a corpus of one's own",
    ("eval", "ESC-10/"): "takes a corpus of one's own",
    ("eval", "pairs"): "takes pairs of one's own",
}


@pytest.fixture
def users_folder(tmp_path) -> Path:
    """A folder with the examples and what the pages take for the user's own: clips, demonstrations, a task file."""
    audio = ROOT / "examples" / "audio"
    for name in ("examples", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    config = json.loads((ROOT / "uniaudio_cli" / "weights" / "uniaudio-small.json").read_text(encoding="utf-8"))
    (tmp_path / "words.txt").write_text("\n".join(config["words"][0]), encoding="utf-8")
    for name in ("my-clips", "demos"):
        (tmp_path / name).symlink_to(audio / "sounds")
    for folder in ("recordings", "clips"):
        (tmp_path / folder).mkdir()
    noisy = sorted((audio / "enhance-queries" / "noisy").glob("*.flac"))
    for clip in noisy[:2]:
        shutil.copy(clip, tmp_path / "recordings")
    for name, clip in zip(("a.wav", "b.wav", "noisy.wav", "hour.wav"), noisy, strict=False):
        wav, rate = soundfile.read(clip)
        soundfile.write(tmp_path / name, wav, rate)
    for number, clip in enumerate(sorted((audio / "digits").rglob("*.flac"))):
        shutil.copy(clip, tmp_path / "clips" / f"{clip.parent.name}_amy_{number}.flac")
    shutil.copy(ROOT / "tasks" / "sound-event.yaml", tmp_path / "mine.yaml")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run(users_folder, page):
    """A page's commands, in order; evaluations with few episodes."""
    for words in commands(page):
        if any(tuple(words[: len(start)]) == start for start in NOT_RUN):
            continue
        few = ["--episodes", "4"] if words[0] == "eval" else []
        command = [sys.executable, "-m", "uniaudio_cli", *words, *few]
        done = subprocess.run(command, cwd=users_folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
