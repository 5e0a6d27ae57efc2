"""Context budget: how many tokens the parts of a prompt take of an LLM's context, and how many shots fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.prompting.prompt import Prompt
from uniaudio_cli.prompting.vocabulary import Vocabulary


@dataclass(frozen=True)
class ContextBudget:
    """Numbers of tokens of a prompt, and of the LLM's context.

    `shots[n]`: the n-th demonstrations of all labels, repeats included. `rest`: the instruction and the query.
    `answer`: the most that is generated or scored after it. `examples_for`: the label or text whose demonstrations are
    in the prompt, None for all. `level`: name of the only codec level in it, None for all of the task's.
    """

    shots: tuple[int, ...]
    rest: int
    answer: int
    context: int
    examples_for: str | None = None
    level: str | None = None

    @property
    def ids(self) -> int:
        """Tokens of the prompt and its answer."""
        return sum(self.shots) + self.rest + self.answer

    @property
    def most_shots(self) -> int:
        """How many shots fit; where all do, more are counted at their average length."""
        left = self.context - self.rest - self.answer
        for number, ids in enumerate(self.shots):
            if ids > left:
                return number
            left -= ids
        return len(self.shots) + (len(self.shots) * left // sum(self.shots) if self.shots else 0)

    def check(self) -> None:
        """Check that prompt and answer fit.

        Raises:
            UsageError: they do not; the message says how many shots would fit.
        """
        if self.ids <= self.context:
            return
        over = (
            f"the prompt has {self.ids - self.answer} tokens, the answer may need {self.answer}, and the LLM's context "
            f"holds {self.context}"
        )
        if not self.shots:
            raise UsageError(f"{over}; give a shorter clip or fewer levels")
        each, most = sum(self.shots) / len(self.shots), self.most_shots
        fewer = f"at most {most} shot{'s' * (most > 1)}, " if most else ""
        raise UsageError(
            f"{over}; of its {len(self.shots)} shots of about {each:.0f} tokens, {most} would fit: give {fewer}"
            f"fewer repeats, shorter clips or fewer levels"
        )


def context_budget(
    prompt: Prompt,
    vocabulary: Vocabulary,
    answer: int,
    context: int,
    shots: Sequence[int],
    examples_for: str | None = None,
    level: str | None = None,
) -> ContextBudget:
    """The budget of `prompt` with an answer of `answer` tokens in a context of `context`.

    `shots[i]`: which shot the i-th demonstration of each repeat belongs to, from 0 up.
    """
    sizes = [0] * (max(shots) + 1 if shots else 0)
    for number, pieces in enumerate(prompt.demonstrations):
        sizes[shots[number % len(shots)]] += len(prompt.encode_pieces(pieces, vocabulary))
    return ContextBudget(tuple(sizes), len(prompt.ids(vocabulary)) - sum(sizes), answer, context, examples_for, level)
