"""What helps enhancement: STOI and PESQ of each of four pairs, cleaned after the other three.

    python benchmarks/enhance_ablation.py PAIRS [--llm]

Every row but the product's has trees alone, which learn from the pairs as they are, without mixtures. Rows with the
codec have two more features: the spectrum of what the codec decodes, against the input's and against its own loudest
frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from sklearn.ensemble import HistGradientBoostingRegressor

import uniaudio_cli
from uniaudio_cli.audio.gain_features import NARROW, GainFeatures
from uniaudio_cli.audio.noise import FLOOR, LogSpectralFilter
from uniaudio_cli.audio.stft import BlockFilter, spectra_of
from uniaudio_cli.data.demonstrations import load_demonstrations
from uniaudio_cli.inference import gains
from uniaudio_cli.inference.band_network import loud_weights
from uniaudio_cli.inference.gains import RATE, Pair, gains_of, grow_trees, read_pair, teach_gains

PAIRS = 4
LEAST = 0.1  # the least gain, the same for every row
ROWS, TREES = 20_000, 40  # fewer than in the product, for every row alike: it takes minutes all the same
Wav = NDArray[np.float32]


def filtered(wav: Wav, found: NDArray) -> Wav:
    """A wav [T] with gains [frames, 257]."""
    at = 0

    def change(spectra: NDArray) -> NDArray:
        nonlocal at
        used, at = found[at : at + len(spectra)], at + len(spectra)
        return spectra * np.maximum(used, LEAST)[:, None]

    filter_ = BlockFilter(1, RATE, change)
    return np.concatenate([filter_.push(wav[None]), filter_.finish()], axis=1)[0]


def power_of(wav: Wav) -> NDArray:
    return np.square(np.abs(spectra_of(wav, RATE)))


def more_features(power: NDArray, decoded: Wav) -> NDArray:
    """Two features [T, 257, 2] of what the codec decodes."""
    other = np.log10(uniform_filter1d(power_of(decoded), NARROW, axis=1) + FLOOR)
    loudest = np.log10(np.quantile(power_of(decoded).mean(axis=1), 0.95) + FLOOR)
    return np.stack([np.clip(other - np.log10(power + FLOOR), -4, 4), np.clip(other - loudest, -8, 2)], axis=-1)


def features_of(noisy: Wav, decoded: Wav | None) -> NDArray:
    power = power_of(noisy)
    found = GainFeatures()(power)
    if decoded is None:
        return found
    return np.concatenate([found, more_features(power, decoded)], axis=-1).astype(np.float32)


def taught(pairs: Sequence[Pair], decoded: Sequence[Wav] | None, noisy: Wav, own: Wav | None) -> NDArray:
    """Gains of `noisy` after pairs, with what the codec makes of each."""
    features, wanted, weights = [], [], []
    for number, (given, clean) in enumerate(pairs):
        power = power_of(given)
        ideal = np.minimum(np.sqrt(power_of(clean)) / (np.sqrt(power) + 1e-9), 1)
        features.append(features_of(given, None if decoded is None else decoded[number]).reshape(power.size, -1))
        wanted.append(ideal.reshape(-1))
        weights.append(loud_weights(power, float(power.mean())).reshape(-1))
    worth = np.concatenate(weights)
    drawn = np.random.default_rng(0).choice(len(worth), gains.ROWS, p=worth / worth.sum())
    trees = grow_trees(*(np.concatenate(each)[drawn] for each in (features, wanted)))
    return applied(trees, features_of(noisy, own))


def applied(trees: HistGradientBoostingRegressor, features: NDArray) -> NDArray:
    return gains_of(trees, features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])


def score(clean: Wav, made: Wav) -> tuple[float, float]:
    from pesq import pesq
    from pystoi import stoi

    return float(stoi(clean, made, RATE)), float(pesq(RATE, clean, made, "wb"))


def noise_spectrum(pairs: Sequence[Pair]) -> NDArray:
    return np.exp(np.mean([np.log(power_of(noisy - clean).mean(axis=0) + FLOOR) for noisy, clean in pairs], axis=0))


def decode_all(pairs: Sequence[Pair], kit: uniaudio_cli.Kit) -> list[Wav]:
    """Each noisy side through the codec, at its own level."""
    from uniaudio_cli.audio.transforms import level_db

    found = []
    for noisy, _ in pairs:
        wav = torch.from_numpy(noisy)[None]
        decoded = kit.encoder.decode(kit.encoder.encode(wav).codes)[:, : wav.shape[-1]]
        found.append((decoded * 10 ** ((level_db(wav, RATE) - level_db(decoded, RATE)) / 20))[0].numpy())
    return found


def write_all(folder: Path, kit: uniaudio_cli.Kit) -> list[Wav]:
    """Each noisy side as the LLM writes it after the other pairs, which it shows once each."""
    demonstrations = load_demonstrations(folder, "pair")[:PAIRS]
    task = uniaudio_cli.override_task(uniaudio_cli.load_task("resynthesis"), repeats=1)
    found = []
    for one in demonstrations:
        session = kit.resynthesizer([each for each in demonstrations if each is not one], task)
        found.append(session.enhance(one.audio).wav[0].numpy())
    return found


def cleaned(
    pairs: Sequence[Pair], number: int, decoded: Sequence[Wav], written: Sequence[Wav] | None
) -> dict[str, Wav]:
    """The noisy side of one pair by every system, after the other pairs."""

    def rest(items: Sequence[Any]) -> list[Any]:
        return [item for place, item in enumerate(items) if place != number]

    def learnt(wavs: Sequence[Wav] | None) -> Wav:
        seen, own = (None, None) if wavs is None else (rest(wavs), wavs[number])
        return filtered(noisy, taught(others, seen, noisy, own))

    noisy, others = pairs[number][0], rest(pairs)
    power, shape = power_of(noisy), noise_spectrum(others)
    found = {
        "noisy": noisy,
        "ordinary filter": filtered(noisy, LogSpectralFilter()(power)),
        "the same, noise spectrum of the pairs": filtered(noisy, LogSpectralFilter(shape)(power)),
        "trees taught by pairs": learnt(None),
        "networks and trees taught by pairs and their mixtures (`enhance` with pairs)": filtered(
            noisy, teach_gains(others).start()(power)
        ),
        "trees taught by pairs, with the codec's decoding": learnt(decoded),
        "the codec's decoding alone": decoded[number],
    }
    if written is not None:
        found["trees taught by pairs, with what the LLM writes"] = learnt(written)
        found["what the LLM writes alone"] = written[number]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--llm", action="store_true", help="with what the LLM writes; takes minutes")
    options = parser.parse_args()
    gains.ROWS, gains.TREES = ROWS, TREES
    torch.manual_seed(0)
    pairs = [read_pair(each) for each in load_demonstrations(options.pairs, "pair")[:PAIRS]]
    kit = uniaudio_cli.load(defer_lm=True)
    decoded = decode_all(pairs, kit)
    written = write_all(options.pairs, kit) if options.llm else None
    rows: dict[str, list[tuple[float, float]]] = {}
    for number, (_, clean) in enumerate(pairs):
        for name, made in cleaned(pairs, number, decoded, written).items():
            rows.setdefault(name, []).append(score(clean, made))
            print(number, name, *(f"{value:.3f}" for value in rows[name][-1]), file=sys.stderr, flush=True)
    print("| | STOI | PESQ wb |\n|---|---|---|")
    for name, scores in rows.items():
        stoi, pesq = np.mean(scores, axis=0)
        print(f"| {name} | {stoi:.3f} | {pesq:.2f} |")


if __name__ == "__main__":
    main()
