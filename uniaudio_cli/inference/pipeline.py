"""The one path: demonstrations and a query in, a `Reply` out, whatever the task. Never knows the terminal.

    heard  = kit.hear(wav)                           wav -> codes
    prompt = build_prompt(task, ..., vocabulary)     codes, text -> shared prefix + query
    reply  = score(...) or generate(...)             ids -> label, or ids -> codes -> wav

A `Session` reads the demonstrations once and then answers any number of queries.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.features import loud_distance, texture
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.prosody import PROSODY, coded, level_name, measured
from uniaudio_cli.audio.transforms import fit, level_db, normalise_level
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.quantizer import SIMILARITY_SCALE
from uniaudio_cli.codec.streaming import StreamDecoder
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import show, suggest
from uniaudio_cli.data.demonstrations import Demonstration, choose, load_demonstrations
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.scoring import LabelReadout, LikelihoodReadout, Query, Readout, TokenObservation
from uniaudio_cli.inference.selection import margins, representatives
from uniaudio_cli.llm.constraints import GRAMMARS, AudioGrammar
from uniaudio_cli.llm.decoding import generate, write
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.ngram import NgramCache
from uniaudio_cli.prompting.context_budget import ContextBudget, context_budget
from uniaudio_cli.prompting.prompt import Audio, Example, Piece, Prompt, Text, build_prompt, load_template
from uniaudio_cli.prompting.prompt import show as show_prompt
from uniaudio_cli.prompting.task import Task, load_task, override_task
from uniaudio_cli.prompting.template import Template
from uniaudio_cli.prompting.vocabulary import Layout, Vocabulary

T = TypeVar("T")

# Clips that are asked about together.
AT_ONCE = 16
# Windows of a long input overlap by this share, cross-faded.
OVERLAP = 0.25
# Queries that are answered together: the LLM moves its weights once for all of them.
ROWS_WRITTEN = 8
# Seconds of silence between words that are spoken one by one.
PAUSE = 0.08
# Demonstrations of a text among which those that come through the codec best are looked for.
CANDIDATES = {"carried": 5, "distinct": 8}


@dataclass(frozen=True)
class EncodedClip:
    """A clip as the LLM will see it. `codes`: per level, all levels of the codec. `samples`: at the codec's rate.
    `similar`: per level, the cosine of every code to what was heard, float16 [T, K]; None of a clip that is only
    remembered by its codes. `prosody`: the codes of what was measured, where that was asked for."""

    codes: list[list[int]]
    samples: int
    similar: list[Tensor] | None = field(default=None, compare=False, repr=False)
    prosody: tuple[int, ...] = ()

    def level(self, level: int) -> Sequence[int]:
        """The codes of one level, `PROSODY` too."""
        return self.prosody if level == PROSODY else self.codes[level]

    def shown(self, levels: Sequence[int], order: Layout = "levels") -> Audio:
        """The levels a prompt shows, in the order it writes them in."""
        return Audio.of({level: self.level(level) for level in levels}, levels, order)


@dataclass(frozen=True)
class Reply:
    """An answer. For labels: `scores` (probabilities over the labels) and the likeliest `label`, None where the task
    abstains; for audio: `wav` [1, T] float32 and `codes` per level written (of the last window where there are
    several), and the `answer` text that was spoken."""

    label: str | None = None
    scores: dict[str, float] | None = None
    wav: Tensor | None = None
    codes: list[list[int]] | None = None
    answer: str | None = None


@dataclass(frozen=True)
class Kit:
    """A codec, a frozen LLM and the vocabulary between them: everything that is loaded once.

    `remembered`: codes of demonstrations heard before, which are not encoded again.
    """

    codec: Codec
    lm: LanguageModel
    vocabulary: Vocabulary
    remembered: CodeCache | None = None

    def hear(self, wav: Tensor) -> EncodedClip:
        """wav float32 [1, T] at the codec's rate -> codes, brought to the codec's level first where it asks for one."""
        if self.codec.config.level_db is not None:
            wav = normalise_level(wav, self.codec.config.level_db, self.codec.sample_rate)
        levels = self.codec.encode_soft(wav[None])
        similar = [level.similarity[0].half().cpu() for level in levels]
        return EncodedClip([level.codes[0].tolist() for level in levels], wav.shape[-1], similar)

    def read(self, path: Path, task: Task) -> Tensor:
        """A file as the task wants its clips: float32 [1, T]."""
        clip = task.clip
        # The loudest stretch can be anywhere, but nobody searches an hour for one second.
        most = clip.seconds if clip.crop == "start" else 60 * clip.seconds
        wav = read_wav(path, self.codec.sample_rate, max_seconds=most)
        return fit(wav, self.codec.sample_rate, clip.seconds, clip.crop, clip.pad)

    def hear_again(self, wav: Tensor) -> EncodedClip:
        """`hear`, of a clip that will be heard again by another run: its codes are remembered."""
        if self.remembered is None:
            return self.hear(wav)
        codes = self.remembered.codes(wav)
        if codes is not None:
            return EncodedClip(codes, wav.shape[-1])
        heard = self.hear(wav)
        self.remembered.keep(wav, heard.codes)
        return heard

    def hear_shifted(self, path: Path, task: Task, again: bool = False) -> list[EncodedClip]:
        """A file heard once for each of the task's time_offsets_ms, where its readout makes something of them; else once."""
        wav = self.read(path, task)
        time_offsets_ms = (
            task.clip.time_offsets_ms
            if task.output == "label" and task.readout == "likelihood"
            else task.clip.time_offsets_ms[:1]
        )
        samples = [ms * self.codec.sample_rate // 1000 for ms in time_offsets_ms]
        if task.levels == (PROSODY,):  # nothing else would be made of the codes
            heard = [EncodedClip([], wav.shape[-1])] * len(samples)
        else:
            hear = self.hear_again if again else self.hear
            heard = [hear(torch.nn.functional.pad(wav, (count, 0))) for count in samples]
        if PROSODY in task.levels:
            values = self.measure(wav)
            moved = [coded(values, number / len(heard)) for number in range(len(heard))]
            heard = [replace(each, prosody=tuple(codes)) for each, codes in zip(heard, moved, strict=True)]
        return heard

    def measure(self, wav: Tensor) -> tuple[float, ...]:
        """wav float32 [1, T], as loud as it was recorded -> the values of `prosody.MEASURES`."""
        return measured(wav, self.codec.sample_rate)

    def weight(self, level: int) -> float:
        """What a level counts in the likelihood readout: half as much where it has twice the codes a second."""
        return 1.0 if level == PROSODY else self.codec.strides[level] / self.codec.strides[0]

    def session(self, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> Session:
        """Hear the demonstrations, in the order given.

        Raises:
            UsageError: there are none, or the codec has no such levels.
            UniAudioError: one cannot be read.
        """
        if not demonstrations:
            raise UsageError(f"task {task.name}: needs demonstrations, and there are none; give a folder with --demos")
        if max(task.levels) >= len(self.codec.strides):
            raise UsageError(f"level {max(task.levels)}: this codec has levels 0 to {len(self.codec.strides) - 1}")
        if task.output == "audio" and task.levels != tuple(range(len(task.levels))):
            raise UsageError(f"levels {list(task.levels)}: audio is made from level 0 up, with none left out")
        if task.output == "label" and task.readout == "likelihood":
            # Levels are asked apart, so one that this LLM has no words for can be left out.
            written = tuple(level for level in task.levels if level in (PROSODY, *self.vocabulary.levels))
            task = override_task(task, levels=written or task.levels)
        session = Session(self, task, tuple(demonstrations), seed)
        _ = session.examples  # heard now: one that cannot be read is told of once, not with every query
        return session

    def classify(
        self, files: Iterable[str | Path], demos: str | Path, task: str = "sound-event", **options: Any
    ) -> Iterator[Reply]:
        """Label files from a folder of labelled clips; see `prepare` for the options."""
        session = self.prepare(demos, task, **options)
        for some in in_batches(map(Path, files)):
            for reply in session.label_files(some):
                if isinstance(reply, UniAudioError):
                    raise reply
                yield reply

    def speak(
        self, text: str, demos: str | Path, task: str = "spoken-answer", think: bool = True, **options: Any
    ) -> Reply:
        """A spoken answer in the voice of a folder of clips; see `prepare` for the options."""
        return self.prepare(demos, task, **options)(text, think=think)

    def enhance(self, file: str | Path, demos: str | Path, task: str = "enhance", **options: Any) -> Reply:
        """A cleaned recording, from a folder of (noisy, clean) pairs; see `prepare` for the options."""
        return self.prepare(demos, task, **options)(Path(file))

    def prepare(
        self,
        demos: str | Path,
        task: str,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> Session:
        """A session of a shipped task (or a .yaml file) on a folder of demonstrations.

        Args:
            shots: demonstrations per label, the task's by default. labels: only these. seed: of their choice.
            changes: fields of `Task` in place of the task's own, such as readout="label" or levels=(0, 1).
        """
        chosen = override_task(load_task(task), **changes)
        found = load_demonstrations(Path(demos), chosen.demonstration_kind)
        return self.session(chosen, self.picked(chosen, found, shots or chosen.shots, seed, labels), seed)

    def picked(
        self,
        task: Task,
        demonstrations: Sequence[Demonstration],
        shots: int,
        seed: int = 0,
        labels: Collection[str] | None = None,
    ) -> list[Demonstration]:
        """`shots` demonstrations of each label or text: drawn (`choose`) or, where the task says so, those of
        CANDIDATES drawn that the codec carries best (`lost`) or that stay distinct in it (`margins`), or those that are
        typical of their label (`typical`)."""
        if task.pick == "drawn":
            return choose(demonstrations, shots, seed, labels)
        if task.pick == "typical":
            return choose(demonstrations, shots, seed, labels, lambda some, count: self.typical(task, some, count))
        texts: dict[str | None, list[Demonstration]] = {}
        found = choose(demonstrations, max(shots, CANDIDATES[task.pick]), seed, labels)
        for each in found:
            texts.setdefault(each.text, []).append(each)
        crowded = [some for some in texts.values() if len(some) > shots]
        if crowded and task.pick == "distinct":
            worth = self.margins(found, task)
        else:
            worth = {each: -self.lost(each.audio, task) for some in crowded for each in some}
        for some in crowded:
            some.sort(key=worth.__getitem__, reverse=True)
        return [some[n] for n in range(shots) for some in texts.values() if n < len(some)]

    def typical(self, task: Task, some: list[Demonstration], count: int) -> list[Demonstration]:
        """Of one label's clips the `count` that stand for the rest, in the words of the task's first level."""
        if len(some) <= count:
            return some
        heard = [self.hear_shifted(each.audio, task, again=True) for each in some]
        words = [[code for each in clip for code in each.level(task.levels[0])] for clip in heard]
        return [some[place] for place in representatives(words, count)]

    def lost(self, path: Path, task: Task) -> float:
        """How far a clip is from what the codec makes of it, in nats of its louder frames' spectrum."""
        return loud_distance(*self.copied(path, task), self.codec.sample_rate)

    def margins(self, some: Sequence[Demonstration], task: Task) -> dict[Demonstration, float]:
        """By how much each, as the codec makes it, sounds more like another of its text than like one of any other."""
        both = [[texture(wav, self.codec.sample_rate) for wav in self.copied(each.audio, task)] for each in some]
        originals, copies = np.array(both).swapaxes(0, 1)
        return dict(zip(some, margins(copies, originals, [each.text for each in some]), strict=True))

    def copied(self, path: Path, task: Task) -> tuple[Tensor, Tensor]:
        """A file as the task wants its clips, at the codec's level, and what the codec makes of it; [1, T] each."""
        wav = self.read(path, task)
        if self.codec.config.level_db is not None:
            wav = normalise_level(wav, self.codec.config.level_db, self.codec.sample_rate)
        return wav, self.decode(self.hear(wav).codes)[:, : wav.shape[-1]]

    def decode(self, codes: Sequence[Sequence[int]], seed: int = 0) -> Tensor:
        """Codes per level -> wav float32 [1, T]."""
        return self.codec.decode([torch.tensor([row]) for row in codes], seed=seed)[0].cpu()


@dataclass(frozen=True)
class Session:
    """A task with its demonstrations; each call answers one query."""

    kit: Kit
    task: Task
    demonstrations: tuple[Demonstration, ...]
    seed: int

    @cached_property
    def examples(self) -> tuple[tuple[Example, EncodedClip], ...]:
        """Every demonstration as an example for the prompt, with what was heard of its audio."""
        found = []
        for demonstration in self.demonstrations:
            if self.task.output == "label":
                label = Text(demonstration.label or "")
                for heard in self.kit.hear_shifted(demonstration.audio, self.task, again=True):
                    found.append((Example(heard.shown(self.task.levels), label), heard))
                continue
            wav = self.kit.read(demonstration.audio, self.task)
            heard = self.kit.hear(wav)
            shown = heard.shown(self.task.levels, self.order)
            if demonstration.target is not None:
                clean = self.kit.hear(self._paired(demonstration, wav))
                found.append((Example(shown, clean.shown(self.task.levels, self.order)), clean))
            else:
                found.append((Example(Text(demonstration.text or ""), shown), heard))
        return tuple(found)

    def _paired(self, demonstration: Demonstration, wav: Tensor) -> Tensor:
        """The clean side of a pair, exactly as long as the noisy one."""
        assert demonstration.target is not None
        clean = self.kit.read(demonstration.target, self.task)[:, : wav.shape[-1]]
        return torch.nn.functional.pad(clean, (0, wav.shape[-1] - clean.shape[-1]))

    @property
    def labels(self) -> tuple[str, ...]:
        """The candidate labels, sorted."""
        return tuple(sorted({d.label for d in self.demonstrations if d.label is not None}))

    @cached_property
    def order(self) -> Layout:
        """The order that audio is written in."""
        return order_of(self.task, self.kit.vocabulary)

    def about(self, text: str | None) -> list[tuple[Example, EncodedClip]]:
        """The examples of one label or text, or all of them."""
        return [each for each in self.examples if text is None or Text(text) in (each[0].input, each[0].output)]

    def prompt(self, query: Piece, template: str | None = None, about: str | None = None) -> Prompt:
        """The prompt of a query, with the demonstrations of one label or text, or with all."""
        chosen = [example for example, _ in self.about(about)]
        return build_prompt(
            self.task, load_template(template or self.task.template), chosen, query, self.kit.vocabulary
        )

    @cached_property
    def _template(self) -> Template:
        return load_template(self.task.template)

    @cached_property
    def readout(self) -> Readout:
        """The task's readout with the demonstrations read.

        Raises:
            UsageError: they do not fit the LLM's context.
        """
        kit, vocabulary = self.kit, self.kit.vocabulary
        for room in self.plan():
            room.check()
        if self.task.readout == "label":
            prompt, answers = self._answers()
            return LabelReadout(kit.lm, kit.lm.prefill([prompt.prefix_ids(vocabulary)]), answers)
        # What is said; the finer levels are left to the cache.
        prompts = [self._listening(label, self.task.levels[0]) for label in self.labels]
        context = kit.lm.prefill([prompt.ids(vocabulary) for prompt in prompts])
        among = [vocabulary.audio_ids((level,)) for level in self.task.levels]
        caches = [
            [NgramCache([self._ids(heard, level) for _, heard in self.about(label)], ids) for label in self.labels]
            for level, ids in zip(self.task.levels, among, strict=True)
        ]
        weights = [kit.weight(level) for level in self.task.levels]
        contexts = [context, *[None] * (len(caches) - 1)]
        return LikelihoodReadout(kit.lm, contexts, caches, self.labels, among, weights)

    def _ids(self, heard: EncodedClip, level: int) -> list[int]:
        return self.kit.vocabulary.ids([heard.level(level)], [level])

    def plan(self) -> list[ContextBudget]:
        """What every context of the readout takes of the LLM's; asks the LLM nothing, so its weights are not loaded."""
        vocabulary = self.kit.vocabulary
        if self.task.readout == "label":
            prompt, answers = self._answers()
            return [self._room(prompt, max(map(len, answers.values())))]
        level = self.task.levels[0]
        longest = max(len(heard.level(level)) for _, heard in self.examples)
        answer = max(map(len, vocabulary.code_ids(level))) * longest
        return [self._room(self._listening(label, level), answer, label, level_name(level)) for label in self.labels]

    def _room(self, prompt: Prompt, answer: int, about: str | None = None, level: str | None = None) -> ContextBudget:
        """`about`: whose demonstrations the prompt has, all where None."""
        hearings = len(self.examples) // max(1, len(self.demonstrations))  # an ablation has none
        seen: Counter[str] = Counter()
        shots = []
        for example, _ in self.about(about):
            group = next((each.text for each in (example.input, example.output) if isinstance(each, Text)), "")
            shots.append(seen[group] // hearings)
            seen[group] += 1
        return context_budget(prompt, self.kit.vocabulary, answer, self.kit.lm.context_length, shots, about, level)

    def _answers(self) -> tuple[Prompt, dict[str, list[int]]]:
        """A prompt of the label readout and the ids of every label in it."""
        vocabulary = self.kit.vocabulary
        prompt = self.prompt(self.examples[0][1].shown(self.task.levels))
        answers = {label: prompt.continuation(label, vocabulary) for label in self.labels}
        if any(a != b and a[: len(b)] == b for a in answers.values() for b in answers.values()):
            end = prompt.end_ids(vocabulary)
            answers = {label: [*ids, *end] for label, ids in answers.items()}
        return prompt, answers

    def _listening(self, label: str, level: int) -> Prompt:
        """The context of a label: one level of its demonstrations and nothing else."""
        examples = [Example(heard.shown((level,)), example.output) for example, heard in self.about(label)]
        query = examples[0].input
        return build_prompt(self.task, load_template("listen"), examples, query, self.kit.vocabulary)

    def asked(self, hearings: Sequence[EncodedClip]) -> Query:
        """What the readout is asked about a clip."""
        vocabulary, levels = self.kit.vocabulary, self.task.levels
        if self.task.readout == "label":
            one = [self.examples[0][0]]  # what is asked depends on no demonstration
            shown = [heard.shown(levels) for heard in hearings]
            prompts = [build_prompt(self.task, self._template, one, query, vocabulary) for query in shown]
            return [[TokenObservation(prompt.query_ids(vocabulary)) for prompt in prompts]]
        return [[self._said(heard, level) for heard in hearings] for level in levels]

    def _said(self, heard: EncodedClip, level: int) -> TokenObservation:
        """One hearing on one level, with what else each of its words may have been."""
        ids = self._ids(heard, level)
        if heard.similar is None or level == PROSODY:
            return TokenObservation(ids)
        near = (SIMILARITY_SCALE * heard.similar[level].float()).log_softmax(dim=-1)
        return TokenObservation(ids, self.kit.vocabulary.near(level, near))

    def label(self, clips: Sequence[Sequence[EncodedClip]]) -> list[Reply]:
        """Which label each clip has; a clip is heard once for each shift."""
        replies = []
        for logp in self.readout([self.asked(hearings) for hearings in clips]):
            scores = {label: math.exp(value) for label, value in logp.items()}
            likeliest = max(scores, key=lambda label: scores[label])
            sure = scores[likeliest] >= self.task.abstain_below
            replies.append(Reply(likeliest if sure else None, scores))
        return replies

    def label_files(self, files: Sequence[Path]) -> list[Reply | UniAudioError]:
        """A label for every file, or why it has none; all are held and asked about together (see `in_batches`)."""
        heard: list[list[EncodedClip] | UniAudioError] = []
        for file in files:
            try:
                heard.append(self.kit.hear_shifted(file, self.task))
            except ValueError as problem:
                heard.append(UniAudioError(f"{show(file)}: {problem}"))
            except UniAudioError as problem:
                heard.append(problem)
        replies = iter(self._label_or_tell([clip for clip in heard if not isinstance(clip, UniAudioError)]))
        return [clip if isinstance(clip, UniAudioError) else next(replies) for clip in heard]

    def _label_or_tell(self, clips: Sequence[Sequence[EncodedClip]]) -> list[Reply | UniAudioError]:
        """`label`, with what is wrong in place of the labels of clips that cannot be asked about."""
        try:
            return [*self.label(clips)] if clips else []
        except UniAudioError as problem:
            if len(clips) == 1:
                return [problem]
        return [reply for clip in clips for reply in self._label_or_tell([clip])]

    def _bounds(self, samples: int | None, about: str | None) -> tuple[int, int]:
        """Least and most codes of the first shown level in an answer."""
        stride = self.kit.codec.strides[self.task.levels[0]]
        if samples is not None:
            count = self.kit.codec.frames(samples) // stride
            return count, count
        counts = [len(heard.codes[self.task.levels[0]]) for _, heard in self.about(about)]
        # Codes come in whole groups (two level-0 codes in the published codec, for its attention window).
        group = self.kit.codec.frame_multiple // stride
        seconds_per_group = self.kit.codec.frame_multiple * self.kit.codec.hop_length / self.kit.codec.sample_rate
        most = max(1, int(self.task.generation.max_seconds / seconds_per_group)) * group
        # The grammar cannot say that a free length comes in groups.
        if group > 1 or not (self.kit.vocabulary.disjoint or self.order == "frames"):
            middle = min(statistics.median_low(counts), most)
            return middle, middle
        least, longest = (min(counts), max(counts)) if self.task.generation.length == "demonstrations" else (1, most)
        return min(least, most), min(longest, most)

    def answer_audio(
        self, queries: Sequence[Piece], samples: int | None = None, about: str | None = None
    ) -> list[list[list[int]]]:
        """Let the LLM write audio after every query: codes per shown level, by query, those of `kept` levels as heard.

        `samples` fixes the length. `about` leaves only the demonstrations of one text in the prompt.
        """
        found = []
        for start in range(0, len(queries), ROWS_WRITTEN):
            prefix, grammar = self.opened(queries[start : start + ROWS_WRITTEN], samples, about)
            rows = generate(self.kit.lm, prefix, grammar, *self._drawing, self.cache(grammar, about))
            for query, row in zip(queries[start:], rows, strict=False):
                made = self._codes(row, grammar)
                kept = query.codes[len(made) :] if isinstance(query, Audio) else ()
                found.append([*made, *map(list, kept)])
        return found

    @property
    def _drawing(self) -> tuple[float, int, float]:
        """How ids are drawn, as `generate` takes it."""
        return self.task.generation.temperature, self.seed, self.task.generation.top_p

    def cache(self, grammar: AudioGrammar, about: str | None) -> NgramCache | None:
        """What the demonstrations in the prompt would have had the LLM write, where the task gives that a say."""
        order = self.task.generation.cache
        if not order:
            return None
        vocabulary, levels = self.kit.vocabulary, self.task.written
        written = [[heard.codes[level] for level in levels] for _, heard in self.about(about)]
        clips = [[*vocabulary.ids(codes, levels, self.order), *grammar.end] for codes in written]
        return NgramCache(clips, sorted({*vocabulary.audio_ids(levels), *grammar.end}), order=order)

    def opened(
        self, queries: Sequence[Piece], samples: int | None = None, about: str | None = None
    ) -> tuple[Prefix, AudioGrammar]:
        """The prompts of all queries, read, and what may be written after any of them."""
        kit, levels = self.kit, self.task.written
        prompts = [self.prompt(query, about=about) for query in queries]
        least, most = self._bounds(samples, about)
        strides = [kit.codec.strides[level] for level in levels]
        codes = [kit.vocabulary.code_ids(level) for level in levels]
        grammar = GRAMMARS[self.order](codes, strides, least, most, prompts[0].end_ids(kit.vocabulary)[:1])
        width = max(len(ids) for level in codes for ids in level)
        reserve = 1 + width * sum(most * strides[0] // stride for stride in strides)
        for prompt in prompts:
            self._room(prompt, reserve, about).check()
        if about not in self._read:
            self._read[about] = kit.lm.prefill([prompts[0].prefix_ids(kit.vocabulary)])
        rows = [prompt.query_ids(kit.vocabulary) for prompt in prompts]
        return kit.lm.continue_with(self._read[about], rows), grammar

    def _codes(self, ids: Sequence[int], grammar: AudioGrammar) -> list[list[int]]:
        """What was written, end marker and all -> codes per shown level."""
        frames = grammar.most * self.kit.codec.strides[self.task.levels[0]] if grammar.least == grammar.most else None
        written = ids[: len(ids) - len(grammar.end)]
        return self.kit.vocabulary.codes(written, frames, self.task.written, self.order)

    @cached_property
    def _read(self) -> dict[str | None, Prefix]:
        """Demonstrations the LLM has read, by what they are about (None: all of them)."""
        return {}

    def speak(self, text: str, think: bool = False) -> Reply:
        """The spoken answer to a text.

        With `think` the LLM first answers in text, by one of the demonstrations' texts, and then speaks that with only
        the demonstrations of it in its prompt; a text that is made of theirs is spoken as it stands, one after another.
        Without, it sees all demonstrations and the text, as in the paper.

        Raises:
            UsageError: the text is empty, or is none of the demonstrations' where the task asks for one of them.
        """
        parts = self._parts(text, think)
        made = [self.answer_audio([Text(part or text)], about=part)[0] for part in parts]
        pause = torch.zeros(1, int(PAUSE * self.kit.codec.sample_rate))
        wavs = [each for codes in made for each in (pause, self.kit.decode(codes, self.seed))][1:]
        answer = None if None in parts else " ".join(map(str, parts))
        return Reply(wav=torch.cat(wavs, dim=1), codes=made[-1], answer=answer)

    def stream(self, text: str, think: bool = False) -> Iterator[Tensor]:
        """`speak`, in pieces [1, T] that can be played while the rest is being written; without the decoder's noise.

        Raises:
            UsageError: as `speak`, or the task writes audio level after level.
        """
        if self.order != "frames":
            raise UsageError(f"task {self.task.name}: audio written level after level is not heard before its end")
        parts = self._parts(text, think)
        for number, part in enumerate(parts):
            if number:
                yield torch.zeros(1, int(PAUSE * self.kit.codec.sample_rate))
            yield from self._streamed(Text(part or text), part)

    def _streamed(self, query: Piece, about: str | None) -> Iterator[Tensor]:
        prefix, grammar = self.opened([query], None, about)
        decoder = StreamDecoder(self.kit.codec)
        levels, order = self.task.levels, self.order
        state, ids, given = grammar.start(), [], 0
        for (chosen,) in write(self.kit.lm, prefix, grammar, *self._drawing, self.cache(grammar, about)):
            assert chosen is not None
            ids.append(chosen)
            state = grammar.advance(state, chosen)
            if state.between_groups:
                yield decoder.push(self.kit.vocabulary.codes(ids[given:], None, levels, order))
                given = len(ids)
        rest = ids[given : len(ids) - len(grammar.end)]
        yield decoder.push(
            self.kit.vocabulary.codes(rest, None, levels, order) if rest else [[]] * len(levels), last=True
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """What the demonstrations say, each once."""
        return tuple(dict.fromkeys(d.text for d in self.demonstrations if d.text is not None))

    def _parts(self, text: str, think: bool) -> Sequence[str | None]:
        """The demonstrations' texts that are spoken in answer to `text`; None for whatever the LLM makes of it."""
        if not text.strip():
            raise UsageError("there is nothing to answer: the text is empty")
        if text in self.texts and (think or self.task.texts == "demonstrated"):
            return [text]
        if self.task.texts == "demonstrated":
            raise UsageError(
                f"task {self.task.name}: no demonstration of {show(text)!r}{suggest(text, self.texts)}; it makes "
                f"what is demonstrated, and nothing new or mixed: {', '.join(self.texts)}"
            )
        if not think:
            return [None]
        words = text.split()
        return words if set(words) <= set(self.texts) else [self.think(text)]

    def think(self, text: str) -> str:
        """The demonstration's text the LLM finds the likeliest answer to `text`, after the task's worked examples.

        A text that a demonstration has is its own answer.
        """
        kit, texts = self.kit, self.texts
        if text in texts:
            return text
        written, read = self._worked
        asked = f"{written}Question: {text}\nAnswer:"
        encode = kit.vocabulary.tokenizer.encode
        head, ids = encode(written), encode(asked)
        # As they stand after "Answer:": SentencePiece gives a text by itself one space more.
        answers = [encode(f"{asked} {candidate}\n")[len(ids) :] for candidate in texts]
        same = ids[: len(head)] == head
        scores = kit.lm.score(kit.lm.extend(read, ids[len(head) :]) if same else kit.lm.prefill([ids]), answers)[0]
        return texts[max(range(len(texts)), key=lambda index: float(scores[index].sum()))]

    @cached_property
    def _worked(self) -> tuple[str, Prefix]:
        """What a question to think about follows: the demonstrations' texts and the task's worked examples; read."""
        worked = [(text, text) for text in self.texts]
        worked += [(ask, a) for ask, answers in self.task.qa_examples for a in answers if a in self.texts]
        written = "".join(f"Question: {ask}\nAnswer: {answer}\n" for ask, answer in worked)
        return written, self.kit.lm.prefill([self.kit.vocabulary.tokenizer.encode(written)])

    def transform(self, wav: Tensor, mix: float = 0.0) -> Reply:
        """Audio in, audio of the same length and level out, in windows that are cross-faded; `mix`: 0 to 1, the share
        of the input in it."""
        length = wav.shape[-1]
        window = min(length, max(1, int(self.task.clip.seconds * self.kit.codec.sample_rate)))
        hop = max(1, int(window * (1 - OVERLAP)))
        # The last one ends with the input, so that it has as much to go by as any other.
        starts = [*range(0, length - window, hop), length - window]
        pieces = [wav[:, start : start + window] for start in starts]
        fade = torch.ones(window)
        ramp = torch.linspace(0, 1, window - hop + 2)[1:-1]
        fade[: len(ramp)] = ramp
        fade[window - len(ramp) :] = fade[window - len(ramp) :].minimum(ramp.flip(0))
        out, weight = torch.zeros_like(wav), torch.zeros_like(wav)
        made, codes = self._transform_windows(pieces)
        for start, part in zip(starts, made, strict=True):
            out[:, start : start + window] += part * fade
            weight[:, start : start + window] += fade
        # Nowhere zero: a ramp begins and ends above it, and the windows leave no sample out.
        return Reply(wav=torch.lerp(out / weight, wav, mix), codes=codes)

    def _transform_windows(self, pieces: Sequence[Tensor]) -> tuple[list[Tensor], list[list[int]]]:
        """Pieces of one length made anew, and the codes of the last; what is silent stays so."""
        rate, level = self.kit.codec.sample_rate, self.kit.codec.config.level_db
        heard = [self.kit.hear(piece) for piece in pieces]
        sounding = [n for n, piece in enumerate(pieces) if level_db(piece, rate) > -math.inf]
        queries = [heard[n].shown(self.task.levels, self.order) for n in sounding]
        written = dict(zip(sounding, self.answer_audio(queries, pieces[0].shape[-1]), strict=True))
        made = [torch.zeros_like(piece) for piece in pieces]
        for n, codes in written.items():
            wav = self.kit.decode(codes, self.seed)[:, : pieces[n].shape[-1]]
            if level is not None:
                # By the peaks, as the gain that the piece was heard with may have been cut short by its peak.
                wav = wav * (pieces[n].abs().max() / normalise_level(pieces[n], level, rate).abs().max())
            made[n] = wav
        last = len(pieces) - 1
        return made, written.get(last) or [heard[last].codes[k] for k in self.task.levels]

    def written(self, query: Path | str) -> str:
        """The prompt of a query for people, with token counts; for `likelihood`, the context of every label."""
        vocabulary = self.kit.vocabulary
        if self.task.input == "text":
            return show_prompt(self.prompt(Text(str(query))), vocabulary)
        heard = self.kit.hear_shifted(Path(query), self.task)[0].shown(self.task.levels, self.order)
        if self.task.output == "label" and self.task.readout == "likelihood":
            level, row = heard.levels[0], vocabulary.words(heard.codes, heard.levels)[0]
            parts = [f"=== {label}\n{show_prompt(self._listening(label, level), vocabulary)}" for label in self.labels]
            return "\n".join([*parts, f"=== scored after each: {' '.join(row)}"])
        return show_prompt(self.prompt(heard), vocabulary)

    def __call__(self, query: Path | str, think: bool = False, mix: float = 0.0) -> Reply:
        """Answer a file (audio input) or a text. `mix`: for audio to audio, the share of the input in the answer.

        Raises:
            UniAudioError: the query cannot be read or does not fit.
        """
        if self.task.input == "text":
            return self.speak(str(query), think)
        path = Path(query)
        if self.task.output == "label":
            (reply,) = self.label_files([path])
            if isinstance(reply, UniAudioError):
                raise reply
            return reply
        try:
            return self.transform(read_wav(path, self.kit.codec.sample_rate), mix)
        except ValueError as problem:
            raise UniAudioError(f"{show(path)}: {problem}") from problem


def in_batches(items: Iterable[T], most: int = AT_ONCE) -> Iterator[list[T]]:
    """The items in lists of 1, 2, 4 and so on, up to `most`: the first answer comes soon and the last ones cheaply."""
    size, waiting = 1, iter(items)
    while some := list(islice(waiting, size)):
        yield some
        size = min(2 * size, most)


def rehearse(task: Task, codec: Codec, vocabulary: Vocabulary) -> Prompt:
    """A real prompt of the task with two demonstrations, every clip being seeded noise; needs no LLM.

    Raises:
        UsageError: the task's template or instruction does not work.
    """
    noise = 0.1 * torch.randn(1, int(task.clip.seconds * codec.sample_rate), generator=torch.Generator().manual_seed(0))
    codes = [level[0].tolist() for level in codec.encode(noise[None])]
    measures = tuple(coded(measured(noise, codec.sample_rate)))
    clip = EncodedClip(codes, noise.shape[-1], prosody=measures).shown(task.levels, order_of(task, vocabulary))
    given: Piece = clip if task.input == "audio" else Text("one")
    answers: list[Piece] = [clip, clip] if task.output == "audio" else [Text("one"), Text("two")]
    examples = [Example(given, answer) for answer in answers]
    return build_prompt(task, load_template(task.template), examples, given, vocabulary)


def order_of(task: Task, vocabulary: Vocabulary) -> Layout:
    """The order that a task's audio is written in."""
    if task.order == "auto":
        return "frames" if vocabulary.framed(task.levels) else "levels"
    return task.order
