"""The models of a run, by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from uniaudio_cli.models.presets import DEFAULT_MODEL


@dataclass(frozen=True)
class ModelChoice:
    """The models of a run and how they are loaded, as `api.load` takes them. `lm`, `codec`: None for the preset's."""

    model: str = DEFAULT_MODEL
    lm: str | None = None
    codec: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    bits: int | None = None
    offline: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `api.load`."""
        return {each.name: getattr(self, each.name) for each in fields(ModelChoice)}

    @property
    def zero_shot_arguments(self) -> dict[str, Any]:
        """The arguments of `api.load_zero_shot`."""
        loading = {name: self.arguments[name] for name in ("device", "dtype", "bits", "offline")}
        return {"lm": self.zero_shot_lm, **loading}

    @property
    def zero_shot_lm(self) -> str:
        """The LLM that scores labels by name: `lm`, else the preset's."""
        from uniaudio_cli.models.registry import resolve_model

        return self.lm or resolve_model(self.model).lm
