"""Grammars for constrained decoding: a trie of sequences, several of them in a row, and audio that always decodes.

A grammar is a small automaton: `start()` gives a state, `allowed(state)` the ids that may follow (empty: finished),
`advance(state, id)` the next state. It is the single source of what may be generated.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from uniaudio_cli.core.errors import UsageError


class Grammar(Protocol):
    def start(self) -> Hashable: ...

    def allowed(self, state: Any) -> tuple[int, ...]: ...

    def advance(self, state: Any, chosen: int) -> Hashable: ...


class Trie:
    """A trie of id sequences. A state is the tuple of ids so far.

    Where one sequence begins another, close both with an end marker.
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
class SequenceState:
    """`count`: whole sequences so far; `inside`: ids of the one begun; `ended`: whether the end id is generated."""

    count: int = 0
    inside: tuple[int, ...] = ()
    ended: bool = False


class RepeatedTrie:
    """One to `most` of the sequences, one after another, then the end id.

    Where an id may go on a sequence or begin another one, it goes on.

    Raises:
        UsageError: a sequence is empty, there is none, or one holds the end id.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], end: int, most: int) -> None:
        self.whole = frozenset(map(tuple, sequences))
        if not self.whole or () in self.whole or any(end in sequence for sequence in self.whole):
            raise UsageError("an answer needs texts of one id or more that do not hold its end marker")
        self.trie = Trie(sorted(self.whole))
        self.end, self.most = end, most

    def start(self) -> SequenceState:
        return SequenceState()

    def allowed(self, state: SequenceState) -> tuple[int, ...]:
        if state.ended:
            return ()
        longer = self.trie.allowed(state.inside)
        if state.inside not in self.whole:
            return longer
        another = self.trie.allowed(()) if state.count + 1 < self.most else ()
        return tuple(sorted({*longer, *another, self.end}))

    def advance(self, state: SequenceState, chosen: int) -> SequenceState:
        if chosen in self.trie.allowed(state.inside):
            return replace(state, inside=(*state.inside, chosen))
        if chosen == self.end:
            return replace(state, ended=True)
        return SequenceState(state.count + 1, (chosen,))


@dataclass(frozen=True)
class AudioState:
    """`level`: index among the levels written; `count`: codes of it written (interleaved, of this group of frames);
    `coarse`: codes of the first level, once known (interleaved, those generated so far); `inside`: ids of a code begun
    and not ended; `ending`: ids of the end marker generated."""

    level: int = 0
    count: int = 0
    coarse: int | None = None
    inside: tuple[int, ...] = ()
    ending: int = 0

    @property
    def between_groups(self) -> bool:
        """Interleaved: a group of frames has just ended, and another or the end marker may follow."""
        return self.coarse is not None and self.level == self.count == self.ending == len(self.inside) == 0


class AudioGrammar:
    """All codes of the first level, then of the next, in the exact ratio of the strides, then the end marker.

    `levels`: per generated level, the id sequences of its codes. `strides`: latent frames per code of those levels.
    `least`, `most`: bounds on the number of first-level codes; equal bounds fix the length. A free length needs a
    second level whose first ids neither begin nor go on a code of the first: they say where the first level ended.
    With no `end`, the last code cannot be one that begins another.

    Raises:
        UsageError: the bounds are impossible, or a free length is wanted of levels that share ids.
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
        self._after_first = self._stops()
        if least != most:
            self._check_free()
        self._either = tuple(sorted({*self._after_first, *self.tries[0].allowed(())}))
        # One tuple for one set of ids, however often it is allowed.
        self._unions: dict[tuple[int, tuple[int, ...], tuple[int, ...]], tuple[int, ...]] = {}

    def _stops(self) -> tuple[int, ...]:
        """What may stand where another code of the first level could, and says that there is none."""
        return self.tries[1].allowed(()) if len(self.tries) > 1 else self.end[:1]

    def _check_free(self) -> None:
        after_first = set(self._after_first)
        if after_first & {*self.tries[0].allowed(()), *self._go_on(0)}:
            raise UsageError("this codec's levels share ids: the answer's length must be fixed")
        if not after_first:
            raise UsageError("an answer of free length needs an end marker")

    def _go_on(self, level: int) -> set[int]:
        """Ids that make a longer code of a whole one."""
        whole = self.codes[level]
        return {code[n] for code in whole for n in range(1, len(code)) if code[:n] in whole}

    def start(self) -> AudioState:
        return AudioState()

    def allowed(self, state: AudioState) -> tuple[int, ...]:
        if state.level == len(self.tries):
            return self.end[state.ending : state.ending + 1]
        if state.inside:
            longer = self.tries[state.level].allowed(state.inside)
            if state.inside not in self.codes[state.level]:
                return longer
            following = self.allowed(self._ended(state))
            key = (state.level, state.inside, following)
            if key not in self._unions:
                self._unions[key] = tuple(sorted({*longer, *following}))
            return self._unions[key]
        return self._begin(state)

    def advance(self, state: AudioState, chosen: int) -> AudioState:
        if state.level == len(self.tries):
            return replace(state, ending=state.ending + 1)
        trie = self.tries[state.level]
        if state.inside and chosen not in trie.allowed(state.inside):
            # The code was whole as it stood ("river"), and this id does not make it a longer one ("riverbed").
            return self.advance(self._ended(state), chosen)
        if state.level == 0 and not state.inside and chosen not in trie.allowed(()):
            return self.advance(self._stopped(state), chosen)
        begun = replace(state, inside=(*state.inside, chosen))
        return begun if trie.allowed(begun.inside) else self._ended(begun)

    def _begin(self, state: AudioState) -> tuple[int, ...]:
        """The ids that may follow a whole code."""
        if state.level == 0 and self.least <= state.count < self.most:
            return self._either
        if state.level == 0 and state.count == self.most:
            return self._after_first
        return self.tries[state.level].allowed(())

    def _stopped(self, state: AudioState) -> AudioState:
        """The state once the first level has no more codes."""
        return AudioState(1, 0, state.count)

    def _ended(self, state: AudioState) -> AudioState:
        """The state after the code it is inside of."""
        count = state.count + 1
        coarse = self.most if state.level == 0 and self.least == self.most else state.coarse
        if coarse is not None and count == coarse * self.ratios[state.level]:
            return AudioState(state.level + 1, 0, coarse)
        return AudioState(state.level, count, coarse)


class InterleavedGrammar(AudioGrammar):
    """The same interleaved: each code of the first level is followed by the codes of the others for its frames, so
    that sound can be made while the rest is being generated; then the end marker.

    A free length needs an end marker whose first id neither begins a code of the first level nor goes on one of the
    last. No code of one level may go on with an id that begins a code of another (`Vocabulary` refuses such levels).
    """

    def _stops(self) -> tuple[int, ...]:
        return self.end[:1]

    def _check_free(self) -> None:
        if not self.end:
            raise UsageError("an answer of free length needs an end marker")
        if {*self.end[:1]} & {*self.tries[0].allowed(()), *self._go_on(len(self.tries) - 1)}:
            raise UsageError("this codec's words begin as the end marker does: the answer's length must be fixed")

    def _begin(self, state: AudioState) -> tuple[int, ...]:
        if state.level == 0 and (state.coarse or 0) >= self.least:
            return self._either
        return self.tries[state.level].allowed(())

    def _stopped(self, state: AudioState) -> AudioState:
        return AudioState(len(self.tries))

    def _ended(self, state: AudioState) -> AudioState:
        count = state.count + 1
        if count < self.ratios[state.level]:
            return AudioState(state.level, count, state.coarse)
        if state.level + 1 < len(self.tries):
            return AudioState(state.level + 1, 0, state.coarse)
        generated = (state.coarse or 0) + 1
        return AudioState(len(self.tries)) if generated == self.most else AudioState(0, 0, generated)


GRAMMARS = {"flattened": AudioGrammar, "interleaved": InterleavedGrammar}
