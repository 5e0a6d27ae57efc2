"""The frozen LLM: ids and caches in, log-probabilities out; the one user of transformers' models. Never knows audio.

Everything it is asked rests on `prefill` (read contexts once), `extend` (read on from there) and `score` (how likely
are these continuations), so that a context shared by a whole folder of queries is read once.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.packing import Pair, fitting, pack

if TYPE_CHECKING:
    from uniaudio_cli.llm.int8 import DecodingModel

# Ids read at a time when many continuations are scored, over all rows and in each, by kind of device. Those of a row
# pay for attention to each other, which is nothing to a GPU; the whole is halved where memory does not suffice.
AT_ONCE = {"cpu": (512, 128)}
AT_ONCE_ELSEWHERE = (8192, 1024)


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


def _shared(cache: Any) -> Any:
    """A cache that can grow while the original stays: layers are copied, tensors are shared until one grows."""
    grown = copy.copy(cache)
    grown.layers = [copy.copy(layer) for layer in cache.layers]
    return grown


class LanguageModel:
    """A causal LM, frozen. Build it with `load_lm`, or from a model of one's own for a test.

    `write_bits`: 8 to write (not to read or to score) with weights of 8 bits on a CPU, None with the model's own.
    """

    def __init__(self, model: Any, name: str, write_bits: int | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.write_bits = write_bits
        self.ids_at_once: int | None = None

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def context_length(self) -> int:
        """Ids the LLM can attend to."""
        return context_length_of(self.model.config)

    def _padded(self, rows: Sequence[Sequence[int]], left: bool) -> tuple[Tensor, Tensor]:
        """(ids, mask), int64 [B, T] on the device."""
        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            ids[number, place] = torch.tensor(row, dtype=torch.int64)
            mask[number, place] = 1
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
            attention_mask=_needed(mask),
            position_ids=position,
            use_cache=True,
            logits_to_keep=_last(ids),
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
            attention_mask=_needed(full),
            position_ids=position,
            past_key_values=_shared(prefix.cache),
            use_cache=True,
            logits_to_keep=0 if every else _last(ids),
            return_dict=True,
        )
        return out.past_key_values, full, out.logits.float()

    def score(
        self,
        prefix: Prefix,
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        near: Sequence[Tensor | None] | None = None,
    ) -> list[list[Tensor]]:
        """Log-probability of every id of every continuation after every context.

        `near`: for a continuation that was heard and may be other ids of `among`, how probable each of them is there:
        log-probabilities [len(continuation), len(among)]. The score of a place is then log sum P(id) near(id), over
        all ids instead of the one that was taken for it; what follows is read after the ids that were.

        Returns:
            result[b][c]: float32 [len(continuations[c])] on the CPU, natural logarithms. With `among`, probabilities
            are normalised over those ids alone, which must hold every id of the continuations.

        Raises:
            UsageError: the LLM's context is full.
        """
        return [row[0] for row in self.score_after(prefix, [()], continuations, among, near)]

    @torch.inference_mode()
    def score_after(
        self,
        prefix: Prefix,
        stems: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        among: Sequence[int] | None = None,
        near: Sequence[Tensor | None] | None = None,
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
        beside = [*(near or [None] * len(continuations))] * len(stems)
        found: list[list[Tensor]] = [[] for _ in range(prefix.rows)]
        read = self._score_packed if _attends_to_all(prefix.cache) else self._score_rows
        start = 0
        while start < len(pairs):
            most, width = AT_ONCE.get(self.device.type, AT_ONCE_ELSEWHERE)
            most = self.ids_at_once or most
            stop = fitting(pairs, start, max(1, min(width, most // prefix.rows)))
            try:
                scores = read(prefix, pairs[start:stop], among, beside[start:stop])
            except RuntimeError as problem:
                if not _out_of_memory(problem) or stop == start + 1:
                    raise
                self.ids_at_once = most // 2
                continue
            for row, more in zip(found, scores, strict=True):
                row += more
            start = stop
        width = len(continuations)
        return [[row[width * s : width * (s + 1)] for s in range(len(stems))] for row in found]

    def check_room(self, mask: Tensor, count: int) -> None:
        """Raise a UsageError where `count` more ids do not fit after those of a mask [B, P]."""
        if mask.shape[1] + count > self.context_length:
            raise UsageError(
                f"the prompt and the answer need more than the {self.context_length} ids {self.name} reads"
            )

    def _score_packed(
        self, prefix: Prefix, pairs: Sequence[Pair], among: Sequence[int] | None, near: Sequence[Tensor | None]
    ) -> list[list[Tensor]]:
        """The scores of the pairs, [b][pair], with all of them in one row beside the cache."""
        packed = pack(pairs)
        logits = [_of(prefix.logits, among)[:, None]]
        foretold = [place for places in packed.places for place in places]
        wanted = sorted({place for place in foretold if place})
        if wanted:
            ids, rows = packed.ids.to(self.device), prefix.rows
            seen = prefix.mask.bool()[:, None].expand(-1, len(ids), -1)
            with self._head(among):
                out = self.model(
                    input_ids=ids.expand(rows, -1),
                    attention_mask=self._hidden(torch.cat([seen, packed.sees.to(self.device).expand(rows, -1, -1)], 2)),
                    position_ids=prefix.mask.sum(dim=1, keepdim=True) + packed.depth.to(self.device),
                    past_key_values=_shared(prefix.cache),
                    use_cache=True,
                    logits_to_keep=torch.tensor(wanted, device=self.device) - 1,
                    return_dict=True,
                )
            logits.append(self._those(out.logits, among))
        where = dict(zip([0, *wanted], range(len(wanted) + 1), strict=True))
        said = torch.cat(logits, dim=1)
        total = said.logsumexp(dim=-1)
        found: list[list[Tensor]] = [[] for _ in range(prefix.rows)]
        for (_, scored), places, beside in zip(pairs, packed.places, near, strict=True):
            index = [where[place] for place in places]
            scores = (_of_heard(said, index, _places(scored, among), beside) - total[:, index]).cpu()
            for row, of_row in zip(found, scores, strict=True):
                row.append(of_row)
        return found

    def _hidden(self, sees: Tensor) -> Tensor:
        """Who sees whom, bool [B, T, S] -> [B, 1, T, S], what is added to the attention's logits: every way of
        transformers' to attend takes that."""
        hidden = torch.zeros(sees.shape, dtype=self.model.dtype, device=sees.device)
        return hidden.masked_fill_(~sees, torch.finfo(hidden.dtype).min)[:, None]

    @staticmethod
    def _those(logits: Tensor, among: Sequence[int] | None) -> Tensor:
        """The model's logits of the ids that count, whether or not `_head` has left the others out."""
        return _of(logits.float(), None if among is None or logits.shape[-1] == len(among) else among)

    def _score_rows(
        self, prefix: Prefix, pairs: Sequence[Pair], among: Sequence[int] | None, near: Sequence[Tensor | None]
    ) -> list[list[Tensor]]:
        """The same with a row and a copy of the cache for every pair, for LLMs whose layers do not see everything."""
        count = len(pairs)
        wide = self.repeat(prefix, count)
        ids, mask = self._padded([[*read, *scored] for read, scored in pairs] * prefix.rows, left=False)
        logits = wide.logits[:, None]
        if ids.shape[1] > 1:
            _, _, more = self._extend(wide, ids[:, :-1], mask[:, :-1], every=True)
            logits = torch.cat([logits, more], dim=1)
        logp = _of(logits, among).log_softmax(dim=-1).cpu()
        found = []
        for number, row in enumerate(logp):
            read, scored = pairs[number % count]
            span = range(len(read), len(read) + len(scored))
            found.append(_of_heard(row, span, _places(scored, among), near[number % count]))
        return [found[start : start + count] for start in range(0, len(found), count)]

    @contextmanager
    def _head(self, among: Sequence[int] | None) -> Iterator[None]:
        """The LLM with a head for those ids alone, where its head is a plain matrix; else as it is."""
        head = self.model.get_output_embeddings()
        if among is None or type(head) is not torch.nn.Linear or hasattr(head, "_hf_hook"):
            yield
            return
        small = torch.nn.Linear(head.in_features, len(among), head.bias is not None, device="meta")
        chosen = torch.tensor(among, device=head.weight.device)
        small.weight = torch.nn.Parameter(head.weight[chosen], requires_grad=False)
        if head.bias is not None:
            small.bias = torch.nn.Parameter(head.bias[chosen], requires_grad=False)
        self.model.set_output_embeddings(small)
        try:
            yield
        finally:
            self.model.set_output_embeddings(head)

    def repeat(self, prefix: Prefix, count: int) -> Prefix:
        """Every row `count` times, next to itself."""
        cache = _shared(prefix.cache)
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

    def writer(self, prefix: Prefix) -> Writer:
        """What is written after every row of a prefix; the prefix stays as it is."""
        return Writer(self, prefix)

    @cached_property
    def quick(self) -> DecodingModel | None:
        """The model's copy for writing; None where it would gain nothing or cannot be copied."""
        from uniaudio_cli.llm.int8 import decoding_model

        return decoding_model(self.model, self.write_bits)


class Writer:
    """Rows that grow. Changed in place, with a cache of its own."""

    def __init__(self, lm: LanguageModel, prefix: Prefix) -> None:
        from uniaudio_cli.llm.int8 import preallocated

        self.lm, self.mask, self.last = lm, prefix.mask, prefix.logits
        self.cache = preallocated(_shared(prefix.cache), lm.quick.dtype if lm.quick else lm.model.dtype)

    @torch.inference_mode()
    def logits(self, unread: Sequence[Sequence[int]], asked: Mapping[int, tuple[int, ...]]) -> dict[int, Tensor]:
        """Read equally many ids in every row, then say what may follow.

        `asked`: by row, the ids in question. Returns their logits, float32 [len(ids)] on the CPU, by row.

        Raises:
            UsageError: the LLM's context is full.
        """
        same = set(asked.values())
        ids = next(iter(same)) if len(same) == 1 else tuple(sorted(set().union(*same)))
        if unread[0]:
            chosen = self._read(unread, ids)[list(asked)].float().cpu()
        else:
            chosen = self.last[list(asked)][:, list(ids)].float().cpu()
        if len(same) == 1:
            return dict(zip(asked, chosen, strict=True))
        place = {id: n for n, id in enumerate(ids)}
        return {row: chosen[n, [place[id] for id in of]] for n, (row, of) in enumerate(asked.items())}

    def _read(self, unread: Sequence[Sequence[int]], ids: tuple[int, ...]) -> Tensor:
        """Logits [B, len(ids)] after the unread ids."""
        rows = torch.tensor(unread, dtype=torch.int64, device=self.lm.device)
        self.lm.check_room(self.mask, rows.shape[1])
        self.mask = torch.cat([self.mask, torch.ones_like(rows)], dim=1)
        options: dict[str, Any] = {"past_key_values": self.cache, "use_cache": True, "logits_to_keep": 1}
        options |= {"attention_mask": _needed(self.mask), "return_dict": True}
        options["position_ids"] = (self.mask.cumsum(dim=1) - 1)[:, -rows.shape[1] :].clamp(min=0)
        quick = self.lm.quick
        if quick is None:
            return self.lm.model(input_ids=rows, **options).logits[:, -1, list(ids)]
        return quick.logits(rows, ids, **options)


def _last(ids: Tensor) -> Tensor:
    """Of which place the logits are wanted, as a tensor: a slice's rows lie apart, and a batch of them is slow."""
    return torch.tensor([ids.shape[1] - 1], device=ids.device)


def _of(logits: Tensor, among: Sequence[int] | None) -> Tensor:
    """The logits [..., V] of some ids alone."""
    return logits if among is None else logits[..., torch.tensor(among, device=logits.device)]


def _places(ids: Sequence[int], among: Sequence[int] | None) -> list[int]:
    """Where the ids stand `among` those that count."""
    if among is None:
        return list(ids)
    place = {id: number for number, id in enumerate(among)}
    return [place[id] for id in ids]


def _of_heard(logits: Tensor, index: Sequence[int], places: Sequence[int], near: Tensor | None) -> Tensor:
    """Logits [..., N, A] in rows `index`: those at `places`, or the sum over all that was `near`; [..., len(index)]."""
    if near is None:
        return logits[..., list(index), list(places)]
    return (logits[..., list(index), :] + near.to(logits.device, logits.dtype)).logsumexp(dim=-1)


def _attends_to_all(cache: Any) -> bool:
    """Whether every layer keeps all it has read: then a mask can say who sees whom."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _out_of_memory(problem: RuntimeError) -> bool:
    said = str(problem).lower()
    return isinstance(problem, torch.OutOfMemoryError) or "out of memory" in said or "allocate memory" in said


def _needed(mask: Tensor) -> Tensor | None:
    """The mask where there is padding; without one, attention takes its quicker causal path."""
    return None if bool(mask.all()) else mask


def context_length_of(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", 2048))
