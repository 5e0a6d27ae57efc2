"""Prompts: task, template and demonstrations as pieces of text and audio, and those as token ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.tokenizer import Tokenizer
from uniaudio_cli.prompting.template import Kind, Slot, Template, split
from uniaudio_cli.prompting.vocabulary import Layout, Vocabulary

if TYPE_CHECKING:
    from uniaudio_cli.prompting.task import Task


@dataclass(frozen=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True)
class Audio:
    """A piece of audio: one row of codes per level, `codes[i]`: [T_i] of level `levels[i]`, and their layout."""

    codes: tuple[tuple[int, ...], ...]
    levels: tuple[int, ...]
    layout: Layout = "flattened"

    @classmethod
    def of(cls, codes: Sequence[Any] | Mapping[int, Any], levels: Sequence[int], layout: Layout = "flattened") -> Audio:
        """The given `levels` of a clip; `codes[k]`: level k's row [T_k], a list, array or tensor."""
        rows = [codes[level] for level in levels]
        return cls(tuple(tuple(r.tolist() if hasattr(r, "tolist") else r) for r in rows), tuple(levels), layout)


Piece = Text | Audio

# The kind of piece that each `Task.output` is.
OUTPUT_KINDS: dict[str, Kind] = {"label": "text", "audio": "audio"}


@dataclass(frozen=True)
class Example:
    """One demonstration: its input and its output."""

    input: Piece
    output: Piece


@dataclass(frozen=True)
class Prompt:
    """A prompt in pieces. `prefix` is the same for all queries with the same demonstrations.

    `demonstrations`: one entry per copy where they are repeated. `continues_with`: the kind of what follows the prompt:
    the output, or the query's input where the template has no output. The opening bracket of audio is the end of the
    query. `end`: the text that follows an answer in the demonstrations.
    """

    template: Template
    instruction: tuple[Piece, ...]
    demonstrations: tuple[tuple[Piece, ...], ...]
    query: tuple[Piece, ...]
    continues_with: Kind
    end: str

    @property
    def prefix(self) -> tuple[Piece, ...]:
        """The instruction and all demonstrations."""
        return self.instruction + tuple(piece for pieces in self.demonstrations for piece in pieces)

    def prefix_ids(self, vocabulary: Vocabulary) -> list[int]:
        """The ids of the LLM's first token, where the template has it, and of `prefix`."""
        bos = vocabulary.tokenizer.bos_id if self.template.bos else None
        return [*([] if bos is None else [bos]), *self.encode_pieces(self.prefix, vocabulary)]

    def query_ids(self, vocabulary: Vocabulary) -> list[int]:
        """The ids of the query."""
        return self.encode_pieces(self.query, vocabulary)

    def ids(self, vocabulary: Vocabulary) -> list[int]:
        """The whole prompt: `prefix_ids`, then `query_ids`."""
        return self.prefix_ids(vocabulary) + self.query_ids(vocabulary)

    def continuation(self, value: str | Audio, vocabulary: Vocabulary) -> list[int]:
        """The ids of an answer directly after `query_ids`: a label or other text, or audio."""
        if isinstance(value, Audio):
            return vocabulary.ids(value.codes, value.levels, value.layout)
        if self.template.tokenise == "pieces":
            return vocabulary.tokenizer.encode(value)
        last = list(_joined(self.query))[-1:]
        before = last[0].text if last and isinstance(last[0], Text) else ""
        return _encode_after(before, self.template.around("text")[0] + value, vocabulary.tokenizer)

    def end_ids(self, vocabulary: Vocabulary) -> list[int]:
        """The ids of `end`, which mark the end of a generated answer."""
        if self.continues_with == "text" and self.template.tokenise == "joined":
            return _encode_after("word", self.end, vocabulary.tokenizer)
        return vocabulary.tokenizer.encode(self.end)

    def encode_pieces(self, pieces: Iterable[Piece], vocabulary: Vocabulary) -> list[int]:
        """The ids of some of the prompt's pieces."""
        ids: list[int] = []
        for piece in _joined(pieces) if self.template.tokenise == "joined" else pieces:
            if isinstance(piece, Audio):
                ids += vocabulary.ids(piece.codes, piece.levels, piece.layout)
            else:
                ids += vocabulary.tokenizer.encode(piece.text)
        return ids


def build_prompt(
    task: Task, template: Template, examples: Sequence[Example], query: Piece, vocabulary: Vocabulary
) -> Prompt:
    """The prompt of a query after its demonstrations, in the format of a template.

    The demonstrations are repeated `task.repeats` times, in turn. {labels} in the task's instruction becomes their
    labels, sorted, each once.

    Raises:
        UsageError: the instruction has a placeholder without a value.
        InvalidCodesError: an audio's codes are not of `vocabulary`.
        ValueError: an example or the query is not of the task's input and output.
    """
    output = OUTPUT_KINDS[task.output]
    pieces = [(query, task.input)]
    for example in examples:
        pieces += [(example.input, task.input), (example.output, output)]
    for piece, kind in pieces:
        if not isinstance(piece, Audio if kind == "audio" else Text):
            raise ValueError(f"task {task.name} takes {kind}, not {piece!r}")
        if isinstance(piece, Audio):
            vocabulary.checked(piece.codes, piece.levels)
    continues_with = output if template.shows_output else _kind(query)
    ending = _filled(template.query, template, {"input": query})
    # "joined" tokenises the text before an answer with the answer: its first word may be one token with it.
    if continues_with == "audio" or template.tokenise == "pieces":
        ending.append(template.around(continues_with)[0])
    return Prompt(
        template=template,
        instruction=_instruction(task, template, examples),
        demonstrations=task.repeats
        * tuple(
            _pieces(_filled(template.demonstration, template, {"input": example.input, "output": example.output}))
            for example in examples
        ),
        query=_pieces(ending),
        continues_with=continues_with,
        end=template.after_answer(continues_with, _kind(query)),
    )


def render(prompt: Prompt, vocabulary: Vocabulary) -> str:
    """A prompt as readable text: every part with its number of tokens, audio as words."""
    parts = [("instruction", prompt.instruction)] if prompt.instruction else []
    parts += [(f"demonstration {n}", pieces) for n, pieces in enumerate(prompt.demonstrations, 1)]
    parts += [("query", prompt.query)]
    lines = []
    for name, pieces in parts:
        lines.append(f"--- {name}, {len(prompt.encode_pieces(pieces, vocabulary))} tokens")
        lines.append(_readable(pieces, vocabulary).strip("\n"))
    return "\n".join([*lines, f"--- {len(prompt.ids(vocabulary))} tokens in all"])


def _kind(piece: Piece) -> Kind:
    return "audio" if isinstance(piece, Audio) else "text"


def _instruction(task: Task, template: Template, examples: Sequence[Example]) -> tuple[Piece, ...]:
    """The task's instruction as one text; nothing where the task or the template has none."""
    if not task.instruction or not template.instruction:
        return ()
    labels = [example.output.text for example in examples if isinstance(example.output, Text)]
    known = {"labels": template.labels.render(labels)} if labels else {}
    try:
        filled = _substituted(task.instruction, known)
    except KeyError as error:
        raise UsageError(f"task {task.name}: instruction: no value for {{{error.args[0]}}}") from error
    return (Text(_substituted(template.instruction, {"instruction": filled})),)


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return "".join(values[part.name] if isinstance(part, Slot) else part for part in split(text))


def _filled(text: str, template: Template, values: Mapping[str, Piece]) -> list[str | Piece]:
    """The text's own words as str, and the values as pieces with the template's text around them."""
    parts: list[str | Piece] = []
    for part in split(text):
        if isinstance(part, Slot):
            before, after = template.around(_kind(values[part.name]))
            parts += [before, values[part.name], after]
        else:
            parts.append(part)
    return parts


def _pieces(parts: Iterable[str | Piece]) -> tuple[Piece, ...]:
    """The template's own words between two values as one text, apart from values that are text."""
    pieces: list[Piece] = []
    words = ""
    for part in parts:
        if isinstance(part, str):
            words += part
            continue
        pieces += [Text(words), part] if words else [part]
        words = ""
    return tuple([*pieces, Text(words)] if words else pieces)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Adjacent texts as one."""
    words = ""
    for piece in pieces:
        if isinstance(piece, Text):
            words += piece.text
            continue
        if words:
            yield Text(words)
        words = ""
        yield piece
    if words:
        yield Text(words)


def _encode_after(before: str, text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of `text` after `before`; those of `text` alone where one token spans both."""
    head, both = tokenizer.encode(before), tokenizer.encode(before + text)
    return both[len(head) :] if both[: len(head)] == head else tokenizer.encode(text)


def _readable(pieces: Iterable[Piece], vocabulary: Vocabulary) -> str:
    text = ""
    for piece in pieces:
        if isinstance(piece, Text):
            text += piece.text
        else:
            gap = "" if not text or text[-1].isspace() else " "
            rows = vocabulary.words(piece.codes, piece.levels)
            groups = len(rows[0]) if piece.layout == "interleaved" else 1
            parts = [row[g * len(row) // groups : (g + 1) * len(row) // groups] for g in range(groups) for row in rows]
            text += gap + " ".join(word for part in parts for word in part)
    return text
