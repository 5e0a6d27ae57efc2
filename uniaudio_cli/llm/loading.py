"""Loading of causal LMs, now or at first use; incomplete or non-finite weights are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError, first_line
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.llm.model import LanguageModel, context_length_of


class LazyLanguageModel(LanguageModel):
    """An LLM whose weights are loaded at first use.

    Its context length comes from its configuration, so a prompt that does not fit is refused before that.
    """

    def __init__(
        self, load: Callable[[], LanguageModel], name: str, context_length: int, decode_bits: int | None = None
    ) -> None:
        self._prepare(name, decode_bits)
        self._load = load
        self._loaded: Any = None
        self._context_length = context_length

    @property
    def model(self) -> Any:
        """The transformers model; loaded by the first use, once however many threads wait for it."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load().model
            return self._loaded

    @property
    def context_length(self) -> int:
        return self._context_length


def lazy_lm(folder: str, name: str, decode_bits: int | None = None, **options: Any) -> LazyLanguageModel:
    """`load_lm`, with the same options, put off until the LLM is first used.

    `decode_bits`: as `LanguageModel` takes it.

    Raises:
        MissingWeightsError, UniAudioError: its configuration is not here or not a causal LM's.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except OSError as problem:
        raise MissingWeightsError(f"{name}: {first_line(problem)}") from problem
    except (ValueError, KeyError) as problem:
        raise UniAudioError(f"{name}: not a causal LM that can be loaded: {first_line(problem)}") from problem
    return LazyLanguageModel(lambda: load_lm(folder, name, **options), name, context_length_of(config), decode_bits)


def check_bits(bits: int | None) -> None:
    """Raise UsageError for a number of bits that no LLM is quantised to."""
    if bits not in (None, 4, 8):
        raise UsageError(f"an LLM can be quantised to 4 or 8 bits, not {bits}")


def load_lm(
    folder: str,
    name: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    bits: int | None = None,
    offline: bool = True,
) -> LanguageModel:
    """Load a causal LM from a local folder or a hub name.

    `device`: "cpu", "cuda", "cuda:N", "mps", or "auto" to spread a large model over what is there. `bits`: 4 or 8 to
    quantise with bitsandbytes.

    Raises:
        MissingWeightsError: the files are not here, or access is not granted.
        UniAudioError: they are here but cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    check_bits(bits)
    # Weights that are missing or of another size would be made up at random, with a remark and no more.
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": offline}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    if device == "auto":
        options["device_map"] = "auto"
    if bits is not None:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    except ImportError as problem:
        raise UniAudioError(f"{name}: {first_line(problem)} (pip install 'uniaudio[quantised]')") from problem
    except OSError as problem:
        raise MissingWeightsError(f"{name}: {first_line(problem)}") from problem
    except (ValueError, KeyError, RuntimeError, SafetensorError) as problem:
        raise UniAudioError(f"{name}: not a causal LM that can be loaded: {first_line(problem)}") from problem
    model, found = loaded
    absent = [*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])]
    if absent:
        raise UniAudioError(
            f"{name}: not a whole causal LM: {len(absent)} of its weights are missing or do not fit its config.json "
            f"({min(absent)}, ...)"
        )
    for weight, value in model.named_parameters():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UniAudioError(f"{name}: {weight} holds NaN or infinite weights; fetch the model again")
    if device != "auto" and bits is None:
        model = model.to(device)
    return LanguageModel(model, name)
