"""Levels by name: those that are not levels of the codec's own network, and come before its level 0."""

from __future__ import annotations

TAGS, SPEECH, SOUNDS, PROSODY = -4, -3, -2, -1
# By name, in the order in which a task lists them.
NAMED_LEVELS = {"speech": SPEECH, "sounds": SOUNDS, "prosody": PROSODY}
FROZEN_LEVELS = (SPEECH, SOUNDS)  # those of frozen encoders that a task may list


def level_name(level: int) -> str:
    """A level's name: "prosody" or "level 0"."""
    named = {"tags": TAGS, **NAMED_LEVELS}
    return next((name for name, number in named.items() if number == level), f"level {level}")
