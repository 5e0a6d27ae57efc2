"""What the routes ask of the models: sessions of sets, kept while they are used, and results as JSON or wav."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal, TypeVar

import numpy as np
import soundfile
import torch
from torch import Tensor

from uniaudio_cli.api import load_enhancer
from uniaudio_cli.audio.blocks import encoded_blocks
from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.codec import clip_codes
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.evaluation.words import prompt_words
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.names import ZeroShotClassifier
from uniaudio_cli.inference.results import ErrorResult
from uniaudio_cli.inference.segments import Segmenter, SegmentResult
from uniaudio_cli.kit import Kit
from uniaudio_cli.prompting.task import Task, list_tasks
from uniaudio_cli.serve.problems import Problem, as_problem, public_message
from uniaudio_cli.serve.sets import DemoSet, SetStore
from uniaudio_cli.serve.settings import Limits
from uniaudio_cli.serve.uploads import Upload, names_of
from uniaudio_cli.serve.worker import Worker

SESSIONS = 16  # kept at once; the one unused for longest is dropped
Made = TypeVar("Made")


class Service:
    """The models of one process, the thread that uses them, and the sets. Every method queues and returns a future."""

    def __init__(self, kit: Kit, sets: SetStore, limits: Limits) -> None:
        self.kit, self.sets, self.limits = kit, sets, limits
        self.worker = Worker(limits.queue, clips_at_a_time(kit))
        self.tasks: Mapping[str, Task] = {task.name: task for task in list_tasks()}
        self._sessions: OrderedDict[object, Any] = OrderedDict()  # of the worker's thread alone

    def task(self, name: str) -> Task:
        """A shipped task that labels clips. Raises Problem 422 for any other, as a client names no files."""
        task = self.tasks.get(name)
        if task is None or task.kind != "classify":
            names = ", ".join(name for name, each in self.tasks.items() if each.kind == "classify")
            raise Problem(422, f"task: one of {names}")
        return task

    def prepare(self, found: DemoSet) -> Future[list[Any]]:
        """Encode a set, so that a clip that cannot be used is reported when the set is made."""

        def work() -> None:
            try:
                self._session(found)
            except UniAudioError as error:
                names = {clip.path: clip.path.name for clip in self.sets.clips(found)}
                raise as_problem(error, names) from error

        return self.worker.call(work)

    def classify(self, found: DemoSet, uploads: Sequence[Upload], words: bool) -> Future[list[Any]]:
        """A record of each clip, by the set's demonstrations; clips of other requests may be encoded beside them.

        `words`: with what the LLM is given of each.
        """
        _check_labelled(found)

        def start() -> Callable[[Upload], dict[str, Any]]:
            session, task = self._session(found), self.task(found.task) if words else None
            session.prepare()
            return lambda upload: self._labelled(session, [upload], task)[0]

        return self.worker.submit(start, uploads)

    def segments(self, found: DemoSet, uploads: Sequence[Upload]) -> Generator[dict[str, Any] | None, None, None]:
        """A record of each recording's segments; None between windows, where others may have their turn."""
        _check_labelled(found)

        def steps() -> Generator[dict[str, Any] | None, None, None]:
            segmenter = Segmenter(self._session(found))
            for upload in uploads:
                for each in segmenter.steps(upload.path):
                    if isinstance(each, ErrorResult):
                        yield _failed(upload, each)
                    elif isinstance(each, SegmentResult):
                        yield {"file": upload.name, "seconds": round(each.seconds, 3), "segments": each.rows()}
                    else:
                        yield None

        return steps()

    def name(self, labels: Sequence[str], uploads: Sequence[Upload], words: bool) -> Future[list[Any]]:
        """A record of each clip, by the labels' names, all in one job, as clips are calibrated together."""

        def work() -> list[dict[str, Any]]:
            try:
                session = self._kept(("names", tuple(labels)), lambda: self.kit.zero_shot(labels))
                return self._labelled(session, uploads, self.tasks["sound-event"] if words else None)
            except UniAudioError as error:
                raise as_problem(error, names_of(uploads)) from error

        return self.worker.submit(work)

    def speak(self, found: DemoSet, text: str) -> Future[list[Any]]:
        """(wav of the answer, its text, its probability or None)."""
        if found.kind != "text":
            raise Problem(422, f"set {found.id}: is no set of spoken texts")

        def work() -> tuple[bytes, str, float | None]:
            try:
                result = self._session(found).speak(text)
            except UniAudioError as error:
                raise as_problem(error, {}) from error
            # Only answers that the LLM writes as text have a probability.
            return wav_bytes(result.wav, result.sample_rate), result.answer, getattr(result, "probability", None)

        return self.worker.call(work)

    def enhance(
        self, found: DemoSet, upload: Upload, kind: Literal["wav", "flac"], samples: int
    ) -> Generator[bytes, None, None]:
        """The cleaned recording of `samples` a channel as a file's bytes, block by block."""
        if found.kind != "pair":
            raise Problem(422, f"set {found.id}: is no set of noisy and clean pairs")

        def steps() -> Generator[bytes, None, None]:
            try:
                with self._session(found).open(upload.path) as recording:
                    yield from encoded_blocks(
                        recording.blocks, recording.sample_rate, recording.channels, kind, samples
                    )
            except UniAudioError as error:
                raise as_problem(error, names_of([upload])) from error

        return steps()

    def encode(self, upload: Upload) -> Future[list[Any]]:
        """The record of a clip's codes."""

        def work() -> dict[str, Any]:
            codec = self.kit.codec
            try:
                wav = read_audio(upload.path, codec.sample_rate, self.limits.seconds)
                with self.kit.lock:
                    return clip_codes.to_record(clip_codes.encode_wav(codec, wav), codec.config.architecture)
            except UniAudioError as error:
                raise as_problem(error, names_of([upload])) from error

        return self.worker.call(work)

    def decode(self, record: Mapping[str, Any]) -> Future[list[Any]]:
        """Codes back to a wav."""
        codec = self.kit.codec
        try:
            clip = clip_codes.from_record(codec, record, "codes")
        except UniAudioError as error:
            raise as_problem(error, {}) from error
        if clip.codes[0].shape[-1] * codec.strides[0] * codec.hop_length > self.limits.seconds * codec.sample_rate:
            raise Problem(413, f"codes: are longer than {self.limits.seconds:g} s")

        def work() -> bytes:
            with self.kit.lock:
                return wav_bytes(clip_codes.decode_codes(codec, clip, 0), codec.sample_rate)

        return self.worker.call(work)

    def forget(self, found: DemoSet) -> None:
        """Drop the session of a set that is deleted, when the thread comes to it."""
        self.worker.call(lambda: self._sessions.pop(found.id, None))

    def _labelled(
        self, session: Classifier | ZeroShotClassifier, uploads: Sequence[Upload], task: Task | None
    ) -> list[dict[str, Any]]:
        """Records of clips; with a task, what it gives the LLM of each."""
        results = session.classify_batch([upload.path for upload in uploads])
        records = []
        for upload, result in zip(uploads, results, strict=True):
            if isinstance(result, ErrorResult):
                records.append(_failed(upload, result))
                continue
            record = {"label": result.label, "scores": dict(result.scores), "margin": result.margin}
            if task is not None:
                try:
                    record["words"] = prompt_words(self.kit.models, task, upload.path)
                except UniAudioError:  # silence, which names label too
                    record["words"] = ""
            records.append({"file": upload.name, **record})
        return records

    def _session(self, found: DemoSet) -> Any:
        """The session of a set, as the command line makes it."""

        def make() -> Any:
            if found.kind == "text":
                return self.kit.speaker(found.folder)
            if found.kind == "pair":
                return load_enhancer(found.folder)
            return self.kit.classifier(found.folder, self.task(found.task))

        return self._kept(found.id, make)

    def _kept(self, key: object, make: Callable[[], Made]) -> Made:
        if key not in self._sessions:
            self._sessions[key] = make()
            if len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        made: Made = self._sessions[key]
        return made


def clips_at_a_time(kit: Kit) -> int:
    """How many clips are encoded side by side: on a CPU, as many as torch has threads."""
    return torch.get_num_threads() if kit.encoder.codec.device.type == "cpu" else 1


def _check_labelled(found: DemoSet) -> None:
    if found.kind != "label":
        raise Problem(422, f"set {found.id}: is no set of labelled clips")


def _failed(upload: Upload, result: ErrorResult) -> dict[str, Any]:
    return {"file": upload.name, "error": public_message(result.error, names_of([upload]))}


def wav_bytes(wav: Tensor, sample_rate: int) -> bytes:
    """wav float32 [C, T] -> a 16-bit .wav; what goes past full scale is turned down as a whole."""
    samples = wav.detach().float().cpu().numpy().T
    samples = samples / max(1.0, float(np.abs(samples).max(initial=0)))
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
