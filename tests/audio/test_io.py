import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from uniaudio_cli.audio.io import check_audible, layout, read_audio, read_wav, source_name, stream_wav, write_wav
from uniaudio_cli.audio.transforms import level_db, normalise_level
from uniaudio_cli.core.errors import AudioWarning, UniAudioError, UsageError

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
    assert sum(read) < 3.1 * RATE


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


def test_rate_and_channels(tmp_path):
    assert layout(save(tmp_path / "clip.wav", np.stack([tone()] * 2, 1), 8000)) == (8000, 2)
    assert layout((np.zeros((3, 100)), 8000)) == (8000, 3)
    with pytest.raises(UniAudioError, match="no such file"):
        layout(tmp_path / "missing.wav")


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".FLAC", 1e-4), (".ogg", 0.1)])
def test_write_and_read_back(tmp_path, suffix, tolerance):
    path = tmp_path / "new folder" / f"clip{suffix}"
    wav = torch.from_numpy(tone())[None]
    write_wav(path, wav, RATE)
    assert soundfile.info(path).subtype == ("VORBIS" if suffix == ".ogg" else "PCM_16")
    assert (read_wav(path, RATE) - wav).abs().max() <= tolerance
    with pytest.raises(UsageError, match="--force"):
        write_wav(path, wav, RATE)


def test_write_keeps_what_goes_past_full_scale(tmp_path):
    wav = (4 * torch.from_numpy(tone())[None]).double().requires_grad_()
    with pytest.warns(AudioWarning, match=r"clip\.wav: peaks at 2\.00 of full scale; it is written as 32-bit floats"):
        write_wav(tmp_path / "clip.wav", wav, RATE)
    assert (read_wav(tmp_path / "clip.wav", RATE) - wav.detach()).abs().max() < 1e-6
    with pytest.warns(AudioWarning, match=r"clip\.flac: .* it is turned down by 6\.0 dB"):
        write_wav(tmp_path / "clip.flac", wav, RATE)
    assert (read_wav(tmp_path / "clip.flac", RATE) - wav.detach() / 2).abs().max() < 1e-4


def test_write_keeps_rate_and_channels(tmp_path):
    write_wav(tmp_path / "clip.wav", torch.zeros(3, 100), 44_100)
    assert layout(tmp_path / "clip.wav") == (44_100, 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_write_refuses_what_is_no_number(tmp_path, value):
    with pytest.raises(UniAudioError, match="NaN or infinite"):
        write_wav(tmp_path / "clip.wav", torch.full((1, 9), value), RATE)
    assert not any(tmp_path.iterdir())


def test_write_minutes_of_ogg(tmp_path):
    write_wav(tmp_path / "long.ogg", torch.zeros(1, 600 * RATE), RATE)
    assert soundfile.info(tmp_path / "long.ogg").frames == 600 * RATE


@pytest.mark.parametrize("name", ["clip.mp3", "clip", "clip.wav.txt"])
def test_write_refuses_other_extensions(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.wav, \.flac, \.ogg"):
        write_wav(tmp_path / name, torch.zeros(1, 10), RATE)
    assert not any(tmp_path.iterdir())


# ---- files whose header is not to be trusted, and formats that FFmpeg decodes


def encode(path: Path, samples: np.ndarray, rate: int, codec: str, kind: str, **options: str) -> Path:
    """A file of FFmpeg's, from float samples [T]."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=kind, options=options) as box:
        stream = box.add_stream(codec, rate=48_000 if codec == "libopus" else rate, layout="mono")
        if codec == "libmp3lame":  # variable bit rate
            stream.codec_context.options = {"global_quality": "472", "flags": "+qscale"}
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype("<i2")[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for part in av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate).resample(frame):
            box.mux(stream.encode(part))
        box.mux(stream.encode(None))
    return path


FFMPEG = {
    "m4a": ("aac", "mp4"),
    "aac": ("aac", "adts"),
    "mp4": ("aac", "mp4"),
    "webm": ("libopus", "webm"),
    "mka": ("libopus", "matroska"),
    "mp2": ("mp2", "mp2"),
    "lies.wav": ("aac", "mp4"),
}


@pytest.mark.parametrize("name", FFMPEG)
def test_containers_of_phones_and_browsers(tmp_path, name):
    codec, kind = FFMPEG[name]
    path = encode(tmp_path / f"clip.{name}", tone(2.0), RATE, codec, kind)
    wav = read_audio(path, RATE)
    assert abs(wav.shape[-1] / RATE - 2) < 0.2
    assert 0.3 < float(wav[0, RATE // 2 : RATE].square().mean().sqrt()) < 0.4
    assert read_audio(path, RATE, max_seconds=0.5).shape == (1, RATE // 2)
    assert read_audio(path.read_bytes(), RATE).shape == wav.shape


def test_the_first_of_two_tracks_is_used_and_that_is_said(tmp_path):
    av = pytest.importorskip("av")
    path, wave = tmp_path / "two.mka", tone(1.0)
    with av.open(str(path), "w", format="matroska") as box:
        streams = [box.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]
        for stream, gain in zip(streams, (1.0, 0.1), strict=True):
            samples = (gain * wave * 32767).astype("<i2")[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                box.mux(packet)
    with pytest.warns(AudioWarning, match=r"two\.mka: holds 2 sound tracks side by side; the first is used"):
        wav = read_audio(path, RATE)
    np.testing.assert_allclose(wav[0].numpy(), wave, atol=1e-3)


def varied(seconds: int, rate: int) -> np.ndarray:
    """A second of noise, then a tone: a variable bit rate falls after the first second."""
    noise = 0.5 * np.random.default_rng(0).uniform(-1, 1, rate)
    return np.concatenate([noise, tone(seconds - 1, rate) / 5])


@pytest.mark.parametrize("xing", ["0", "1"])
def test_the_length_of_an_mp3_is_that_of_its_frames(tmp_path, capfd, xing):
    samples = varied(10, 44_100)
    path = encode(tmp_path / "clip.mp3", samples, 44_100, "libmp3lame", "mp3", write_xing=xing, id3v2_version="0")
    assert abs(read_audio(path, RATE).shape[-1] / RATE - 10) < 0.1
    path.write_bytes(2 * path.read_bytes())
    assert abs(read_audio(path, RATE).shape[-1] / RATE - 20) < 0.2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAV", "PCM_16")]
)
def test_recordings_one_after_the_other_in_a_file(tmp_path, kind, subtype):
    path = save(tmp_path / "clip", tone(1.0), kind=kind, subtype=subtype)
    path.write_bytes(2 * path.read_bytes())
    wav = read_audio(path, RATE)
    assert wav.shape == (1, 2 * RATE)
    torch.testing.assert_close(wav[0, RATE:], wav[0, :RATE], atol=1e-3, rtol=0)


def test_recordings_of_different_rates_in_a_file_are_refused(tmp_path):
    data = [save(tmp_path / "clip", tone(), rate).read_bytes() for rate in (RATE, 8000)]
    (tmp_path / "clip").write_bytes(b"".join(data))
    with pytest.raises(UniAudioError, match="2 recordings of different rates"):
        read_audio(tmp_path / "clip", RATE)


def test_a_header_without_a_length(tmp_path):
    make_unbounded_flac(tmp_path / "clip.flac")
    assert read_audio(tmp_path / "clip.flac", RATE).shape == (1, RATE // 2)
    data = bytearray(save(tmp_path / "clip.wav", tone()).read_bytes())
    data[4:8] = data[40:44] = bytes(4)  # as of a stream whose writer was stopped
    (tmp_path / "clip.wav").write_bytes(data)
    assert read_audio(tmp_path / "clip.wav", RATE).shape == (1, RATE // 2)


@pytest.mark.parametrize("name", ["m4a", "webm", "aac"])
def test_what_is_cut_short_or_no_audio_is_one_line_or_its_start(tmp_path, capfd, name):
    codec, kind = FFMPEG[name]
    data = encode(tmp_path / f"clip.{name}", tone(2.0), RATE, codec, kind).read_bytes()
    for cut in range(16, len(data), max(1, len(data) // 40)):
        said = "<bytes>: "
        try:
            assert 0 < read_audio(data[:cut], RATE).shape[-1] <= 2.2 * RATE
        except UniAudioError as error:
            said = str(error)
        assert said.startswith("<bytes>: ")
        assert said.isprintable()
    assert capfd.readouterr() == ("", "")


# ---- channels


@pytest.mark.parametrize("gain", [1.0, 0.98])
def test_opposite_phase_does_not_cancel(tmp_path, gain):
    samples = np.stack([gain * tone(), -tone()], axis=1)
    path = save(tmp_path / "clip.wav", samples, subtype="FLOAT")
    for source in (path, (samples.T, RATE)):
        with pytest.warns(AudioWarning, match="channels cancel each other"):
            wav = read_audio(source, RATE)
        np.testing.assert_allclose(np.abs(wav[0]), np.abs(tone()), atol=1e-6)


def test_other_channels_are_averaged_without_a_warning(tmp_path, recwarn):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 8)).astype(np.float32)
    for channels in (noise, noise[:, :1] * np.eye(8)[0], np.zeros((RATE, 2)), np.stack([tone(), -0.5 * tone()], 1)):
        wav = read_audio(save(tmp_path / "clip.wav", channels, subtype="FLOAT"), RATE)
        np.testing.assert_allclose(wav[0], channels.mean(axis=1), atol=1e-6)
    assert not recwarn.list


# ---- sources other than paths


def test_every_kind_of_source_gives_the_same(tmp_path):
    path = save(tmp_path / "clip.wav", tone(), subtype="FLOAT")
    expected = read_audio(path, RATE)
    with path.open("rb") as file:
        sources = [str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), file, (tone(), RATE)]
        assert all(torch.equal(read_audio(source, RATE), expected) for source in sources)
        assert [source_name(each) for each in sources] == [str(path), "<bytes>", "<file>", str(path), "<array>"]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float64, np.float16])
def test_arrays_of_any_number_type(dtype):
    samples = tone().astype(np.float64)
    if np.dtype(dtype).kind != "f":
        samples = samples * np.iinfo(dtype).max if dtype is not np.uint8 else 128 + 127 * samples
    wav = read_audio((samples.astype(dtype), RATE), RATE, max_seconds=0.25)
    assert wav.shape == (1, RATE // 4)
    np.testing.assert_allclose(wav[0], tone()[: RATE // 4], atol=0.02)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((np.zeros((RATE, 2)), RATE), r"\[C, T\], not \[T, C\]"),
        ((np.zeros((1, 2, 3)), RATE), "of shape"),
        ((np.zeros(0), RATE), "holds no samples"),
        ((np.full(9, np.nan), RATE), "NaN, infinite"),
        ((np.array(["a"]), RATE), "must be numbers"),
        ((np.zeros(9), 0), "rate is 0 Hz"),
        ((np.zeros(9),), "a pair of samples and their rate"),
        ((np.zeros(9), "x"), "a pair of samples and their rate"),
        (b"", "<bytes>: cannot be read as audio"),
        (io.StringIO("text"), "<file>: cannot be read"),
    ],
)
def test_sources_that_are_no_audio(source, message):
    with pytest.raises(UniAudioError, match=message) as caught:
        read_audio(source, RATE)
    assert str(caught.value).isprintable()


def test_a_pipe_of_the_shell_is_read_to_its_end(tmp_path):
    path = save(tmp_path / "clip.wav", tone())
    there, here = os.pipe()
    os.write(here, path.read_bytes())
    os.close(here)
    assert read_audio(f"/dev/fd/{there}", RATE).shape == (1, RATE // 2)
    os.close(there)


# ---- what there is nothing to classify in


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE), "clip: is digital silence"),
        (1e-9 * np.random.default_rng(0).standard_normal(RATE), "is digital silence"),
        (np.full(RATE, 0.1), "is digital silence"),
        (np.ones(1), r"is shorter than 20 ms \(0\.1 ms\)"),
        (tone(0.01), r"is shorter than 20 ms \(10\.0 ms\)"),
    ],
)
def test_nothing_to_classify(samples, message):
    with pytest.raises(UniAudioError, match=message):
        check_audible(torch.from_numpy(samples).float()[None], RATE, "clip")


@pytest.mark.parametrize("samples", [tone(0.02), 1e-3 * tone(), 0.3 + 1e-2 * tone()])
def test_quiet_and_offset_clips_are_audible(samples):
    check_audible(torch.from_numpy(samples)[None], RATE)


def test_a_stream_is_a_wav_file():
    buffer = io.BytesIO()
    assert stream_wav(buffer, [torch.zeros(1, 10), torch.ones(1, 5)], RATE) == 15
    assert read_audio(buffer.getvalue(), RATE).shape == (1, 15)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:10.0,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile 'other.wav'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["m3u8", "concat", "sdp"],
)
def test_a_playlist_under_an_audio_name_opens_nothing(tmp_path, content):
    path = tmp_path / "clip.mp3"
    path.write_bytes(content)
    with pytest.raises(UniAudioError, match=r"clip\.mp3: cannot be read as audio"):
        read_wav(path, 16_000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF"])
def test_an_id3_tag_before_another_format_is_skipped(tmp_path, kind):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4_000)
    soundfile.write(tmp_path / "plain", samples, 16_000, format=kind, subtype="PCM_16")
    size = 300  # 2 x 128 + 44: two bytes of 7 bits
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, size >> 7, size & 0x7F]) + bytes(size)
    (tmp_path / "tagged.wav").write_bytes(tag + (tmp_path / "plain").read_bytes())
    found = read_wav(tmp_path / "tagged.wav", 16_000)
    assert torch.equal(found, read_wav(tmp_path / "plain", 16_000))
