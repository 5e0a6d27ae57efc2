import os
from pathlib import Path

import pytest

from uniaudio_cli.audio.discovery import EXTENSIONS, discover, find_audio
from uniaudio_cli.core.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.wav",
        "a.WAV",
        "sub/c.flac",
        "sub/deep er/d.ogg",
        "notes.md",
        ".hidden.wav",
        ".git/e.wav",
        "._a.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "sub" / "broken.wav").symlink_to("nowhere.wav")
    return tmp_path


IN_SUB = ["sub/broken.wav", "sub/c.flac", "sub/deep er/d.ogg"]
IN_FOLDER = ["a.WAV", "b.wav", *IN_SUB]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["."], IN_FOLDER),
        (["sub/", "b.wav"], [*IN_SUB, "b.wav"]),
        (["b.wav", "."], ["b.wav", "a.WAV", *IN_SUB]),
        (["*.wav"], ["b.wav"]),
        (["*"], IN_FOLDER),
        (["**/*.[fo]*"], ["sub/c.flac", "sub/deep er/d.ogg"]),
        (["notes.md"], ["notes.md"]),
        (["missing.wav", ".hidden.wav"], ["missing.wav", ".hidden.wav"]),
    ],
)
def test_find_audio(folder, given, found):
    assert find_audio(folder / name for name in given) == [folder / name for name in found]


def test_find_audio_expands_relative_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_audio([Path("su?/*.flac")]) == [Path("sub/c.flac")]
    assert find_audio([Path("-")]) == [Path("-")]


def test_find_audio_prefers_a_name_to_a_pattern(folder):
    (folder / "take [1].wav").touch()
    (folder / "take 1.wav").touch()
    assert find_audio([folder / "take [1].wav"]) == [folder / "take [1].wav"]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("list.txt", b"b.wav\n\n  sub/deep er/d.ogg  \n", ["b.wav", "sub/deep er/d.ogg"]),
        ("list.txt", b"\xef\xbb\xbfb.wav\r\n/abs/x.wav", ["b.wav", "/abs/x.wav"]),
        ("list.txt", b"caf\xe9.wav\n", [os.fsdecode(b"caf\xe9.wav")]),
        ("LIST.SCP", b"one b.wav\ntwo\tsub/deep er/d.ogg\n", ["b.wav", "sub/deep er/d.ogg"]),
    ],
)
def test_find_audio_reads_lists(folder, name, content, found):
    (folder / "lists").mkdir()
    (folder / "lists" / name).write_bytes(content)
    assert find_audio([folder / "lists" / name]) == [folder / "lists" / entry for entry in found]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silence", "this folder holds no audio file"),
        ("empty.txt", "this list holds no audio file"),
        ("one.scp", r"one\.scp:2: .* 'key path', not 'lonely\\x1b'"),
        ("*.aiff", "this pattern holds no audio file"),
        ("*.md", "this pattern holds no audio file"),
    ],
)
def test_find_audio_refuses_what_yields_nothing(folder, name, message):
    (folder / "silence").mkdir()
    (folder / "silence" / "readme.txt").touch()
    (folder / "empty.txt").write_text("\n")
    (folder / "one.scp").write_text("key a.wav\nlonely\x1b\n")
    with pytest.raises(UsageError, match=message):
        find_audio([folder / name])


def test_find_audio_passes_impossible_names_on(tmp_path):
    paths = [tmp_path / ("x" * 5000), tmp_path / "pipe"]
    os.mkfifo(paths[1])
    assert find_audio(paths) == paths


def test_extensions_are_lower_case():
    assert {suffix.lower() for suffix in EXTENSIONS} == EXTENSIONS


def test_what_is_passed_over_is_counted(folder):
    found = discover([folder])
    assert found.files == find_audio([folder])
    assert found.summary() == "passed over 1 file: 1 .md"
    (folder / "sub" / "a.TXT").touch()
    (folder / "sub" / "LICENSE").touch()
    (folder / "sub" / "b.md").touch()
    assert discover([folder]).summary() == "passed over 4 files: 2 .md, 1 without extension, 1 .txt"
    assert discover([folder / "b.wav"]).summary() == ""


@pytest.mark.parametrize("name", ["a.wave", "a.aifc", "a.snd", "a.mp2", "a.m4a", "a.webm", "a.mp4", "a.AAC", "a.mka"])
def test_extensions_of_phones_and_editors(tmp_path, name):
    (tmp_path / name).touch()
    assert find_audio([tmp_path]) == [tmp_path / name]


def test_litter_is_left_out(tmp_path):
    for name in ("a.wav", "__MACOSX/a.wav", "@eaDir/b.wav", "._a.wav", ".Trash/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert discover([tmp_path]).files == [tmp_path / "a.wav"]
    assert discover([tmp_path]).summary() == ""


def test_linked_folders_are_followed_once(tmp_path):
    for name in ("data/rain/a.wav", "data/deep/b.wav", "elsewhere/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "a link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "deep" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "alias").symlink_to(tmp_path / "data" / "rain")
    names = [path.relative_to(tmp_path).as_posix() for path in find_audio([tmp_path / "data"])]
    assert names == ["data/a link/c.wav", "data/deep/b.wav", "data/rain/a.wav"]
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert len(find_audio([tmp_path / "link"])) == 3
