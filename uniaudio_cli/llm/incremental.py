"""Incremental decoding: rows of ids that grow step by step after a prefix, with a cache of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from uniaudio_cli.llm.int8 import preallocated
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.tensors import attention_mask, share_cache


class IncrementalDecoder:
    """Rows of ids that grow; this object is changed in place and has a cache of its own."""

    def __init__(self, lm: LanguageModel, prefix: Prefix) -> None:
        self.lm, self.mask, self.last = lm, prefix.mask, prefix.logits
        self.cache = preallocated(
            share_cache(prefix.cache), lm.decoding_model.dtype if lm.decoding_model else lm.model.dtype
        )

    @torch.inference_mode()
    def logits(self, pending: Sequence[Sequence[int]], candidates: Mapping[int, tuple[int, ...]]) -> dict[int, Tensor]:
        """Feed equally many pending ids in every row, then return the logits of candidates for the next id.

        `candidates`: by row, the candidate ids. Returns their logits, float32 [len(ids)] on the CPU, by row.

        Raises:
            UsageError: the LLM's context is full.
        """
        same = set(candidates.values())
        ids = next(iter(same)) if len(same) == 1 else tuple(sorted(set().union(*same)))
        if pending[0]:
            chosen = self._feed(pending, ids)[list(candidates)].float().cpu()
        else:
            chosen = self.last[list(candidates)][:, list(ids)].float().cpu()
        if len(same) == 1:
            return dict(zip(candidates, chosen, strict=True))
        place = {id: n for n, id in enumerate(ids)}
        return {row: chosen[n, [place[id] for id in of]] for n, (row, of) in enumerate(candidates.items())}

    @torch.inference_mode()
    def likeliest(self, pending: Sequence[int]) -> int:
        """Feed pending ids, of the one row that there is, then return the likeliest next id of all.

        Raises:
            UsageError: the LLM's context is full.
        """
        logits = self._feed([pending], None) if pending else self.last
        return int(logits[0].argmax())

    def _feed(self, pending: Sequence[Sequence[int]], ids: tuple[int, ...] | None) -> Tensor:
        """Logits [B, len(ids)] after the pending ids; of all ids where None."""
        rows = torch.tensor(pending, dtype=torch.int64, device=self.lm.device)
        self.lm.check_room(self.mask, rows.shape[1])
        self.mask = torch.cat([self.mask, torch.ones_like(rows)], dim=1)
        options: dict[str, Any] = {"past_key_values": self.cache, "use_cache": True, "logits_to_keep": 1}
        options |= {"attention_mask": attention_mask(self.mask), "return_dict": True}
        options["position_ids"] = (self.mask.cumsum(dim=1) - 1)[:, -rows.shape[1] :].clamp(min=0)
        copy = self.lm.decoding_model
        if copy is None:
            logits = self.lm.model(input_ids=rows, **options).logits[:, -1]
            return logits if ids is None else logits[:, list(ids)]
        return copy.logits(rows, ids, **options)
