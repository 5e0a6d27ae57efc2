"""The frozen LLM: prefill contexts once, extend them, and score continuations after them.

A context shared by a whole folder of queries is prefilled once; its key/value cache is shared, never copied, until a
row grows. Nothing of a loaded model is changed in place, so several threads can use one `LanguageModel`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.packing import Pair, fitting, pack
from uniaudio_cli.llm.tensors import (
    attention_mask,
    gather_logits,
    is_out_of_memory,
    keeps_all_positions,
    last_position,
    padded,
    positions_of,
    select_ids,
    share_cache,
)

if TYPE_CHECKING:
    from uniaudio_cli.llm.incremental import IncrementalDecoder
    from uniaudio_cli.llm.int8 import DecodingModel

# Ids read at a time when many continuations are scored, over all rows and in each, by kind of device. Those of a row
# pay for attention to each other, which is nothing to a GPU; the whole is halved where memory does not suffice.
BATCH_IDS = {"cpu": (512, 128)}
BATCH_IDS_ELSEWHERE = (8192, 1024)


# Heads of chosen rows that are kept, by their ids.
MAX_HEADS = 8
_UNSET: Any = object()


@dataclass(frozen=True)
class Prefix:
    """Contexts the LLM has read, B rows, padded on the left.

    `cache`: transformers' key/value cache. `mask`: int64 [B, P], 1 where a row holds an id. `logits`: [B, V] of the
    next id. Never changed in place: scoring or decoding after a prefix leaves it as it is.
    """

    cache: Any
    mask: Tensor
    logits: Tensor

    @property
    def rows(self) -> int:
        return self.mask.shape[0]


class LanguageModel:
    """A causal LM, frozen. Build it with `load_lm`, or from a model of one's own for a test.

    `decode_bits`: 8 decodes (not prefills or scores) with 8-bit weights on a CPU, None with the model's own. Threads
    may share one: nothing of the model is changed in place.
    """

    def __init__(self, model: Any, name: str, decode_bits: int | None = None) -> None:
        self._prepare(name, decode_bits)
        self._model = model.eval().requires_grad_(False)

    @property
    def model(self) -> Any:
        """The transformers model."""
        return self._model

    def _prepare(self, name: str, decode_bits: int | None) -> None:
        self.name = name
        self.decode_bits = decode_bits
        # Ids read at a time, halved where memory does not suffice; None: as BATCH_IDS says.
        self.batch_ids: int | None = None
        self._lock = threading.RLock()
        self._heads: dict[tuple[int, ...], Any] = {}
        self._decoding_model: Any = _UNSET

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def context_length(self) -> int:
        """Ids the LLM can attend to."""
        return context_length_of(self.model.config)

    def _padded(self, rows: Sequence[Sequence[int]], left: bool) -> tuple[Tensor, Tensor]:
        """(ids, mask), int64 [B, T] on the device."""
        ids, mask = padded(rows, left)
        return ids.to(self.device), mask.to(self.device)

    @torch.inference_mode()
    def prefill(self, contexts: Sequence[Sequence[int]]) -> Prefix:
        """Read B contexts of at least one id each.

        Raises:
            UsageError: a context is empty or longer than the LLM's context.
        """
        longest = max((len(context) for context in contexts), default=0)
        if not contexts or min(len(context) for context in contexts) == 0:
            raise UsageError("the LLM was given an empty context")
        if longest > self.context_length:
            raise UsageError(f"the context has {longest} ids, {self.name} reads at most {self.context_length}")
        ids, mask = self._padded(contexts, left=True)
        position = (mask.cumsum(dim=1) - 1).clamp(min=0)
        out = self.model(
            input_ids=ids,
            attention_mask=attention_mask(mask),
            position_ids=position,
            use_cache=True,
            logits_to_keep=last_position(ids),
            return_dict=True,
        )
        return Prefix(out.past_key_values, mask, out.logits[:, -1].float())

    def _extend(self, prefix: Prefix, ids: Tensor, mask: Tensor, every: bool) -> tuple[Any, Tensor, Tensor]:
        """Feed ids [B, T] after the prefix: (cache, mask, logits [B, T or 1, V])."""
        self.check_room(prefix.mask, ids.shape[1])
        full = torch.cat([prefix.mask, mask], dim=1)
        position = (full.cumsum(dim=1) - 1)[:, -ids.shape[1] :].clamp(min=0)
        out = self.model(
            input_ids=ids,
            attention_mask=attention_mask(full),
            position_ids=position,
            past_key_values=share_cache(prefix.cache),
            use_cache=True,
            logits_to_keep=0 if every else last_position(ids),
            return_dict=True,
        )
        return out.past_key_values, full, out.logits.float()

    def score(
        self,
        prefix: Prefix,
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        soft: Sequence[Tensor | None] | None = None,
    ) -> list[list[Tensor]]:
        """Log-probability of every id of every continuation after every context.

        `soft`: for a continuation whose ids are uncertain, the log-probability of each of `among` at each place,
        [len(continuation), len(among)]. The score of a place is then log sum P(id) soft(id) over `among`; later places
        are conditioned on the given ids.

        Returns:
            result[b][c]: float32 [len(continuations[c])] on the CPU, natural logarithms. With `among`, probabilities
            are normalised over those ids alone, which must hold every id of the continuations.

        Raises:
            UsageError: the LLM's context is full.
        """
        return [row[0] for row in self.score_after(prefix, [()], continuations, among, soft)]

    @torch.inference_mode()
    def score_after(
        self,
        prefix: Prefix,
        stems: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        soft: Sequence[Tensor | None] | None = None,
    ) -> list[list[list[Tensor]]]:
        """`score` with each of the stems between the context and the continuations: queries before their answers.

        A stem is read once for all continuations. What follows a context is read side by side in one row, many pieces
        at a time, and the context's cache is not copied for each.

        Returns:
            result[b][s][c]: float32 [len(continuations[c])] on the CPU.

        Raises:
            UsageError: the LLM's context is full.
        """
        longest = max(map(len, stems), default=0) + max(map(len, continuations), default=1) - 1
        self.check_room(prefix.mask, longest)
        pairs = [(stem, continuation) for stem in stems for continuation in continuations]
        soft_of = [*(soft or [None] * len(continuations))] * len(stems)
        found: list[list[Tensor]] = [[] for _ in range(prefix.rows)]
        score_pairs = self._score_packed if keeps_all_positions(prefix.cache) else self._score_rows
        start = 0
        while start < len(pairs):
            most, width = BATCH_IDS.get(self.device.type, BATCH_IDS_ELSEWHERE)
            most = self.batch_ids or most
            stop = fitting(pairs, start, max(1, min(width, most // prefix.rows)))
            try:
                scores = score_pairs(prefix, pairs[start:stop], among, soft_of[start:stop])
            except RuntimeError as problem:
                if not is_out_of_memory(problem) or stop == start + 1:
                    raise
                self.batch_ids = most // 2
                continue
            for row, more in zip(found, scores, strict=True):
                row += more
            start = stop
        width = len(continuations)
        return [[row[width * s : width * (s + 1)] for s in range(len(stems))] for row in found]

    def check_room(self, mask: Tensor, count: int) -> None:
        """Raise a UsageError where `count` more ids do not fit after those of a mask [B, P]."""
        if mask.shape[1] + count > self.context_length:
            raise UsageError(f"prompt and answer need more than the {self.context_length} ids {self.name} reads")

    def _score_packed(
        self, prefix: Prefix, pairs: Sequence[Pair], among: Sequence[int] | None, soft: Sequence[Tensor | None]
    ) -> list[list[Tensor]]:
        """The scores of the pairs, [b][pair], with all of them in one row soft_of the cache."""
        packed = pack(pairs)
        logits = [select_ids(prefix.logits, among)[:, None]]
        predicted = [place for places in packed.places for place in places]
        wanted = sorted({place for place in predicted if place})
        if wanted:
            ids, rows = packed.ids.to(self.device), prefix.rows
            seen = prefix.mask.bool()[:, None].expand(-1, len(ids), -1)
            out = self._with_head(among)(
                input_ids=ids.expand(rows, -1),
                attention_mask=self._hidden(torch.cat([seen, packed.sees.to(self.device).expand(rows, -1, -1)], 2)),
                position_ids=prefix.mask.sum(dim=1, keepdim=True) + packed.depth.to(self.device),
                past_key_values=share_cache(prefix.cache),
                use_cache=True,
                logits_to_keep=torch.tensor(wanted, device=self.device) - 1,
                return_dict=True,
            )
            logits.append(self._those(out.logits, among))
        where = dict(zip([0, *wanted], range(len(wanted) + 1), strict=True))
        all_logits = torch.cat(logits, dim=1)
        total = all_logits.logsumexp(dim=-1)
        found: list[list[Tensor]] = [[] for _ in range(prefix.rows)]
        for (_, scored), places, soft_of in zip(pairs, packed.places, soft, strict=True):
            index = [where[place] for place in places]
            scores = (gather_logits(all_logits, index, positions_of(scored, among), soft_of) - total[:, index]).cpu()
            for row, of_row in zip(found, scores, strict=True):
                row.append(of_row)
        return found

    def _hidden(self, sees: Tensor) -> Tensor:
        """A visibility mask, bool [B, T, S] -> [B, 1, T, S] to add to attention logits, which every backend takes."""
        hidden = torch.zeros(sees.shape, dtype=self.model.dtype, device=sees.device)
        return hidden.masked_fill_(~sees, torch.finfo(hidden.dtype).min)[:, None]

    @staticmethod
    def _those(logits: Tensor, among: Sequence[int] | None) -> Tensor:
        """The model's logits of the ids that count, whether or not the head has the others."""
        return select_ids(logits.float(), None if among is None or logits.shape[-1] == len(among) else among)

    def _score_rows(
        self, prefix: Prefix, pairs: Sequence[Pair], among: Sequence[int] | None, soft: Sequence[Tensor | None]
    ) -> list[list[Tensor]]:
        """The same with a row and a copy of the cache for every pair, for LLMs whose layers do not see everything."""
        count = len(pairs)
        wide = self.repeat(prefix, count)
        ids, mask = self._padded([[*read, *scored] for read, scored in pairs] * prefix.rows, left=False)
        logits = wide.logits[:, None]
        if ids.shape[1] > 1:
            _, _, more = self._extend(wide, ids[:, :-1], mask[:, :-1], every=True)
            logits = torch.cat([logits, more], dim=1)
        logp = select_ids(logits, among).log_softmax(dim=-1).cpu()
        found = []
        for number, row in enumerate(logp):
            read, scored = pairs[number % count]
            span = range(len(read), len(read) + len(scored))
            found.append(gather_logits(row, span, positions_of(scored, among), soft[number % count]))
        return [found[start : start + count] for start in range(0, len(found), count)]

    def _with_head(self, among: Sequence[int] | None) -> Any:
        """The model with a head for those ids alone, where its head is a plain matrix; else the model itself.

        A shallow copy that shares every layer: the loaded model stays as it is.
        """
        head = self.model.get_output_embeddings()
        names = [name for name, child in self.model.named_children() if child is head]
        if among is None or type(head) is not torch.nn.Linear or hasattr(head, "_hf_hook") or len(names) != 1:
            return self.model
        key = tuple(among)
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            rows = torch.tensor(key, device=head.weight.device)
            small = torch.nn.Linear(head.in_features, len(key), head.bias is not None, device="meta")
            small.weight = torch.nn.Parameter(head.weight[rows], requires_grad=False)
            if head.bias is not None:
                small.bias = torch.nn.Parameter(head.bias[rows], requires_grad=False)
            found = copy.copy(self.model)
            found._modules = {**self.model._modules, names[0]: small}
            self._heads[key] = found
        return found

    def repeat(self, prefix: Prefix, count: int) -> Prefix:
        """Every row `count` times, next to itself."""
        cache = share_cache(prefix.cache)
        cache.batch_repeat_interleave(count)
        return Prefix(cache, prefix.mask.repeat_interleave(count, dim=0), prefix.logits.repeat_interleave(count, dim=0))

    @torch.inference_mode()
    def extend(self, prefix: Prefix, ids: Sequence[int]) -> Prefix:
        """The prefix with the same ids after every row.

        Raises:
            UsageError: the LLM's context is full.
        """
        if not ids:
            return prefix
        row = torch.tensor([list(ids)] * prefix.rows, dtype=torch.int64, device=self.device)
        cache, mask, logits = self._extend(prefix, row, torch.ones_like(row), every=False)
        return Prefix(cache, mask, logits[:, -1])

    def continue_with(self, prefix: Prefix, rows: Sequence[Sequence[int]]) -> Prefix:
        """A prefix of one row read on with each of `rows`: one row each.

        Raises:
            UsageError: the LLM's context is full.
        """
        with torch.inference_mode():
            ids, mask = self._padded(rows, left=True)
            wide = prefix if len(rows) == 1 else self.repeat(prefix, len(rows))
            cache, full, logits = self._extend(wide, ids, mask, every=False)
            return Prefix(cache, full, logits[:, -1])

    def decoder(self, prefix: Prefix) -> IncrementalDecoder:
        """Decoding of ids after every row of a prefix; the prefix stays as it is."""
        from uniaudio_cli.llm.incremental import IncrementalDecoder

        return IncrementalDecoder(self, prefix)

    @property
    def decoding_model(self) -> DecodingModel | None:
        """The model's copy for decoding; None where it would gain nothing or cannot be copied."""
        with self._lock:
            if self._decoding_model is _UNSET:
                from uniaudio_cli.llm.int8 import decoding_model

                self._decoding_model = decoding_model(self.model, self.decode_bits)
            return self._decoding_model


def context_length_of(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", 2048))
