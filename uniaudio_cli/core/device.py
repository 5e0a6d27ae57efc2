"""Devices and dtypes by name, checked against this machine."""

from __future__ import annotations

import torch

from uniaudio_cli.core.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> str:
    """A torch device's name.

    Raises:
        UsageError: there is no such device on this machine.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # there are devices that hold no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        reason = str(problem).splitlines()[0].split(". ")[0]
        raise UsageError(f"device {name!r}: not on this machine ({reason})") from problem
    return name


def choose_dtype(name: str, device: str) -> torch.dtype:
    """A torch dtype by name; "auto" is bfloat16 but on a CPU that does not compute in it.

    Raises:
        UsageError: unknown name.
    """
    if name == "auto":
        return torch.bfloat16 if torch.device(device).type != "cpu" or _has_bfloat16() else torch.float32
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r}: choose auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; others make do with float32 and are slower for it."""
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test)() for test in tests if hasattr(torch.cpu, test))
