"""Public models as rows of `uniaudio eval`, chosen with --peers: CLAP, a cascade of Whisper and the LLM, Qwen2-Audio.

They answer the same episodes as every other row. Weights come from the hub, or from a folder: `clap=FOLDER`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniaudio_cli.codec.frozen.units import softmax
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.core.paths import is_file, show, suggest
from uniaudio_cli.evaluation.systems import Row

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import ModelNames

FLAG = "--peers"
# What names of rows begin with.
CLAP, CASCADE, QWEN2_AUDIO = "CLAP", "Whisper + LLM cascade", "Qwen2-Audio"
NAMES = (CLAP, CASCADE, QWEN2_AUDIO)
# Where weights come from by default: the hub, or for the cascade's recogniser a preset of `uniaudio models list`.
SOURCES: Mapping[str, str] = {
    "clap": "laion/clap-htsat-unfused",
    "cascade": "whisper-base",
    "qwen2-audio": "Qwen/Qwen2-Audio-7B-Instruct",
}


@dataclass(frozen=True)
class Peer:
    """A peer as the user names it. `default`: where its weights come from without `folder`. `flag`: that names it."""

    name: str
    default: str
    folder: str = ""
    flag: str = FLAG

    def row_name(self, name: str, rest: str = "") -> str:
        """A row's name; it says which folder's weights answer, so that answers of others are never mixed with them."""
        return f"{name}{f' ({Path(self.folder).name})' if self.folder else ''}{rest}"

    @property
    def source(self) -> str:
        """What results.json says of the weights."""
        return Path(self.folder).name if self.folder else self.default

    def weights(self, offline: bool, tokenizer: bool = True) -> Path:
        """The folder of a transformers model, downloaded where needed. `tokenizer`: whether the model takes one.

        Raises:
            MissingWeightsError: it is not here and cannot be fetched.
            UniAudioError: what the hub gives is not whole.
        """
        from uniaudio_cli.models.download import hub_model

        if self.folder:
            return Path(self.folder)
        try:
            return hub_model(self.default, offline, tokenizer=tokenizer)
        except MissingWeightsError as problem:
            raise MissingWeightsError(
                f"{self.flag} {self.name}: {problem}; {self.name}=FOLDER takes a copy"
            ) from problem


def parse_peers(text: str | None, sources: Mapping[str, str] = SOURCES, flag: str = FLAG) -> tuple[Peer, ...]:
    """ "clap,qwen2-audio=weights/q" as peers. `sources`: the names there are, and where their weights come from.

    Raises:
        UsageError: an unknown or repeated name, or a folder without a model.
    """
    found = tuple(_parse(each.strip(), sources, flag) for each in text.split(",")) if text is not None else ()
    names = [peer.name for peer in found]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{flag} {show(text or '')}: names {repeated[0]} twice")
    return found


def _parse(text: str, sources: Mapping[str, str], flag: str) -> Peer:
    name, given, folder = text.partition("=")
    if name not in sources:
        raise UsageError(f"{flag}: there is no {show(name)!r}{suggest(name, sources)}; choose {', '.join(sources)}")
    wanted = "model.bin" if name == "cascade" else "config.json"
    if given and not is_file(Path(folder) / wanted):
        raise UsageError(f"{flag} {name}={show(folder)}: no folder with a {wanted}")
    return Peer(name, sources[name], folder, flag)


def peer_rows(peers: Sequence[Peer], names: ModelNames, by_name: bool = False) -> list[Row]:
    """The rows of peers, in the order given. `by_name`: of an evaluation without demonstrations."""
    from uniaudio_cli.evaluation import audio_llm, cascade, clap

    makers = {"clap": clap.peer_rows, "cascade": cascade.peer_rows, "qwen2-audio": audio_llm.peer_rows}
    return [row for peer in peers for row in makers[peer.name](peer, names, by_name)]


def words_of(label: str) -> str:
    """A label as words.

    >>> words_of("Dog_bark")
    'dog bark'
    """
    return " ".join(label.replace("_", " ").replace("-", " ").lower().split())


def label_probabilities(labels: Sequence[str], logits: np.ndarray) -> dict[str, float]:
    """The softmax of logits [labels], by label."""
    return dict(zip(labels, map(float, softmax(logits)), strict=True))
