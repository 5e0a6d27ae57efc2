import errno
import os
from pathlib import Path

import pytest

from uniaudio_cli.core import paths as files
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, cache_dir, data_folder, is_file, is_folder, show, suggest


def write(path: Path, text: str, force: bool = False) -> None:
    with atomic(path, force) as temporary:
        temporary.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_makes_folders_and_leaves_nothing_else(tmp_path):
    write(tmp_path / "a" / "b" / "out.txt", "one")
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "one"
    assert names(tmp_path / "a" / "b") == ["out.txt"]


def test_atomic_shows_nothing_until_the_block_ends(tmp_path):
    path = tmp_path / "out.npz"
    with atomic(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".npz"
        assert not path.exists()
    assert path.exists()


def test_atomic_refuses_an_existing_output_before_the_block(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(UsageError, match=r"out\.txt: already exists \(pass --force"):
        write(path, "new")
    assert path.read_text() == "old"
    write(path, "new", force=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_keeps_the_old_output_when_the_block_fails(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic(path, force=True) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_atomic_writes_through_a_link_and_with_ordinary_rights(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write(tmp_path / "link.txt", "new", force=True)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    (tmp_path / "plain.txt").touch()
    assert (tmp_path / "real.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_atomic_refuses_what_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "not a regular file"),
        (Path(os.devnull), "not a regular file"),
        (tmp_path / "file" / "out.txt", "cannot be written"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ]:
        with pytest.raises(UniAudioError, match=message) as caught:
            write(path, "", force=True)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_atomic_refuses_a_folder_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UniAudioError, match="cannot be written"):
        write(tmp_path / "out.txt", "")


def test_atomic_reports_a_full_disk_and_passes_other_errors_on(tmp_path):
    with pytest.raises(UniAudioError, match="No space left"), atomic(tmp_path / "out.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ConnectionResetError), atomic(tmp_path / "out.txt"):
        raise ConnectionResetError
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("plain/é 'name'.wav", "plain/é 'name'.wav"),
        ("two\nlines\t.wav", r"two\nlines\t.wav"),
        (os.fsdecode(b"caf\xe9.wav"), r"caf\xe9.wav"),
        ("\ud800\x1b[31m", r"\ud800\x1b[31m"),
        ("right\u202eleft", r"right\u202eleft"),
    ],
)
def test_show_is_one_printable_line(path, shown):
    assert show(path) == show(Path(path)) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("lables", " (did you mean 'labels'?)"),
        ("LABELS", " (did you mean 'labels'?)"),
        ("emotions", " (did you mean 'Emotion'?)"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_suggest(name, suggestion):
    assert suggest(name, ["labels", "Emotion", "bird"]) == suggestion


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("UNIAUDIO_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "uniaudio"
    monkeypatch.setenv("UNIAUDIO_HOME", "~/ours")
    assert cache_dir() == Path.home() / "ours"


def test_data_folder_is_the_repository_or_the_installed_package(monkeypatch, tmp_path):
    assert (data_folder("tasks") / "emotion.yaml").is_file()
    monkeypatch.setattr(files, "__file__", str(tmp_path / "uniaudio_cli" / "core" / "paths.py"))
    assert data_folder("tasks") == tmp_path / "tasks"
    (tmp_path / "uniaudio_cli" / "tasks").mkdir(parents=True)
    assert data_folder("tasks") == tmp_path / "uniaudio_cli" / "tasks"


def test_a_name_too_long_is_neither_file_nor_folder(tmp_path):
    assert is_folder(tmp_path)
    assert not is_file(tmp_path)
    assert not is_file(tmp_path / ("x" * 5000))
    assert not is_folder(tmp_path / ("x" * 5000))
