"""uniaudio: a frozen text LLM does audio tasks from a few demonstrations, through a codec in the LLM's own words.

    import uniaudio_cli
    kit = uniaudio_cli.load("small")
    for reply in kit.classify(["query.wav"], demos="demos/"):
        print(reply.label, reply.scores)

Importing this package loads neither torch nor any model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uniaudio_cli.api import load as load
    from uniaudio_cli.codec.checkpoint import load_codec as load_codec
    from uniaudio_cli.inference.pipeline import Kit as Kit
    from uniaudio_cli.inference.pipeline import Reply as Reply
    from uniaudio_cli.prompting.task import Task as Task
    from uniaudio_cli.prompting.task import load_task as load_task

_HOMES = {
    "load": "api",
    "load_codec": "codec.checkpoint",
    "Kit": "inference.pipeline",
    "Reply": "inference.pipeline",
    "Task": "prompting.task",
    "load_task": "prompting.task",
}
__all__ = ["Kit", "Reply", "Task", "__version__", "load", "load_codec", "load_task"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
