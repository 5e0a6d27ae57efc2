"""An audio LLM as a row of an evaluation: Qwen2-Audio chooses among the labels, without demonstrations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uniaudio_cli.data.episodes import Episode
from uniaudio_cli.evaluation.baselines import package_version
from uniaudio_cli.evaluation.peers import QWEN2_AUDIO, Peer, label_probabilities, words_of
from uniaudio_cli.evaluation.systems import Row, Setup

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import ModelNames

QUESTION = "Which of these labels fits the audio best: {labels}? Answer with the label alone."
END = "<|im_end|>"  # the token that ends a turn
LONGEST = 30.0  # seconds that the model's encoder takes


class AudioLLM:
    """transformers' Qwen2AudioForConditionalGeneration. The score of a label is its log-probability as the answer."""

    probabilities = True

    def __init__(self, name: str, peer: Peer, folder: Path, device: str, dtype: str) -> None:
        from uniaudio_cli.core.device import choose_device, choose_dtype

        self.name, self.peer, self.folder = name, peer, folder
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        # Answers do not depend on demonstrations, so more shots take no more time.
        self.scores: dict[tuple[Path, tuple[str, ...]], Mapping[str, float]] = {}

    @property
    def identity(self) -> Mapping[str, str]:
        runtime = f"transformers {package_version('transformers')}, {str(self.dtype).removeprefix('torch.')}"
        return {"model": self.peer.source, "runtime": runtime, "prompt": "zero-shot, choice of label"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        key = episode.query.path, episode.labels
        if key not in self.scores:
            self.scores[key] = label_probabilities(episode.labels, self.logprobs(*key))
        return self.scores[key]

    def logprobs(self, path: Path, labels: tuple[str, ...]) -> np.ndarray:
        """log P(label, end of answer | clip, question), float64 [labels].

        Raises:
            UniAudioError: the clip cannot be read.
        """
        import torch

        from uniaudio_cli.audio.io import read_wav

        model, processor = self._parts
        rate = processor.feature_extractor.sampling_rate
        wav = read_wav(path, rate, max_seconds=LONGEST)[0].numpy()
        names = [words_of(label) for label in labels]
        content = [{"type": "audio", "audio": ""}, {"type": "text", "text": QUESTION.format(labels=", ".join(names))}]
        turns = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        inputs = processor(text=[text], audio=[wav], sampling_rate=rate, return_tensors="pt").to(self.device)
        inputs["input_features"] = inputs["input_features"].to(self.dtype)
        tokenizer = processor.tokenizer
        end = tokenizer.convert_tokens_to_ids(END)
        found = []
        with torch.inference_mode():
            # The clip and the question are read once; each label goes on from a copy of that state.
            read = model(**inputs, use_cache=True)
            for name in names:
                ids = tokenizer(name, add_special_tokens=False, return_tensors="pt").input_ids.to(self.device)
                after = model(input_ids=ids, past_key_values=copy.deepcopy(read.past_key_values), use_cache=True)
                logits = torch.cat([read.logits[:, -1:], after.logits], dim=1).float().log_softmax(dim=-1)[0]
                said = torch.cat([ids[0], torch.tensor([end], device=self.device)])
                found.append(float(logits.gather(1, said[:, None]).sum()))
        return np.array(found)

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """The model and its processor."""
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        from uniaudio_cli.core.quiet import quiet_transformers

        with quiet_transformers():
            model = Qwen2AudioForConditionalGeneration.from_pretrained(
                self.folder, local_files_only=True, dtype=self.dtype
            )
            processor = AutoProcessor.from_pretrained(self.folder, local_files_only=True)
        return model.eval().to(self.device), processor


def peer_rows(peer: Peer, names: ModelNames, by_name: bool) -> list[Row]:
    """The row of `peer`, the same with and without demonstrations."""
    name = peer.row_name(QWEN2_AUDIO, ", zero-shot")

    def build(setup: Setup) -> AudioLLM:
        return AudioLLM(name, peer, peer.weights(setup.offline), names.device, names.dtype)

    return [Row(name, "fast", build)]
