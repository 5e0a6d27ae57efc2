"""Enhancement measured: noisy recordings cleaned by several systems, scored against their clean sides, paired."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.jsonl import JsonlLog
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.evaluation.enhancement_peers import Peer
from uniaudio_cli.evaluation.manifest import Document
from uniaudio_cli.evaluation.metrics import clustered_mean

RATE = 16_000
METRICS = ("stoi", "pesq_wb", "dnsmos")
NOISY = "noisy"
MOS_WINDOW = int(9.01 * RATE)
MOS_CURVE = (-0.06766283, 1.11546468, 0.04602535)  # of the overall score, as in Microsoft's dnsmos_local.py


class Mean(Document):
    """A mean with its 95 % interval over `clusters` recordings or speakers (0: plain, there are too few)."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


class Scores(Document):
    """One system under one condition: means by metric, and how far they lie over the noisy input's, paired."""

    means: dict[str, Mean]
    over_noisy: dict[str, Mean]


class EnhancementResults(Document):
    """What `uniaudio eval pairs` writes. `shown`: the pairs that were learnt from. `conditions[name][system]`."""

    schema_version: Literal[1] = 1
    data: str
    shown: tuple[str, ...]
    recordings: int
    conditions: dict[str, dict[str, Scores]]


def measure(
    pairs: Sequence[Demonstration],
    systems: Mapping[str, Peer],
    name_of: Callable[[Demonstration], tuple[str, str]],
    log: JsonlLog,
) -> Iterator[dict[str, Any]]:
    """Every system on every pair, and the noisy input itself: a row each, those in `log` not again.

    `name_of`: (condition, group) of a pair; recordings of one group are not independent.
    """
    done = {(row["file"], row["system"]): row for row in log.rows}
    for pair in pairs:
        assert pair.target is not None
        missing = [name for name in (NOISY, *systems) if (str(pair.audio), name) not in done]
        if missing:
            noisy, clean = (read_audio(each, RATE) for each in (pair.audio, pair.target))
        for name in (NOISY, *systems):
            if name in missing:
                made = noisy if name == NOISY else systems[name](noisy, RATE)
                condition, group = name_of(pair)
                row = {"file": str(pair.audio), "system": name, "condition": condition, "group": group}
                done[str(pair.audio), name] = row | score(clean, made)
                log.write(done[str(pair.audio), name])
            yield done[str(pair.audio), name]


def score(clean: Tensor, made: Tensor) -> dict[str, float]:
    """STOI, wide-band PESQ and DNSMOS of wavs [1, T] at 16 kHz.

    DNSMOS is the overall score of Microsoft's primary network, over windows of 9 s that do not overlap; what is
    shorter is repeated.

    Raises:
        UsageError: a package of `uniaudio[quality]` is missing.
    """
    try:
        from pesq import PesqError, pesq
        from pystoi import stoi
    except ImportError as problem:
        raise UsageError(f"measuring needs {problem.name}: pip install 'uniaudio[quality]'") from problem
    length = min(clean.shape[-1], made.shape[-1])
    wavs = [each[0, :length].numpy() for each in (clean, made)]
    quality = pesq(RATE, *wavs, "wb", on_error=PesqError.RETURN_VALUES)
    found = {"stoi": float(stoi(*wavs, RATE)), "dnsmos": _overall_quality(wavs[1])}
    return found if quality < 0 else found | {"pesq_wb": float(quality)}  # negative where it finds no speech


def _overall_quality(wav: np.ndarray) -> float:
    wav = np.tile(wav, -(-MOS_WINDOW // len(wav))) if len(wav) < MOS_WINDOW else wav
    windows = [wav[at : at + MOS_WINDOW] for at in range(0, len(wav) - MOS_WINDOW + 1, MOS_WINDOW)]
    found = [_mos_network()(window.clip(-1, 1).astype(np.float32)[None]) for window in windows]
    return float(np.polyval(MOS_CURVE, found).mean())


@cache
def _mos_network() -> Callable[[np.ndarray], float]:
    """Samples float32 [1, 144160] -> the raw overall score."""
    try:
        import speechmos
    except ImportError as problem:
        raise UsageError("measuring needs speechmos: pip install 'uniaudio[quality]'") from problem
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    weights = Path(speechmos.__path__[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    session = onnxruntime.InferenceSession(os.fspath(weights), options)
    return lambda samples: float(session.run(None, {"input_1": samples})[0][0][2])


def summarise(rows: Sequence[Mapping[str, Any]], data: str, shown: Sequence[Demonstration]) -> EnhancementResults:
    """Rows of `measure` -> means and paired differences by condition; with several conditions, over all too."""
    names = sorted({row["condition"] for row in rows}, key=_rank)
    cells = {name: [row for row in rows if row["condition"] == name] for name in names}
    if len(names) > 1:
        cells["all"] = list(rows)
    return EnhancementResults(
        data=data,
        shown=tuple(each.audio.name for each in shown),
        recordings=len({row["file"] for row in rows}),
        conditions={name: _systems(cell) for name, cell in cells.items()},
    )


def _rank(condition: str) -> tuple[float, str]:
    """Conditions that begin with a number in its order, others after them."""
    number = re.match(r"-?\d+(\.\d+)?", condition)
    return (float(number.group()) if number else math.inf), condition


def _systems(rows: Sequence[Mapping[str, Any]]) -> dict[str, Scores]:
    by_system: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_system.setdefault(row["system"], {})[row["file"]] = row
    noisy = by_system[NOISY]
    found = {}
    for name, files in by_system.items():
        means: dict[str, Mean] = {}
        above: dict[str, Mean] = {}
        for metric in METRICS:
            both = [file for file in files if metric in files[file] and metric in noisy[file]]
            if both:
                groups = [files[file]["group"] for file in both]
                means[metric] = _mean([files[file][metric] for file in both], groups)
                above[metric] = _mean([files[file][metric] - noisy[file][metric] for file in both], groups)
        found[name] = Scores(means=means, over_noisy=above)
    return found


def _mean(values: Sequence[float], groups: Sequence[str]) -> Mean:
    interval = clustered_mean(values, groups)
    return Mean(**{name: getattr(interval, name) for name in Mean.model_fields})


def table(results: EnhancementResults) -> list[str]:
    """Markdown: per condition and system the means, and what lies over the noisy input with its 95 % interval."""
    lines = [
        "| condition | system | n | STOI | PESQ wb | DNSMOS | STOI over noisy | PESQ over noisy | DNSMOS over noisy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for condition, systems in results.conditions.items():
        for name, scores in systems.items():
            plain = [_cell(scores.means, metric) for metric in METRICS]
            above = ["" if name == NOISY else _cell(scores.over_noisy, metric, "+") for metric in METRICS]
            count = max((each.n for each in scores.means.values()), default=0)
            lines.append(f"| {condition} | {name} | {count} | {' | '.join([*plain, *above])} |")
    return lines


def _cell(means: Mapping[str, Mean], metric: str, sign: str = "") -> str:
    if metric not in means:
        return "-"
    mean, how = means[metric], f"{sign}.3f" if metric == "stoi" else f"{sign}.2f"
    return f"{mean.value:{how}} [{mean.low:{how}}, {mean.high:{how}}]" if sign else f"{mean.value:{how}}"


def mix_at_snr(speech: Tensor, noise: Tensor, snr: float) -> tuple[Tensor, Tensor]:
    """(noisy, clean) [1, T]: noise [1, N] repeated under speech [1, T] at an SNR in dB over all of it.

    Both are turned down where the mixture would clip.
    """
    noise = noise.repeat(1, -(-speech.shape[-1] // noise.shape[-1]))[:, : speech.shape[-1]]
    gain = speech.square().mean() / noise.square().mean().clamp(min=1e-12) / 10 ** (snr / 10)
    wav = speech + gain.sqrt() * noise
    loudest = max(1.0, float(wav.abs().max()))
    return wav / loudest, speech / loudest
