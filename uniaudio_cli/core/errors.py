"""Errors that a user can act on. Each carries the exit code of the command that it ends."""

from __future__ import annotations


class UniAudioError(Exception):
    """Something that the user can act on. The message says where, what and what to do, on one line."""

    exit_code = 1


class UsageError(UniAudioError):
    """A wrong argument, an unknown name or key, or a prompt that does not fit."""

    exit_code = 2


class MissingWeightsError(UniAudioError):
    """A model's files are missing and cannot be downloaded, or must not be."""

    exit_code = 4


class AbstainedError(UniAudioError):
    """An answer that is less likely than asked for, so nothing is made. `answer`: its text; `probability`: 0 to 1."""

    exit_code = 3

    def __init__(self, message: str, answer: str, probability: float) -> None:
        super().__init__(message)
        self.answer, self.probability = answer, probability


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type where it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class AudioWarning(UserWarning):
    """A remark on a recording that was read or written other than as it stands. The command line prints it."""
