"""Levels by name: those that are not levels of the codec's own network, and come before its level 0."""

from __future__ import annotations

SPEECH, SOUNDS, PROSODY = -3, -2, -1
# By name, in the order in which a task lists them.
NAMED_LEVELS = {"speech": SPEECH, "sounds": SOUNDS, "prosody": PROSODY}
FROZEN_LEVELS = (SPEECH, SOUNDS)  # those of frozen encoders


def level_name(level: int) -> str:
    """A level's name: "prosody" or "level 0"."""
    return next((name for name, number in NAMED_LEVELS.items() if number == level), f"level {level}")
