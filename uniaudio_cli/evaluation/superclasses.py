"""Super-classes: clips labelled by a class of classes, with their own class as the group that must not demonstrate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show, suggest
from uniaudio_cli.data.episodes import Item
from uniaudio_cli.data.manifest import Note

Superclasses = Mapping[str, Sequence[str]]


def by_superclass(items: Sequence[Item], superclasses: Superclasses, note: Note) -> list[Item]:
    """`items` with their super-class as label and their class as group; a note names classes of none, left out.

    Under rule "other" a query's demonstrations are then of other classes of its super-class.

    Args:
        superclasses: super-class -> its classes.

    Raises:
        UsageError: no clip is of one of these classes.
    """
    classes = sorted({item.label for item in items})
    above = {name: superclass for superclass, names in superclasses.items() for name in names}
    for name in above:
        if name not in classes:
            listed = ", ".join(map(show, classes[:12]))
            raise UsageError(
                f"superclasses: no clip has the label {show(name)!r} of {show(above[name])!r}"
                f"{suggest(name, classes)}; there are {listed}"
            )
    if others := [name for name in classes if name not in above]:
        note(f"note: of no super-class, so left out: {', '.join(map(show, others))}")
    return [replace(item, label=above[item.label], group=item.label) for item in items if item.label in above]
