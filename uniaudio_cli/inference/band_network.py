"""The gains of 24 bands, by a small recurrent network that sees the whole spectrum and is taught at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uniaudio_cli.audio.gain_features import BINS, FEATURES

BANDS = 24
LOWEST_HERTZ, HIGHEST_HERTZ = 60.0, 7_900.0
WIDTH, DROPOUT = 64, 0.2
BATCH, FRAMES, LEARNING_RATE, WARM_UP = 32, 70, 4e-3, 20
# Another microphone, now and then: the standard deviation in log10 of power of a random smooth colour of a recording.
COLOUR, COLOUR_POINTS = 0.15, 6
WEIGHT_POWER = 0.3  # loud bands count more, by this power of theirs


def mel(hertz: NDArray) -> NDArray:
    return 1_127 * np.log1p(hertz / 700)


def band_edges() -> tuple[NDArray, NDArray]:
    """Of bins [257] and of the edges and centres of bands [26], in mel."""
    ends = mel(np.array([LOWEST_HERTZ, HIGHEST_HERTZ]))
    return mel(np.arange(BINS) * 8_000 / (BINS - 1)), np.linspace(ends[0], ends[1], BANDS + 2)


def means_matrix() -> NDArray:
    """[257, 24]: power of bins -> mean power of overlapping triangular bands, evenly spaced in mel."""
    bins, edges = band_edges()
    hertz, corners = (700 * np.expm1(each / 1_127) for each in (bins, edges))
    rise = (hertz[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - hertz[:, None]) / (corners[2:] - corners[1:-1])
    found = np.maximum(0, np.minimum(rise, fall))
    return cast(NDArray, found / found.sum(axis=0))


MEANS = means_matrix()


def spread(bands: NDArray) -> NDArray:
    """What bands have [T, 24] -> what bins have [T, 257]: between the centres of two bands in proportion."""
    bins, edges = band_edges()
    place = np.clip((bins - edges[1]) / (edges[2] - edges[1]), 0, BANDS - 1)
    below = np.minimum(place.astype(int), BANDS - 2)
    share = (place - below).astype(np.float32)
    return bands[:, below] * (1 - share) + bands[:, below + 1] * share


def band_inputs(features: NDArray) -> NDArray:
    """Features of bins [T, F, 18], F at most 257 -> float32 [T, 72]: log10 of each band's power over the noise, of
    its power and of its noise over the loudest level of late. Bins that are not there are silent."""
    noise = np.full((len(features), BINS), -8.0)
    noise[:, : features.shape[1]] = features[..., FEATURES.index("noise")]
    ratio = np.zeros_like(noise)
    ratio[:, : features.shape[1]] = features[..., FEATURES.index("ratio")]
    power, under = (np.log10(10**each @ MEANS + 1e-14) for each in (ratio + noise, noise))
    found = [np.clip(power - under, -2, 4), np.clip(power, -6, 2), np.clip(under, -6, 2)]
    return np.concatenate(found, axis=1).astype(np.float32)


def loud_weights(power: NDArray, mean: float) -> NDArray:
    """Power of any shape -> weights by which its loud parts count more; `mean`: of the recording's power."""
    weights: NDArray = (power / (mean + 1e-14) + 1e-12) ** WEIGHT_POWER
    return weights


def band_targets(noisy: NDArray, clean: NDArray) -> tuple[NDArray, NDArray]:
    """Power of two sides [T, 257] -> the root of the ideal gain of every band and its weight, float32 [T, 24]."""
    power = noisy @ MEANS
    gain = np.sqrt(np.minimum(clean @ MEANS / (power + 1e-14), 1))
    weight = loud_weights(power, float(noisy.mean()))
    return np.sqrt(gain).astype(np.float32), weight.astype(np.float32)


class BandNetwork(nn.Module):
    """A linear layer, a recurrent one and a linear one over both: inputs [1, T, 72] -> roots of gains [1, T, 24]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: NDArray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(inputs.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(inputs.std(axis=0) + np.float32(1e-2)))
        self.enter = nn.Linear(inputs.shape[1], WIDTH)
        self.recur = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.leave = nn.Linear(2 * WIDTH, BANDS)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Also the state [1, 1, 64] after the last frame, for the next call."""
        entered = self.drop(torch.relu(self.enter((inputs - self.mean) / self.scale)))
        recurred, state = self.recur(entered, state)
        return torch.sigmoid(self.leave(self.drop(torch.cat([entered, recurred], dim=-1)))), state

    @torch.inference_mode()
    def roots(self, inputs: NDArray) -> NDArray:
        """Of a whole recording: inputs [T, 72] -> float32 [T, 24]."""
        found: NDArray = self(torch.from_numpy(inputs)[None])[0][0].numpy()
        return found


def teach(inputs: NDArray, roots: NDArray, weights: NDArray, steps: int, seed: int) -> BandNetwork:
    """A network that learnt the roots of gains [N, 24] of frames [N, 72] in a row, by weighted squared error."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rng, network = np.random.default_rng(seed), BandNetwork(inputs)
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        weights = weights / max(float(weights.mean()), 1e-12)
        length = min(FRAMES, len(inputs))
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * (1 - step / steps)
            starts = rng.integers(len(inputs) - length + 1, size=BATCH)
            given, wanted, weight = (
                torch.from_numpy(np.stack([side[at : at + length] for at in starts]))
                for side in (inputs, roots, weights)
            )
            made, _ = network(_coloured(given))
            loss = (weight * (made - wanted).square()).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    return network.eval()


def _coloured(inputs: Tensor) -> Tensor:
    """Inputs [B, T, 72] with a colour each; ratios to the noise stay."""
    colour = torch.randn(len(inputs), 1, COLOUR_POINTS) * COLOUR
    colour = nn.functional.interpolate(colour, BANDS, mode="linear", align_corners=True)
    return inputs + torch.cat([torch.zeros_like(colour), colour, colour], dim=-1)


class BandGains:
    """The mean of what networks give for one recording, frame after frame."""

    def __init__(self, networks: Sequence[BandNetwork]) -> None:
        self._networks = networks
        self._states: list[Tensor | None] = [None] * len(networks)

    @torch.inference_mode()
    def __call__(self, inputs: NDArray) -> NDArray:
        """Inputs [T, 72] of the next frames -> roots of gains, float32 [T, 24]."""
        found = np.zeros((len(inputs), BANDS), np.float32)
        # A frame at a time: a sum over several may round otherwise, and the result depend on how the input was cut.
        for number, frame in enumerate(torch.from_numpy(inputs)):
            for place, network in enumerate(self._networks):
                roots, self._states[place] = network(frame[None, None], self._states[place])
                found[number] += roots[0, 0].numpy() / len(self._networks)
        return found
