"""Pipes, terminals and the environment: what is shown where, and what is loaded for it."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.world import write
from uniaudio_cli.cli.console import note, silenced
from uniaudio_cli.cli.main import parser


def shell(command: str, **options) -> subprocess.CompletedProcess:
    """A command line of the shell, in which `uniaudio` is this Python's. For commands that load no torch."""
    program = f'{sys.executable} -c "from uniaudio_cli.cli.main import main; main()"'
    return subprocess.run(["bash", "-c", command.replace("uniaudio", program)], text=True, check=False, **options)


@pytest.mark.parametrize(
    "command",
    [
        "uniaudio tasks list | head -1 >/dev/null",
        "uniaudio models list | true",
        "uniaudio --help | true",
        "uniaudio tasks show resynthesis >&-",
        "uniaudio tasks show nope 2>&-",
    ],
)
def test_nobody_reads(command):
    done = shell(command, capture_output=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_full_stdout_is_one_line():
    done = shell("uniaudio tasks list >/dev/full", capture_output=True)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_results_nobody_reads(world, classify, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    closed = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", closed)
    done = classify(world.queries)
    with suppress(BrokenPipeError):
        closed.close()
    assert (done.code, done.err) == (1, "")


def test_json_is_utf8_whatever_the_locale(world, classify, monkeypatch):
    write(Path("grün.wav"))
    with Path("out.jsonl").open("w", encoding="ascii") as ascii:
        monkeypatch.setattr(sys, "stdout", ascii)
        assert classify("grün.wav").code == 0
    assert json.loads(Path("out.jsonl").read_text(encoding="utf-8"))["file"] == "grün.wav"


@contextmanager
def terminal(*names: str):
    """The streams `names` of `sys` are a terminal of 100 columns; what it shows is in the list."""
    shown: list[str] = []
    outside, inside = pty.openpty()

    def read() -> None:
        with suppress(OSError):  # nobody writes any more
            while data := os.read(outside, 10_000):
                shown.append(data.decode())

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(inside, "w") as stream:
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", "100")
        for name in names:
            patch.setattr(sys, name, stream)
        yield shown
    reader.join()
    os.close(outside)


def test_a_terminal_gets_a_bar_a_table_and_a_summary(world, classify):
    with terminal("stdout", "stderr") as shown:
        assert classify(world.queries).code == 0
    text = "".join(shown)
    for word in ("loading ", "classify ", "6/6", "clip", "\x1b[3", "labels: ", " of 6 below 0.6", "check first: "):
        assert word in text
    assert '"label"' not in text
    probabilities = [float(p) for p in re.findall(r"│ ([01]\.\d\d) │", text)]
    assert len(probabilities) == 6
    assert probabilities == sorted(probabilities, reverse=True)


def test_a_terminal_on_stderr_gets_the_bar_and_stdout_the_data(world, classify):
    with terminal("stderr") as shown:
        done = classify(world.queries, world.queries / "nope.wav")
    assert len(done.labelled) == 6
    text = "".join(shown)
    assert "7/7" in text
    assert f"error: {world.queries}/nope.wav: no such file" in text


def test_quiet_leaves_errors(world, classify, enhance):
    with terminal("stderr") as shown:
        assert classify(world.queries, world.queries / "nope.wav", "--quiet").code == 3
        assert enhance(world.pairs / "noisy", "-o", "out", "--quiet").code == 0
    assert "".join(shown) == f"error: {world.queries}/nope.wav: no such file\r\n"


def test_quiet_discards_what_c_libraries_write(capfd):
    for quiet, expected in ((False, "library\n"), (True, "")):
        with silenced(quiet):
            os.write(2, b"library\n")
            note("error: ours")
        note("error: later")
        assert sorted(capfd.readouterr().err.splitlines()) == sorted(["error: ours", "error: later", *expected.split()])


def test_no_color(world, classify, uniaudio, monkeypatch):
    commands = [
        ("tasks", "list"),
        ("models", "list"),
        ("codec", "words", world.queries, "--codec", world.codec, "--levels", "0", "--align"),
    ]
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        with terminal("stdout", "stderr") as shown:
            classify(world.queries)
            for command in commands:
                assert uniaudio(*command).code == 0
        assert ("\x1b[3" in "".join(shown)) == (no_color == "")


def test_importing_the_commands_loads_nothing_heavy():
    heavy = {"torch", "transformers", "librosa", "numpy", "soundfile", "huggingface_hub", "yaml", "safetensors"}
    code = f"import sys, uniaudio_cli.cli.main; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def all_commands(group, path=()):
    """(path, command) of every command below a group."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))


def test_every_command_has_help(uniaudio, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    commands = list(all_commands(parser()))
    assert len(commands) > 15
    for path, command in commands:
        for flag in ("--help", "-h"):
            done = uniaudio(*path, flag)
            assert (done.code, done.err) == (0, "")
            assert command.help.splitlines()[0] in done.out
        for parameter in command.params:
            assert getattr(parameter, "help", "a group's own") or parameter.name == "help", (path, parameter.name)


def test_nothing_asked_is_help_and_nonsense_is_one_line(uniaudio):
    for path in ((), ("codec",), ("tasks",), ("models",)):
        done = uniaudio(*path)
        assert (done.code, done.err) == (2, "")
        assert "Usage: " in done.out
    uniaudio("classfy").is_error(2, "No such command 'classfy'", "see `uniaudio --help`")
    uniaudio("codec", "encode").is_error(2, "see `uniaudio codec encode --help`")
    done = uniaudio("--version")
    assert (done.code, done.out, done.err) == (0, "uniaudio 0.1.0\n", "")
