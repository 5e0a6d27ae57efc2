"""CLAP as rows of an evaluation: labels by their text, and by the embeddings of the demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniaudio_cli.codec.frozen.units import unit
from uniaudio_cli.data.episodes import Episode
from uniaudio_cli.evaluation.baselines import EMBEDDING_SCALE, logistic_regression, package_version
from uniaudio_cli.evaluation.peers import CLAP, Peer, label_probabilities, words_of
from uniaudio_cli.evaluation.systems import Row, Setup

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import ModelNames

# Seconds of a clip that are used, and of the pieces whose embeddings are averaged: CLAP crops longer ones at random.
LONGEST, PIECE = 60.0, 10.0
SENTENCE = "This is a sound of {label}."


class Embedder:
    """transformers' ClapModel: clips and texts to unit vectors float64 [D]. `folder`: its weights and processor."""

    def __init__(self, folder: Path, device: str) -> None:
        from uniaudio_cli.core.device import choose_device

        self.folder, self.device = folder, choose_device(device)
        self.clips: dict[Path, np.ndarray] = {}
        self.texts: dict[str, np.ndarray] = {}

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """The model and its processor."""
        from transformers import ClapModel, ClapProcessor

        from uniaudio_cli.core.quiet import quiet_transformers

        with quiet_transformers():
            model = ClapModel.from_pretrained(self.folder, local_files_only=True)
            processor = ClapProcessor.from_pretrained(self.folder, local_files_only=True)
        return model.eval().to(self.device), processor

    @property
    def scale(self) -> float:
        """What cosines of clip and text are multiplied by before the softmax."""
        return self._parts[0].logit_scale_a.exp().item()

    def clip(self, path: Path) -> np.ndarray:
        """The mean over pieces of a clip, of length 1.

        Raises:
            UniAudioError: it cannot be read.
        """
        if path not in self.clips:
            self.clips[path] = self._clip(path)
        return self.clips[path]

    def text(self, text: str) -> np.ndarray:
        if text not in self.texts:
            import torch

            model, processor = self._parts
            with torch.inference_mode():
                inputs = processor.tokenizer([text], return_tensors="pt").to(self.device)
                self.texts[text] = _unit(model.get_text_features(**inputs).pooler_output[0])
        return self.texts[text]

    def _clip(self, path: Path) -> np.ndarray:
        import torch

        from uniaudio_cli.audio.io import read_wav

        model, processor = self._parts
        extractor = processor.feature_extractor
        rate = extractor.sampling_rate
        wav = read_wav(path, rate, max_seconds=LONGEST)[0].numpy()
        found = []
        with torch.inference_mode():
            for start in range(0, len(wav), round(PIECE * rate)):
                piece = wav[start : start + round(PIECE * rate)]
                inputs = extractor(piece, sampling_rate=rate, return_tensors="pt").to(self.device)
                found.append(_unit(model.get_audio_features(**inputs).pooler_output[0]))
        return unit(np.mean(found, axis=0))


def _unit(vector: Any) -> np.ndarray:
    """A tensor [D] as a unit vector float64 [D]."""
    return unit(vector.double().cpu().numpy())


class CLAPRow:
    """A row made of an embedder's vectors."""

    probabilities = True

    def __init__(self, name: str, embedder: Embedder, peer: Peer) -> None:
        self.name, self.embedder, self.peer = name, embedder, peer

    def predict(self, episode: Episode) -> Mapping[str, float]:
        raise NotImplementedError

    @property
    def identity(self) -> Mapping[str, str]:
        return {"model": self.peer.source, "runtime": f"transformers {package_version('transformers')}"}


class ByText(CLAPRow):
    """The label whose sentence is nearest to the clip; demonstrations are not used."""

    def predict(self, episode: Episode) -> Mapping[str, float]:
        texts = [self.embedder.text(SENTENCE.format(label=words_of(label))) for label in episode.labels]
        return label_probabilities(
            episode.labels, self.embedder.scale * np.array(texts) @ self.embedder.clip(episode.query.path)
        )


class ByDemonstrations(CLAPRow):
    """A logistic regression on the clips' embeddings, by the recipe of YAMNet's row."""

    def predict(self, episode: Episode) -> Mapping[str, float]:
        return logistic_regression(episode, lambda path: EMBEDDING_SCALE * self.embedder.clip(path))


def peer_rows(peer: Peer, names: ModelNames, by_name: bool) -> list[Row]:
    """The rows of `peer`; that by demonstrations only where there are some."""

    def row(system: type[CLAPRow], rest: str) -> Row:
        name = peer.row_name(CLAP, rest)

        def build(setup: Setup) -> CLAPRow:
            if peer not in setup.shared:
                setup.shared[peer] = Embedder(peer.weights(setup.offline), names.device)
            return system(name, setup.shared[peer], peer)

        return Row(name, "fast", build)

    by_text = row(ByText, ", labels by text")
    return [by_text] if by_name else [by_text, row(ByDemonstrations, " + logistic regression")]
