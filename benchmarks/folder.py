"""What it costs to label a folder: against the reference procedure, with more demonstrations, on a GPU, for very long.

    python benchmarks/folder.py speed [--queries 200]
    python benchmarks/folder.py gpu
    python benchmarks/folder.py long [--queries 10000]
    python benchmarks/folder.py plot [--plot docs/cost-vs-shots.svg]

`speed`: FSDD, 5-way 5-shot, `label` readout, heard once, one order. The reference procedure encodes the demonstrations
again and reads the whole prompt again for each query, one query at a time; ours is `Classifier.classify`. Same weights,
same clips, same process. Beside it the default readout, and both against 1 to 20 shots. `gpu`: LLaMA-2-7B's shape with
random weights against the GPU's own measured limits. `long`: `uniaudio classify` over many clips in a process of its
own, killed (-9) in the middle and resumed; its peak memory against that of 100 clips. `plot`: draws the cost against
shots that docs/readouts.md has in a table (needs matplotlib).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
WAYS, SHOTS, AT_MOST = 5, 5, (1, 2, 5, 10, 20)


def fsdd(data: Path | None) -> list[Path]:
    """Takes of the digits 0 to 4 by one speaker, take by take."""
    folder = data or Path(os.environ.get("UNIAUDIO_TEST_DATA", "")) / "data" / "fsdd"
    clips = [folder / f"{digit}_george_{take}.wav" for take in range(50) for digit in range(WAYS)]
    if not clips[0].is_file():
        raise SystemExit("benchmarks/folder.py: give FSDD with --data, or set UNIAUDIO_TEST_DATA")
    return clips


def seconds_each(work: Any, items: Sequence[Path]) -> float:
    started = time.perf_counter()
    work(items)
    return (time.perf_counter() - started) / len(items)


def speed(arguments: argparse.Namespace) -> None:
    import torch

    import uniaudio_cli
    from uniaudio_cli.api import Kit
    from uniaudio_cli.data.demonstrations import Demonstration
    from uniaudio_cli.inference.classify import Classifier
    from uniaudio_cli.inference.results import LabelResult
    from uniaudio_cli.inference.scoring import LabelReadout
    from uniaudio_cli.prompting.task import Task, load_task, override_task

    clips = fsdd(arguments.data)
    loaded = uniaudio_cli.load(arguments.model, lm=arguments.lm, codec=arguments.codec)
    # Without the cache of codes on disk, which would encode the reference procedure's demonstrations for it.
    kit = Kit(loaded.codec, loaded.lm, loaded.vocabulary)
    default = load_task("spoken-digit")
    label = override_task(default, readout="label", levels=(0,), **{"clip.time_offsets_ms": (0,)})

    def classifier(task: Task, shots: int) -> Classifier:
        shown = [Demonstration(clip, clip.name[0]) for clip in clips[: shots * WAYS]]
        return kit.classifier(shown, task, shots=shots)

    def ours(task: Task, shots: int, queries: Sequence[Path]) -> tuple[float, list[str | None]]:
        ready = classifier(task, shots)
        found: list[str | None] = []
        ready.prepare()

        def work(items: Sequence[Path]) -> None:
            found.extend(result.label for result in ready.classify(items) if isinstance(result, LabelResult))

        each = seconds_each(work, queries)
        return each, found

    def theirs(shots: int, queries: Sequence[Path]) -> tuple[float, list[str | None], int]:
        found: list[str | None] = []
        ids = 0

        def work(items: Sequence[Path]) -> None:
            nonlocal ids
            for query in items:
                fresh = classifier(label, shots)
                found.append(fresh(query).label)
                assert isinstance(fresh.readout, LabelReadout)
                ids += int(fresh.readout.prefix.mask.shape[1])

        return seconds_each(work, queries), found, ids // len(queries)

    # Queries follow the demonstrations of the largest number of shots, so that none is ever shown.
    pool = clips[max(AT_MOST) * WAYS :]
    queries = [pool[n % len(pool)] for n in range(arguments.queries)]
    some = queries[: min(len(queries), arguments.reference)]
    ours(label, 1, queries[:16]), theirs(1, queries[:2])  # warm
    slow, expected, prefix = theirs(SHOTS, some)
    fast, found = ours(label, SHOTS, queries)
    usual, _ = ours(default, SHOTS, queries[: max(16, len(queries) // 4)])
    same = sum(a == b for a, b in zip(expected, found, strict=False))
    dtype = str(next(kit.lm.model.parameters()).dtype).removeprefix("torch.")
    print(f"{kit.lm.name}, {kit.lm.device}, {dtype}, {torch.get_num_threads()} threads; {WAYS}-way {SHOTS}-shot\n")
    print("| procedure | queries | s / query | queries / s |\n|---|---|---|---|")
    for name, count, each in (
        ("reference: everything again for every query, `label`", len(some), slow),
        ("ours, `label`", len(queries), fast),
        ("ours, default readout", max(16, len(queries) // 4), usual),
    ):
        print(f"| {name} | {count} | {each:.3f} | {1 / each:.1f} |")
    print(f"\n`label`: {slow / fast:.1f} times as fast; the same answer to {same} of {len(some)} queries;")
    print(f"ids not read again: {prefix} a query, {prefix * (len(queries) - 1)} in all.\n")
    print("| shots | reference, s / query | ours `label` | ours default |\n|---|---|---|---|")
    for shots in AT_MOST:
        row = (
            theirs(shots, queries[:4])[0],
            ours(label, shots, queries[:64])[0],
            ours(default, shots, queries[:32])[0],
        )
        print(f"| {shots} | {row[0]:.3f} | {row[1]:.3f} | {row[2]:.3f} |", flush=True)


def plot(arguments: argparse.Namespace) -> None:
    """The table "| shots | reference ..." of docs/readouts.md as a small SVG, the same bytes for the same numbers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    lines = (DOCS / "readouts.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| shots | reference"))
    names = [cell.strip(" `") for cell in lines[start].strip("|").split("|")][1:]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([float(cell) for cell in line.strip("|").split("|")])
    shots, *columns = zip(*rows, strict=True)
    with matplotlib.rc_context({"svg.hashsalt": "cost-vs-shots", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(5, 3))
        for name, column in zip(names, columns, strict=True):
            axes.plot(shots, column, marker="o", markersize=3, label=name.replace("`", "").replace(", s / query", ""))
        axes.set(xlabel="demonstrations of each of 5 labels", ylabel="seconds a query", yscale="log", xticks=shots)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(arguments.plot, bbox_inches="tight", metadata={"Date": None})
    print(f"{arguments.plot}: {len(rows)} numbers of shots")


def gpu(arguments: argparse.Namespace) -> None:
    import torch

    if not torch.cuda.is_available():
        print("gpu: did not run, as this machine has no CUDA device")
        return
    from transformers import LlamaConfig, LlamaForCausalLM

    from uniaudio_cli.llm.model import LanguageModel

    config = LlamaConfig(
        vocab_size=32_000, hidden_size=4_096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32
    )
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    lm = LanguageModel(model, "LLaMA-2-7B's shape")
    lm.batch_ids = 4_096
    size = sum(parameter.numel() for parameter in model.parameters())
    bandwidth, flops = limits(torch)
    draw = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        return torch.randint(100, 32_000, (count,), generator=draw).tolist()

    def timed(work: Any) -> float:
        work()
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started

    prompt, answers = ids(1_500), [ids(2) for _ in range(WAYS)]
    prefix = lm.prefill([prompt])
    print(f"{torch.cuda.get_device_name()}: {bandwidth / 1e12:.2f} TB/s and {flops / 1e12:.0f} TFLOP/s measured\n")
    print("| what | s | limit, s | by |\n|---|---|---|---|")
    rows = [
        ("read 1,500 ids of demonstrations", lambda: lm.prefill([prompt]), 2 * size * 1_500 / flops, "FLOP"),
        ("one query of 20 ids", lambda: lm.score_after(prefix, [ids(20)], answers), 2 * size / bandwidth, "memory"),
    ]
    many = [ids(20) for _ in range(160)]
    rows.append(("160 queries", lambda: lm.score_after(prefix, many, answers), 2 * size * 160 * 25 / flops, "FLOP"))
    for name, work, limit, by in rows:
        print(f"| {name} | {timed(work):.4f} | {limit:.4f} | {by} |", flush=True)
    print(f"\npeak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, of it weights {2 * size / 2**30:.1f}")


def limits(torch: Any) -> tuple[float, float]:
    """Bytes and floating-point operations a second that this GPU reaches in a large copy and a large product."""
    a = torch.randn(8_192, 8_192, device="cuda", dtype=torch.bfloat16)
    long = torch.empty(2**30, dtype=torch.uint8, device="cuda")

    def rate(work: Any, amount: float) -> float:
        for _ in range(3):
            work()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(10):
            work()
        torch.cuda.synchronize()
        return 10 * amount / (time.perf_counter() - started)

    return rate(lambda: long.clone(), 2 * 2**30), rate(lambda: a @ a, 2 * 8_192**3)


def long(arguments: argparse.Namespace) -> None:
    import psutil  # type: ignore[import-untyped]

    clips = fsdd(arguments.data)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for digit in range(WAYS):
            (root / "demos" / str(digit)).mkdir(parents=True)
            for take in range(SHOTS):
                (root / "demos" / str(digit) / f"{take}.wav").symlink_to(clips[take * WAYS + digit].resolve())
        (root / "queries").mkdir()
        pool = clips[SHOTS * WAYS :]
        for number in range(arguments.queries):
            (root / "queries" / f"{number:05}.wav").symlink_to(pool[number % len(pool)].resolve())

        def start(output: Path, *flags: str) -> tuple[subprocess.Popen, Any]:
            command = [sys.executable, "-c", "from uniaudio_cli.cli.main import main; main()", "classify"]
            command += [*flags, "--demos", str(root / "demos"), "--task", "spoken-digit", "--shots", str(SHOTS)]
            command += [
                "--readout",
                arguments.readout,
                "--levels",
                arguments.levels,
                "--output",
                str(output),
                "--resume",
            ]
            started = subprocess.Popen([*command, "--model", arguments.model])
            return started, psutil.Process(started.pid)

        def peak(process: subprocess.Popen, watched: Any, stop: Any = lambda: False) -> float:
            """MB of the process at its largest; it is killed where `stop` says so."""
            most = 0
            while process.poll() is None:
                try:
                    most = max(most, watched.memory_info().rss)
                except psutil.NoSuchProcess:
                    break
                if stop():
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.2)
            process.wait()
            return most / 2**20

        few = root / "few.txt"
        few.write_text("".join(f"queries/{number:05}.wav\n" for number in range(100)))
        small = peak(*start(root / "few.jsonl", str(few)))
        out = root / "out.jsonl"
        half = arguments.queries // 2
        started = time.perf_counter()
        first = peak(*start(out, str(root / "queries")), lambda: out.exists() and out.read_bytes().count(b"\n") >= half)
        killed = out.read_bytes().count(b"\n")
        second = peak(*start(out, str(root / "queries")))
        took = time.perf_counter() - started
        files = [json.loads(line)["file"] for line in out.read_text().splitlines()]
        once = len(files) == len(set(files)) == arguments.queries
        print(
            f"{arguments.queries} queries, {arguments.readout}, killed after {killed} and resumed: {took:.0f} s in all"
        )
        print(f"every file exactly once: {once}")
        print(f"peak memory, MB: 100 queries {small:.0f}, until the kill {first:.0f}, after it {second:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=("speed", "gpu", "long", "plot", []), help="all but plot by default")
    parser.add_argument("--data", type=Path, help="FSDD; by default $UNIAUDIO_TEST_DATA/data/fsdd")
    parser.add_argument("--queries", type=int, help="default: 200 for speed, 10,000 for long")
    parser.add_argument("--reference", type=int, default=20, help="queries for the reference procedure, which is slow")
    parser.add_argument("--readout", default="label", help="of `long`: label is the quicker one")
    parser.add_argument("--levels", default="0", help="of `long`")
    parser.add_argument("--model", default="small")
    parser.add_argument("--lm")
    parser.add_argument("--codec")
    parser.add_argument("--plot", type=Path, default=DOCS / "cost-vs-shots.svg", help="the file `plot` writes")
    arguments = parser.parse_args()
    asked = arguments.queries
    for what in arguments.what or ("speed", "gpu", "long"):
        arguments.queries = asked or (10_000 if what == "long" else 200)
        {"speed": speed, "gpu": gpu, "long": long, "plot": plot}[what](arguments)


if __name__ == "__main__":
    main()
