"""Requests a second of `uniaudio serve` and how long one takes, side by side and one by one, by ApacheBench (`ab`).

    python benchmarks/serve.py [--clients 1 8 32] [--seconds 20] [--rounds 3] [--model NAME]

Two servers of the same models run, of which one does one request after another. They take turns; a request is one
shipped clip labelled by the shipped sounds. The median of the rounds counts; what is no answer of 200 has failed. Run
it on an idle machine.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

CLIP = Path(__file__).parent.parent / "examples" / "audio" / "sound-queries" / "rain" / "1.flac"
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.flac"\r\n\r\n%s\r\n'
    b'--x\r\nContent-Disposition: form-data; name="set"\r\n\r\nexample-sounds\r\n--x--\r\n'
)
FIGURES = {
    "rate": r"Requests per second:\s+([\d.]+)",
    "p50": r"50%\s+(\d+)",
    "p99": r"99%\s+(\d+)",
    "failed": r"Failed requests:\s+(\d+)",
}


def serve(port: int, alone: bool, model: str) -> None:
    """A server of this process; `alone`: one request after another."""
    import uniaudio_cli
    from uniaudio_cli.serve import service
    from uniaudio_cli.serve.app import create_app
    from uniaudio_cli.serve.http import server
    from uniaudio_cli.serve.settings import Settings

    if alone:
        service.clips_at_a_time = lambda kit: 1
    with tempfile.TemporaryDirectory() as state:
        settings = Settings(Path(state), port=port)
        server(create_app(uniaudio_cli.load(model, defer_lm=True), settings), settings, "error").run()


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def load(port: int, form: Path, clients: int, seconds: float) -> dict[str, float]:
    """The figures of one run of `ab`."""
    command = [
        "ab",
        "-q",
        "-l",
        "-c",
        str(clients),
        "-t",
        f"{seconds:g}",
        "-n",
        "1000000",
        "-s",
        "120",
        "-p",
        str(form),
    ]
    address = f"http://127.0.0.1:{port}/v1/classify"
    done = subprocess.run(
        [*command, "-T", "multipart/form-data; boundary=x", address], capture_output=True, text=True, check=True
    )
    found = {name: re.search(pattern, done.stdout) for name, pattern in FIGURES.items()}
    other = re.search(r"Non-2xx responses:\s+(\d+)", done.stdout)
    figures = {name: float(match[1]) if match else float("nan") for name, match in found.items()}
    return {**figures, "failed": figures["failed"] + (float(other[1]) if other else 0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    # What is under way when a run ends is not counted, so a run takes many times what its clients have under way.
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="small")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.alone, options.model)
        return
    if shutil.which("ab") is None:
        sys.exit("needs ab: apt-get install apache2-utils")
    ports = {"side by side": free_port(), "one by one": free_port()}
    with ExitStack() as stack:
        form = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "form"
        form.write_bytes(FORM % CLIP.read_bytes())
        for name, port in ports.items():
            command = [sys.executable, __file__, "--serve", str(port), "--model", options.model]
            child = stack.enter_context(subprocess.Popen([*command, *(["--alone"] if name == "one by one" else [])]))
            stack.callback(child.terminate)
        for port in ports.values():
            wait(port)
            load(port, form, 1, 3)  # the demonstrations are encoded by the first request
        rounds: dict[tuple[int, str], list[dict[str, float]]] = defaultdict(list)
        for _ in range(options.rounds):  # every figure in every round, as machines change their speed
            for clients in options.clients:
                for name, port in ports.items():
                    rounds[clients, name].append(load(port, form, clients, options.seconds))
    first = options.clients[0]
    print(f"| clients | server | requests a second | times those of {first} | p50, ms | p99, ms | failed |")
    print("|---|---|---|---|---|---|---|")
    for (clients, name), runs in rounds.items():
        rate, p50, p99, failed = (statistics.median(run[figure] for run in runs) for figure in FIGURES)
        pairs = zip(runs, rounds[first, name], strict=True)
        times = statistics.median(run["rate"] / other["rate"] for run, other in pairs)
        print(f"| {clients} | {name} | {rate:.1f} | {times:.2f} | {p50:.0f} | {p99:.0f} | {failed:.0f} |")


def wait(port: int) -> None:
    """Until a server answers; a minute at most."""
    for _ in range(240):
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").close()
            return
        time.sleep(0.25)
    sys.exit("a server did not start")


if __name__ == "__main__":
    main()
