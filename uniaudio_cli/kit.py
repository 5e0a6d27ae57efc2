"""`Kit`: a codec, a frozen LLM and the vocabulary between them, and the sessions that it makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from uniaudio_cli.audio.io import AudioInput, as_inputs, source_name
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration, load_demonstrations
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.name_table import LLMScorer
from uniaudio_cli.inference.names import ZeroShotClassifier, names_by_llm
from uniaudio_cli.inference.results import EnhancementResult, ErrorResult, LabelResult, SpeechResult
from uniaudio_cli.inference.resynthesis import Resynthesizer
from uniaudio_cli.inference.selection import select_demonstrations
from uniaudio_cli.inference.session import Models, UsesModels, no_names
from uniaudio_cli.inference.speak import Speaker
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.task import Task, load_task
from uniaudio_cli.prompting.vocabulary import Vocabulary

Item = TypeVar("Item")
Result = TypeVar("Result")
Demos = str | Path | Sequence[Demonstration]
TaskLike = str | Path | Task

# The one dispatch table over a task's kind.
SESSIONS: Mapping[str, type[Classifier] | type[Speaker] | type[Resynthesizer]] = {
    "classify": Classifier,
    "speak": Speaker,
    "enhance": Resynthesizer,
}


class Kit(UsesModels):
    """A codec, a frozen LLM and the vocabulary between them.

    One kit serves many threads: its sessions take turns by `lock`, a re-entrant lock that a batch or a call holds.
    """

    def __init__(
        self,
        codec: Codec,
        lm: LanguageModel,
        vocabulary: Vocabulary,
        code_cache: CodeCache | None = None,
        frozen: FrozenLevels | None = None,
    ) -> None:
        scorer = LLMScorer(lambda: (lm, vocabulary.tokenizer))
        names = names_by_llm(frozen, scorer, lambda: "") if frozen is not None else no_names
        self.models = Models(AudioEncoder(codec, code_cache, frozen), lambda: (lm, vocabulary), names)
        _ = self.lm

    @classmethod
    def of(cls, models: Models) -> Kit:
        """A kit of these models."""
        kit = cls.__new__(cls)
        kit.models = models
        return kit

    def __repr__(self) -> str:
        lm = f"lm={self.lm.name!r}, " if self.models.has_language else ""
        return f"Kit({lm}codec={self.codec.config.architecture!r})"

    def classifier(
        self,
        demos: Demos,
        task: TaskLike = "sound-event",
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Classifier:
        """A session that labels clips.

        Args:
            demos: a folder of labelled clips, or demonstrations. task: a shipped task, a .yaml file or a `Task`.
            shots: demonstrations per label; the task's by default. labels: only these. seed: of the selection.

        Raises:
            UsageError: an argument, the task or the folder is wrong.
            UniAudioError: a demonstration cannot be read.
        """
        chosen = self._task(task, "classify")
        return Classifier(self.models, chosen, self._selected(chosen, demos, shots, labels, seed), seed)

    def speaker(
        self, demos: Demos, task: TaskLike = "spoken-answer", *, shots: int | None = None, seed: int = 0
    ) -> Speaker:
        """A session that speaks answers; arguments and errors as `classifier`."""
        chosen = self._task(task, "speak")
        return Speaker(self.models, chosen, self._selected(chosen, demos, shots, None, seed), seed)

    def resynthesizer(
        self, demos: Demos, task: TaskLike = "resynthesis", *, shots: int | None = None, seed: int = 0
    ) -> Resynthesizer:
        """A session that writes recordings anew, as published; arguments and errors as `classifier`.

        `load_enhancer` gives what cleans better, without the LLM.
        """
        chosen = self._task(task, "enhance")
        return Resynthesizer(self.models, chosen, self._selected(chosen, demos, shots, None, seed), seed)

    def zero_shot(
        self,
        labels: Sequence[str],
        descriptions: Mapping[str, str] | None = None,
    ) -> ZeroShotClassifier:
        """A session that labels clips by the labels' names, without demonstrations, with this kit's LLM.

        `load_zero_shot` does the same without a codec.

        Args:
            descriptions: label -> a sentence, where the name says little.

        Raises:
            UsageError: fewer than two labels, or a description of none of them.
            MissingWeightsError: the tagger is not here and cannot be fetched.
        """
        names = self.models.names()
        assert self.encoder.frozen is not None  # else there are no names
        return ZeroShotClassifier(self.encoder.frozen.tagger, names, labels, descriptions, lock=self.lock)

    def session(
        self,
        task: Task,
        demos: Demos,
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Classifier | Speaker | Resynthesizer:
        """The session of a task of any kind."""
        if labels is not None and task.demonstration_kind == "pair":
            raise UsageError(f"labels: the demonstrations of task {task.name} have none")
        return SESSIONS[task.kind](self.models, task, self._selected(task, demos, shots, labels, seed), seed)

    def classify(
        self,
        inputs: AudioInput | Iterable[AudioInput],
        demos: Demos,
        task: TaskLike = "sound-event",
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Iterator[LabelResult | ErrorResult]:
        """One result per input, in order; an input that fails gives an `ErrorResult`. Arguments as `classifier`."""
        return self.classifier(demos, task, shots=shots, labels=labels, seed=seed).classify(as_inputs(inputs))

    def speak(
        self,
        inputs: str | Iterable[str],
        demos: Demos,
        task: TaskLike = "spoken-answer",
        *,
        think: bool = True,
        shots: int | None = None,
        seed: int = 0,
    ) -> Iterator[SpeechResult | ErrorResult]:
        """One spoken answer per text, in order. `think`: as `Speaker.speak`; the rest as `classifier`."""
        speaker = self.speaker(demos, task, shots=shots, seed=seed)
        texts = [inputs] if isinstance(inputs, str) else inputs
        return _each(texts, lambda text: speaker.speak(text, think), str)

    def resynthesize(
        self,
        inputs: AudioInput | Iterable[AudioInput],
        demos: Demos,
        task: TaskLike = "resynthesis",
        *,
        strength: float = 1.0,
        shots: int | None = None,
        seed: int = 0,
    ) -> Iterator[EnhancementResult | ErrorResult]:
        """One recording per input, in order. `strength`: as `Resynthesizer.enhance`; the rest as `classifier`."""
        session = self.resynthesizer(demos, task, shots=shots, seed=seed)
        return _each(as_inputs(inputs), lambda source: session.enhance(source, strength), source_name)

    def _task(self, task: TaskLike, kind: str) -> Task:
        found = task if isinstance(task, Task) else load_task(task)
        if found.kind != kind:
            raise UsageError(f"task {found.name}: turns {found.input} into {found.output}, which is not {kind}")
        return found

    def _selected(
        self, task: Task, demos: Demos, shots: int | None, labels: Collection[str] | None, seed: int
    ) -> list[Demonstration]:
        """The demonstrations of a folder that a session shows; a sequence is taken as it is unless `shots` is given."""
        if shots is not None and (type(shots) is not int or shots < 1):
            raise UsageError(f"shots must be a whole number from 1 up, not {shots!r}")
        if labels is not None and (isinstance(labels, str) or not all(isinstance(label, str) for label in labels)):
            raise UsageError(f"labels must be a collection of labels, not {labels!r}")
        wrong = UsageError("demos must be a folder, as str or Path, or a sequence of Demonstration")
        if isinstance(demos, str | Path):
            found = load_demonstrations(Path(demos), task.demonstration_kind)
        elif isinstance(demos, Sequence):
            found = [each for each in demos if isinstance(each, Demonstration)]
            if len(found) < len(demos):
                raise wrong
        else:
            raise wrong
        if isinstance(demos, str | Path) or not (shots is None and labels is None):
            with self.lock:
                found = select_demonstrations(self.encoder, task, found, shots or task.shots, seed, labels)
        if task.kind == "classify" and len({each.label for each in found}) == 1:
            raise UsageError(f"a choice takes two or more labels, and there is {found[0].label!r} alone")
        return list(found)


def _each(
    items: Iterable[Item], work: Callable[[Item], Result], name: Callable[[Item], str]
) -> Iterator[Result | ErrorResult]:
    for item in items:
        try:
            yield work(item)
        except UniAudioError as problem:
            yield ErrorResult.from_exception(name(item), problem)
