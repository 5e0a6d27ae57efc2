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


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type where it has no message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class AudioWarning(UserWarning):
    """A remark on a recording that was read or written other than as it stands. The command line prints it."""
