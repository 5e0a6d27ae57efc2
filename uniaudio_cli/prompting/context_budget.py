"""TODO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.prompting.template import load_template as load_template
from uniaudio_cli.prompting.vocabulary import Vocabulary

if TYPE_CHECKING:
    pass
from uniaudio_cli.prompting.prompt import Prompt


@dataclass(frozen=True)
class ContextBudget:
    """What a prompt takes of an LLM's context, in ids.

    `shots[n]`: the n-th demonstrations of all its labels, repeats included. `rest`: the instruction and the query.
    `answer`: what may be written or scored after it. `about`, `level`: whose demonstrations and which level it shows,
    None for all.
    """

    shots: tuple[int, ...]
    rest: int
    answer: int
    context: int
    about: str | None = None
    level: str | None = None

    @property
    def ids(self) -> int:
        return sum(self.shots) + self.rest + self.answer

    @property
    def most_shots(self) -> int:
        """How many shots fit: of those there are, or if they all do, of more that are as long on average."""
        left = self.context - self.rest - self.answer
        for number, ids in enumerate(self.shots):
            if ids > left:
                return number
            left -= ids
        return len(self.shots) + (len(self.shots) * left // sum(self.shots) if self.shots else 0)

    def check(self) -> None:
        """Refuse what does not fit.

        Raises:
            UsageError: with how many shots would fit.
        """
        if self.ids <= self.context:
            return
        over = (
            f"the prompt has {self.ids - self.answer} tokens, the answer may need {self.answer}, and the LLM reads "
            f"{self.context} in all"
        )
        if not self.shots:
            raise UsageError(f"{over}; give a shorter clip or show fewer levels")
        each, most = sum(self.shots) / len(self.shots), self.most_shots
        fewer = f"at most {most} shot{'s' * (most > 1)}, " if most else ""
        raise UsageError(
            f"{over}; of its {len(self.shots)} shots of about {each:.0f} tokens, {most} would fit: give {fewer}"
            f"fewer repeats or shorter clips, or show fewer levels"
        )


def context_budget(
    prompt: Prompt,
    vocabulary: Vocabulary,
    answer: int,
    context: int,
    shots: Sequence[int],
    about: str | None = None,
    level: str | None = None,
) -> ContextBudget:
    """What `prompt` and an answer of so many ids take of `context`; `shots[i]`: which shot the i-th demonstration of
    each repeat is, from 0 up."""
    sizes = [0] * (max(shots) + 1 if shots else 0)
    for number, pieces in enumerate(prompt.demonstrations):
        sizes[shots[number % len(shots)]] += len(prompt._encode(pieces, vocabulary))
    return ContextBudget(tuple(sizes), len(prompt.ids(vocabulary)) - sum(sizes), answer, context, about, level)
