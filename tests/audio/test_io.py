import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from uniaudio_cli.audio.discovery import EXTENSIONS, find_audio
from uniaudio_cli.audio.io import duration, read_wav, write_wav
from uniaudio_cli.audio.transforms import fit, level_db, normalise_level
from uniaudio_cli.core.errors import UniAudioError, UsageError

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def save(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16", kind: str = "WAV") -> Path:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_24", 1e-6),
        ("AIFF", "PCM_S8", 1 / 64),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.1),
    ],
)
def test_read_every_sample_format(tmp_path, kind, subtype, tolerance):
    wav = read_wav(save(tmp_path / "clip", tone(), subtype=subtype, kind=kind), RATE)
    assert wav.dtype == torch.float32
    assert wav.shape == (1, RATE // 2)
    assert np.abs(wav[0].numpy() - tone()).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path, channels):
    samples = np.stack([tone() * (channel % 2 * 0.5) for channel in range(channels)], axis=1)
    wav = read_wav(save(tmp_path / "clip.wav", samples, subtype="FLOAT"), RATE)
    np.testing.assert_allclose(wav[0].numpy(), samples.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_is_resampled(tmp_path, rate):
    wav = read_wav(save(tmp_path / "clip.wav", tone(1.0, rate), rate, "FLOAT"), RATE)
    assert wav.shape == (1, RATE)
    middle = slice(1000, -1000)
    np.testing.assert_allclose(wav[0, middle].numpy(), tone(1.0)[middle], atol=2e-3)


@pytest.mark.parametrize("rate", [8000, RATE, 48_000])
def test_one_sample_and_silence_are_clips(tmp_path, rate):
    wav = read_wav(save(tmp_path / "one.wav", np.ones(1, dtype=np.float32) / 2, rate), RATE)
    assert wav.shape[1] >= 1
    silent = read_wav(save(tmp_path / "silent.wav", np.zeros(rate), rate), RATE)
    assert level_db(silent, RATE) == float("-inf")
    assert normalise_level(silent, -25, RATE) is silent


def test_past_full_scale_stays_as_it_is(tmp_path):
    assert read_wav(save(tmp_path / "loud.wav", 3 * tone(), subtype="FLOAT"), RATE).max() > 1


@pytest.mark.parametrize("rate", [8000, RATE, 44_100])
def test_max_seconds_is_how_the_whole_file_starts(tmp_path, rate):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * rate)
    path = save(tmp_path / "long.flac", noise, rate, kind="FLAC")
    start = read_wav(path, RATE, max_seconds=1.5)
    assert start.shape == (1, 24_000)
    np.testing.assert_allclose(start.numpy(), read_wav(path, RATE)[:, :24_000].numpy(), atol=1e-3)
    assert read_wav(path, RATE, max_seconds=100).shape == (1, 20 * RATE)


def test_max_seconds_of_an_hour_reads_little_of_it(tmp_path, monkeypatch):
    path = tmp_path / "hour.wav"
    save(path, np.zeros(0))
    header = bytearray(path.read_bytes())
    size = 3600 * RATE * 2
    header[4:8], header[40:44] = (36 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
    with path.open("wb") as file:  # a file with a hole: an hour of zeros that takes no room
        file.write(header)
        file.truncate(44 + size)
    read = []
    whole = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: read.append(len(x := whole(*a, **k))) or x)
    assert read_wav(path, RATE, max_seconds=2).shape == (1, 2 * RATE)
    assert sum(read) < 3 * RATE
    assert duration(path) == 3600


@pytest.mark.parametrize(
    "name", ["two words.wav", 'it\'s "quoted".wav', "new\nline.wav", b"caf\xe9.wav", "no suffix", "語.wav"]
)
def test_any_name_is_read_and_written(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    assert read_wav(save(path, tone()), RATE).shape == (1, RATE // 2)
    if path.suffix:
        write_wav(path, torch.zeros(1, 10), RATE, force=True)
        assert read_wav(path, RATE).shape == (1, 10)


def make_corrupt_flac(path: Path) -> None:
    save(path, np.random.default_rng(0).uniform(-1, 1, RATE), kind="FLAC")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)


def make_unbounded_flac(path: Path) -> None:
    save(path, tone(), kind="FLAC")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)


def make_damaged_aiff(path: Path) -> None:
    save(path, tone(), kind="AIFF")
    data = bytearray(path.read_bytes())
    data[38] = 0xFF
    path.write_bytes(data)


UNREADABLE = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "pipe": (lambda path: os.mkfifo(path), "is a pipe"),
    "empty": (lambda path: path.touch(), "cannot be read as audio"),
    "text": (lambda path: path.write_text("hello"), "cannot be read as audio"),
    "header": (lambda path: path.write_bytes(b"RIFF\0\0\0\0WAVEfmt "), "cannot be read as audio"),
    "damaged header": (make_damaged_aiff, "cannot be read as audio"),
    "rate": (lambda path: save(path, tone(), 4), "says its rate is 4 Hz"),
    "corrupt": (make_corrupt_flac, "cannot be read as audio"),
    "unbounded": (make_unbounded_flac, "does not say how long"),
    "no samples": (lambda path: save(path, np.zeros(0)), "holds no samples"),
    "NaN": (lambda path: save(path, np.array([0, np.nan]), subtype="FLOAT"), "NaN, infinite"),
    "infinite": (lambda path: save(path, np.array([[np.inf, -np.inf]]), subtype="FLOAT"), "NaN, infinite"),
    "absurd": (lambda path: save(path, np.array([1e300, 0]), subtype="DOUBLE"), "NaN, infinite"),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("name", ["clip.wav", "new\nline " + os.fsdecode(b"\xff") + ".wav"])
@pytest.mark.filterwarnings("error")
def test_unreadable_is_one_line(tmp_path, capfd, case, name):
    make, message = UNREADABLE[case]
    path = tmp_path / name
    make(path)
    with pytest.raises(UniAudioError, match=message) as caught:
        read_wav(path, RATE)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["x" * 300 + ".wav", "nul\0.wav"])
def test_impossible_names_are_one_line(tmp_path, name):
    with pytest.raises(UniAudioError):
        read_wav(tmp_path / name, RATE)


def test_headerless_audio_is_refused(tmp_path):
    (tmp_path / "clip.raw").write_bytes(bytes(1000))
    with pytest.raises(UniAudioError, match="no header"):
        read_wav(tmp_path / "clip.raw", RATE)


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path):
    path = save(tmp_path / "clip.wav", tone(1.0))
    path.write_bytes(path.read_bytes()[: 44 + RATE])
    assert read_wav(path, RATE).shape == (1, RATE // 2)


def test_duration(tmp_path):
    assert duration(save(tmp_path / "clip.wav", tone(1.5, 8000), 8000)) == 1.5
    with pytest.raises(UniAudioError, match="no such file"):
        duration(tmp_path / "missing.wav")


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".FLAC", 1e-4), (".ogg", 0.1)])
def test_write_and_read_back(tmp_path, suffix, tolerance):
    path = tmp_path / "new folder" / f"clip{suffix}"
    wav = torch.from_numpy(tone())[None]
    write_wav(path, wav, RATE)
    assert soundfile.info(path).subtype == ("VORBIS" if suffix == ".ogg" else "PCM_16")
    assert (read_wav(path, RATE) - wav).abs().max() <= tolerance
    with pytest.raises(UsageError, match="--force"):
        write_wav(path, wav, RATE)


def test_write_clips_and_takes_what_a_codec_gives(tmp_path):
    wav = (4 * torch.from_numpy(tone())[None]).double().requires_grad_()
    write_wav(tmp_path / "clip.wav", wav, RATE)
    back = read_wav(tmp_path / "clip.wav", RATE)
    assert (back - wav.detach().clamp(-1, 1)).abs().max() < 1e-4


def test_write_minutes_of_ogg(tmp_path):
    write_wav(tmp_path / "long.ogg", torch.zeros(1, 600 * RATE), RATE)
    assert duration(tmp_path / "long.ogg") == 600


@pytest.mark.parametrize("name", ["clip.mp3", "clip", "clip.wav.txt"])
def test_write_refuses_other_extensions(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.wav, \.flac, \.ogg"):
        write_wav(tmp_path / name, torch.zeros(1, 10), RATE)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("length", "crop", "pad", "expected"),
    [
        (40_000, "start", True, (0, RATE)),
        (40_000, "loudest", True, (20_000, RATE)),
        (9000, "start", True, (0, RATE)),
        (9000, "loudest", True, (0, RATE)),
        (9000, "start", False, (0, 9000)),
        (RATE, "loudest", False, (0, RATE)),
        (1, "start", True, (0, RATE)),
    ],
)
def test_fit(length, crop, pad, expected):
    wav = torch.zeros(1, length)
    wav[:, 20_000:36_000] = 0.5
    start, size = expected
    fitted = fit(wav, RATE, 1.0, crop, pad)
    assert fitted.shape == (1, size)
    torch.testing.assert_close(fitted[:, : length - start], wav[:, start : start + size], atol=0, rtol=0)


def test_fit_finds_a_burst_at_the_very_end_and_takes_silence_from_the_start():
    wav = torch.zeros(1, 30_011)
    wav[:, -500:] = 1
    assert fit(wav, RATE, 0.5, "loudest").sum() > 500 - RATE // 100
    wav = torch.zeros(1, RATE)
    wav[0, 0] = 1e-9
    assert fit(wav, RATE, 0.25, "loudest")[0, 0] == wav[0, 0]


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
