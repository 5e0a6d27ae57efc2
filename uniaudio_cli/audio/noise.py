"""An ordinary noise filter: a tracked noise spectrum and log-spectral MMSE gains. Needs no weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FIRST_FRAMES = 6  # that are taken for noise until something is known
PRIOR_SNR = 10**1.5  # of speech where it is present (Gerkmann and Hendriks 2012)
NOISE_SMOOTHING, PRESENCE_SMOOTHING = 0.8, 0.9
DECISION_DIRECTED = 0.92
LEAST_PRIOR = 0.01
FLOOR = 1e-14
Power = NDArray[np.floating]


class LogSpectralFilter:
    """Gains of one recording, frame after frame: log-spectral MMSE (Ephraim and Malah 1985) on a noise spectrum that
    is tracked by the probability of speech (Gerkmann and Hendriks 2012).

    `shape`: the noise's mean power spectrum [F] from pairs, whose level is tracked; it counts as much as what is
    tracked bin by bin. None where there are no pairs.
    """

    def __init__(self, shape: Power | None = None) -> None:
        self.shape = None if shape is None else np.log(shape + FLOOR)
        self.frames = 0
        self.noise: Power = np.zeros(0)
        self.speech: Power = np.zeros(0)
        self.presence: Power = np.zeros(0)

    def __call__(self, power: Power) -> Power:
        """Power [T, F] -> gains [T, F], 0 to 1."""
        return np.stack([self._frame(each + FLOOR) for each in power]) if len(power) else power

    def track(self, power: Power) -> tuple[Power, Power, Power]:
        """Power [T, F] -> gains, the noise spectrum and the probability of speech, all [T, F]."""
        gain, noise, presence = np.empty_like(power), np.empty_like(power), np.empty_like(power)
        for n in range(len(power)):
            gain[n] = self._frame(power[n] + FLOOR)
            noise[n], presence[n] = self.noise, self.presence
        return gain, noise, presence

    def _frame(self, power: Power) -> Power:
        from scipy.special import exp1

        noise = self._follow(power)
        if self.shape is not None:
            tracked = np.log(noise)
            noise = np.exp((tracked + self.shape + (tracked - self.shape).mean()) / 2)
        posterior = np.minimum(power / noise, 1_000)
        prior = np.maximum(posterior - 1, 0)
        if self.speech.size:
            prior = DECISION_DIRECTED * self.speech / noise + (1 - DECISION_DIRECTED) * prior
        prior = np.maximum(prior, LEAST_PRIOR)
        share = prior / (1 + prior)
        gain = np.minimum(share * np.exp(0.5 * exp1(np.maximum(share * posterior, 1e-6))), 1)
        self.speech = np.square(gain) * power
        return gain

    def _follow(self, power: Power) -> Power:
        self.frames += 1
        if self.frames <= FIRST_FRAMES:
            self.noise = power if self.frames == 1 else self.noise + (power - self.noise) / self.frames
            self.presence = np.zeros_like(power)
        ratio = np.minimum(power / self.noise, 200)
        speech = 1 / (1 + (1 + PRIOR_SNR) * np.exp(-ratio * PRIOR_SNR / (1 + PRIOR_SNR)))
        self.presence = PRESENCE_SMOOTHING * self.presence + (1 - PRESENCE_SMOOTHING) * speech
        # Where speech seems to be there for long, the noise has risen.
        speech = np.where(self.presence > 0.99, np.minimum(speech, 0.99), speech)
        estimate = speech * self.noise + (1 - speech) * power
        self.noise = NOISE_SMOOTHING * self.noise + (1 - NOISE_SMOOTHING) * estimate
        return self.noise
