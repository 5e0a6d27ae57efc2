"""uniaudio: a frozen text LLM does audio tasks from a few examples, through a codec in the LLM's own words.

    import uniaudio_cli
    kit = uniaudio_cli.load()
    for result in kit.classify(["query.wav"], demos="demos/"):
        print(result.label, result.scores)

Importing this package loads neither torch nor any model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uniaudio_cli.api import Kit as Kit
    from uniaudio_cli.api import load as load
    from uniaudio_cli.api import load_enhancer as load_enhancer
    from uniaudio_cli.api import load_zero_shot as load_zero_shot
    from uniaudio_cli.codec.checkpoint import load_codec as load_codec
    from uniaudio_cli.inference.results import EnhancementResult as EnhancementResult
    from uniaudio_cli.inference.results import ErrorResult as ErrorResult
    from uniaudio_cli.inference.results import LabelResult as LabelResult
    from uniaudio_cli.inference.results import SpeechResult as SpeechResult
    from uniaudio_cli.prompting.task import Task as Task
    from uniaudio_cli.prompting.task import load_task as load_task
    from uniaudio_cli.prompting.task import override_task as override_task

_MODULES = {
    "EnhancementResult": "inference.results",
    "ErrorResult": "inference.results",
    "Kit": "api",
    "LabelResult": "inference.results",
    "SpeechResult": "inference.results",
    "Task": "prompting.task",
    "load": "api",
    "load_codec": "codec.checkpoint",
    "load_enhancer": "api",
    "load_task": "prompting.task",
    "load_zero_shot": "api",
    "override_task": "prompting.task",
}
__all__ = [
    "EnhancementResult",
    "ErrorResult",
    "Kit",
    "LabelResult",
    "SpeechResult",
    "Task",
    "__version__",
    "load",
    "load_codec",
    "load_enhancer",
    "load_task",
    "load_zero_shot",
    "override_task",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
