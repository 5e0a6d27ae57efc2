"""A cascade as a row of an evaluation: Whisper writes a transcript, and the LLM labels the text.

The LLM reads the demonstrations' transcripts with their labels and the query's transcript, and each label is scored as
what follows. It is the same LLM that the product's own row uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation.baselines import package_version, peak_normalised, require_modules
from uniaudio_cli.evaluation.judges import Transcriber
from uniaudio_cli.evaluation.peers import CASCADE, Peer, label_probabilities
from uniaudio_cli.evaluation.systems import Row, Setup
from uniaudio_cli.llm.model import Prefix

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import ModelNames

HEADER = "Each transcript of a recording has one label of: {labels}\n"
NO_SPEECH = "(no speech)"


class Cascade:
    """Whisper, then the LLM on its text. `folder`: Whisper's, as faster-whisper takes it."""

    probabilities = True

    def __init__(self, name: str, setup: Setup, peer: Peer, folder: Path) -> None:
        require_modules("faster_whisper")
        self.name, self.setup, self.peer, self.folder = name, setup, peer, folder
        self.transcripts: dict[Path, str] = {}
        self._read: tuple[tuple[Item, ...], tuple[str, ...], Prefix] | None = None

    @property
    def identity(self) -> Mapping[str, str]:
        lm, _ = self.setup.models.text_model()
        runtime = f"faster-whisper {package_version('faster-whisper')}, int8, beam 5"
        return {"recogniser": self.peer.source, "runtime": runtime, "lm": lm.name}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        lm, tokenizer = self.setup.models.text_model()
        answers = [tokenizer.encode(f" {label}\n") for label in episode.labels]
        query = tokenizer.encode(_line(self.transcript(episode.query.path)))
        ((scores,),) = lm.score_after(self._context(episode), [query], answers)
        return label_probabilities(episode.labels, np.array([float(each.sum()) for each in scores]))

    def transcript(self, path: Path) -> str:
        """What Whisper writes of a clip, on one line.

        Raises:
            UniAudioError: the clip cannot be read.
        """
        if path not in self.transcripts:
            self.transcripts[path] = self._transcriber(peak_normalised(path)) or NO_SPEECH
        return self.transcripts[path]

    def _context(self, episode: Episode) -> Prefix:
        """The demonstrations as the LLM reads them, once for all queries that share them.

        Raises:
            UsageError: they do not fit the LLM's context.
        """
        key = episode.demonstrations, episode.labels
        if self._read is None or self._read[:2] != key:
            lm, tokenizer = self.setup.models.text_model()
            # Piece by piece, so that ids at the seams are those of the query's pieces.
            pieces = [HEADER.format(labels=", ".join(episode.labels))]
            for item in episode.demonstrations:
                pieces += [_line(self.transcript(item.path)), f" {item.label}\n"]
            ids = [*tokenizer.start_ids, *(id for piece in pieces for id in tokenizer.encode(piece))]
            self._read = (*key, lm.prefill([ids]))
        return self._read[2]

    @cached_property
    def _transcriber(self) -> Transcriber:
        return Transcriber(self.folder)


def _line(transcript: str) -> str:
    return f"Transcript: {transcript}\nLabel:"


def peer_rows(peer: Peer, names: ModelNames, by_name: bool) -> list[Row]:
    """The row of `peer`; without demonstrations the LLM reads the labels' names alone."""
    from uniaudio_cli.models.registry import resolve_judge

    name = peer.row_name(CASCADE)

    def build(setup: Setup) -> Cascade:
        folder = resolve_judge(peer.folder or peer.default, setup.offline, setup.progress)
        return Cascade(name, setup, peer, folder)

    return [Row(name, "fast", build)]
