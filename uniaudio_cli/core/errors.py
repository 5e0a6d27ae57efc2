"""The errors a user can cause or meet; each carries the exit code of the command it ends. Never knows who raises it."""

from __future__ import annotations


class UniAudioError(Exception):
    """Something the user can act on. The message says where, what, and what to do, on one line."""

    exit_code = 1


class UsageError(UniAudioError):
    """A wrong argument, an unknown name or key, a prompt that does not fit."""

    exit_code = 2


class MissingWeightsError(UniAudioError):
    """A model's files are not here and may not or cannot be fetched."""

    exit_code = 4
