"""Fit the codebooks of the levels `sounds` and `speech` to features of open audio.

    python recipes/frozen_levels.py FEATURES -o uniaudio_cli/weights/frozen-levels.safetensors

FEATURES holds `yamnet.npz` (embedding [N, 1024], posterior [N, 521], patches a clip, names [521]) and
`whisper-base.npz` (frames [N, 512], lengths of clips, loudness [N]) of clips that no evaluation uses. Beside the
tensors a .json says which encoders they belong to. K-means is seeded; one core takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.codec.frozen.levels import SOUND_OPTIONS, SPEECH_OPTIONS
from uniaudio_cli.codec.frozen.units import Array, Units, segment_means, unit
from uniaudio_cli.codec.frozen.whisper import LOUDNESS_POWER
from uniaudio_cli.codec.frozen.yamnet import SILENCE, Patches

ROWS = 16_000  # that the directions and the codes are fitted to


def fit(
    rows: Array, dimensions: int, whitening: float, books: int, codes: int, temperature: float, normalise: bool
) -> Units:
    """Features of open clips [N, D] -> codebooks, `baseline` still 0."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    rng = np.random.default_rng(0)
    given = rows.astype(np.float64)
    given = unit(given) if normalise else given
    mean = given.mean(axis=0)
    some = (given - mean)[:: max(1, len(given) // ROWS)]
    _, spread, directions = np.linalg.svd(some, full_matrices=False)
    projection = directions[:dimensions].T * (spread[:dimensions] / np.sqrt(len(some))) ** -whitening
    if books > 1:  # a rotation spreads what the first directions carry over all books
        projection = projection @ np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    projected = ((given - mean) @ projection)[rng.permutation(len(given))[:ROWS]]
    centres, error = [], []
    for part in np.split(projected, books, axis=1):
        if codes <= 256:
            found = MiniBatchKMeans(codes, n_init=1, max_iter=30, batch_size=2048, random_state=0).fit(part)
        else:
            found = KMeans(codes, n_init=1, max_iter=15, random_state=0).fit(part)
        centres.append(found.cluster_centers_)
        error.append(found.inertia_ / len(part))
    tensors = {"mean": mean, "projection": projection, "centres": np.stack(centres), "error": np.array(error)}
    blank = {name: value.astype(np.float32) for name, value in tensors.items()}
    return Units.of(blank | {"baseline": np.zeros((1, books * codes))}, temperature, normalise)


def with_baseline(units: Units, clips: list[tuple[Array, Array]], segments: int) -> Units:
    """`clips`: features and weights of each."""
    roots = [np.sqrt(segment_means(units.soft(features), segments, weights)) for features, weights in clips]
    return replace(units, baseline=np.mean(roots, axis=0))


def sound_units(features: Path) -> tuple[Units, list[str]]:
    """The codebook of `sounds`, and for each code the class name that stands out most with it."""
    stored = np.load(features)
    cuts = np.cumsum(stored["patches"])[:-1]
    patches = [
        Patches(embedding.astype(np.float32), posterior)
        for embedding, posterior in zip(
            np.split(stored["embedding"], cuts), np.split(stored["posterior"], cuts), strict=True
        )
    ]
    options = SOUND_OPTIONS
    units = fit(np.concatenate([each.roots for each in patches]), 64, 0.5, 1, 1024, options.temperature, True)
    units = with_baseline(units, [(each.roots, each.weights) for each in patches], options.segments)
    return units, class_of_each(units, patches, [str(name) for name in stored["names"]])


def class_of_each(units: Units, patches: list[Patches], names: list[str]) -> list[str]:
    """The class of each code with the largest p log(p / p over all codes), p being its mean probability there."""
    together = np.zeros((units.size, len(names)))
    for each in patches:
        together += units.soft(each.roots).T @ each.posterior
    p = together / together.sum(axis=1, keepdims=True) + 1e-9
    gain = p * np.log(p / p.mean(axis=0))
    gain[:, SILENCE] = 0
    return [names[place] for place in gain.argmax(axis=1)]


def speech_units(features: Path) -> Units:
    """The codebooks of `speech`."""
    stored = np.load(features)
    cuts = np.cumsum(stored["lengths"])[:-1]
    frames = [each.astype(np.float32) for each in np.split(stored["frames"], cuts)]
    weights = [each**LOUDNESS_POWER for each in np.split(stored["loudness"], cuts)]
    options = SPEECH_OPTIONS
    units = fit(np.concatenate(frames), 128, 1.0, 4, 256, options.temperature, False)
    return with_baseline(units, list(zip(frames, weights, strict=True)), options.segments)


def main() -> None:
    from safetensors.numpy import save_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors to write")
    options = parser.parse_args()
    sounds, names = sound_units(options.features / "yamnet.npz")
    speech = speech_units(options.features / "whisper-base.npz")
    tensors: dict[str, NDArray] = {}
    for level, units in (("sounds", sounds), ("speech", speech)):
        tensors |= {f"{level}.{name}": np.ascontiguousarray(value) for name, value in units.tensors().items()}
    save_file(tensors, options.output)
    words = [f"speech {book}.{code}" for book in range(speech.books) for code in range(speech.size // speech.books)]
    config = {
        "sounds": SOUND_OPTIONS.model_dump(mode="json") | {"words": names},
        "speech": SPEECH_OPTIONS.model_dump(mode="json") | {"words": words},
    }
    options.output.with_suffix(".json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
