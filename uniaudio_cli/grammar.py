"""Which ids may come next: a label trie, audio that decodes. Knows ids only, never logits.

A grammar is a small automaton: `start()` gives a state, `allowed(state)` the ids that may follow (empty: finished),
`advance(state, id)` the next state. It is the single source of what a generation may write.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from uniaudio_cli.errors import UsageError


class Grammar(Protocol):
    def start(self) -> Hashable: ...

    def allowed(self, state: Any) -> tuple[int, ...]: ...

    def advance(self, state: Any, chosen: int) -> Hashable: ...


class Trie:
    """Id sequences as a tree. A state is the tuple of ids so far.

    A sequence that is the start of another one can still be told from it: write both with an end marker.
    """

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        branches: dict[tuple[int, ...], set[int]] = {}
        for sequence in sequences:
            for length in range(len(sequence)):
                branches.setdefault(tuple(sequence[:length]), set()).add(sequence[length])
        self.branches = {state: tuple(sorted(nexts)) for state, nexts in branches.items()}

    def start(self) -> tuple[int, ...]:
        return ()

    def allowed(self, state: tuple[int, ...]) -> tuple[int, ...]:
        return self.branches.get(state, ())

    def advance(self, state: tuple[int, ...], chosen: int) -> tuple[int, ...]:
        return (*state, chosen)


@dataclass(frozen=True)
class AudioState:
    """`level`: index among the levels written; `count`: codes of it written; `coarse`: codes of the first level, once
    known; `inside`: ids of a code begun and not ended; `ending`: ids of the end marker written."""

    level: int = 0
    count: int = 0
    coarse: int | None = None
    inside: tuple[int, ...] = ()
    ending: int = 0


class AudioGrammar:
    """All codes of the first level, then of the next, in the exact ratio of the strides, then the end marker.

    `levels`: per level written, the id sequences of its codes. `strides`: latent frames per code of those levels.
    `least`, `most`: bounds on the number of first-level codes; equal bounds fix the length. A free length needs a
    second level whose first ids neither begin nor go on a code of the first: they say where the first level ended.
    With no `end`, the last code cannot be one that begins another.

    Raises:
        UsageError: the bounds are impossible, or a free length is asked of levels that share ids.
    """

    def __init__(
        self,
        levels: Sequence[Sequence[tuple[int, ...]]],
        strides: Sequence[int],
        least: int,
        most: int,
        end: Sequence[int],
    ) -> None:
        if not 1 <= least <= most:
            raise UsageError(f"the answer's length must be at least one frame and at most {most}, not {least}")
        self.tries = [Trie(codes) for codes in levels]
        self.codes = [frozenset(map(tuple, codes)) for codes in levels]
        self.ratios = [strides[0] // stride for stride in strides]
        self.least, self.most, self.end = least, most, tuple(end)
        after_first = set(self.tries[1].allowed(())) if len(levels) > 1 else set(self.end[:1])
        begin = set(self.tries[0].allowed(()))
        go_on = {code[n] for code in self.codes[0] for n in range(1, len(code)) if code[:n] in self.codes[0]}
        if least != most and after_first & (begin | go_on):
            raise UsageError("this codec's levels share ids: the answer's length must be fixed")
        if least != most and not after_first:
            raise UsageError("an answer of free length needs an end marker")
        self._either = tuple(sorted(after_first | begin))
        self._after_first = tuple(sorted(after_first))

    def start(self) -> AudioState:
        return AudioState()

    def allowed(self, state: AudioState) -> tuple[int, ...]:
        if state.level == len(self.tries):
            return self.end[state.ending : state.ending + 1]
        if state.inside:
            longer = self.tries[state.level].allowed(state.inside)
            if state.inside not in self.codes[state.level]:
                return longer
            return tuple(sorted({*longer, *self.allowed(self._ended(state))}))
        if state.level == 0 and self.least <= state.count < self.most:
            return self._either
        if state.level == 0 and state.count == self.most:
            return self._after_first
        return self.tries[state.level].allowed(())

    def advance(self, state: AudioState, chosen: int) -> AudioState:
        if state.level == len(self.tries):
            return replace(state, ending=state.ending + 1)
        trie = self.tries[state.level]
        if state.inside and chosen not in trie.allowed(state.inside):
            # The code was whole as it stood ("river"), and this id does not make it a longer one ("riverbed").
            return self.advance(self._ended(state), chosen)
        if state.level == 0 and not state.inside and chosen not in trie.allowed(()):
            return self.advance(AudioState(1, 0, state.count), chosen)
        begun = replace(state, inside=(*state.inside, chosen))
        return begun if trie.allowed(begun.inside) else self._ended(begun)

    def _ended(self, state: AudioState) -> AudioState:
        """The state after the code it is inside of."""
        count = state.count + 1
        coarse = self.most if state.level == 0 and self.least == self.most else state.coarse
        if coarse is not None and count == coarse * self.ratios[state.level]:
            return AudioState(state.level + 1, 0, coarse)
        return AudioState(state.level, count, coarse)
