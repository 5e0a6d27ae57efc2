"""Time the published codec with codebooks that are projected once, against projection at every call.

    python benchmarks/codec.py [--seconds 1 10] [--repeats 3] [--threads N] [--json]
    python benchmarks/codec.py --shipped [--seconds 3 10 30] [--repeats 20] [--json]

Random weights at the published size (about 1.3 GB, 2.5 GB at the peak). Both sides run the same folded networks on the
same clip and must give the same codes, so the projected codebooks are the only difference: `Codec` computes them once,
and the reference procedure projects every level's whole codebook (3,248 and twice 32,000 vectors of 4,096) in every
encode and decode. With --shipped, the real-time factor of the package's codec on noise, with one thread and with all:
the median over calls.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from uniaudio_cli.codec.architectures.published import remove_weight_norm
from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.models.registry import resolve_codec

CONFIG = CodecConfig(
    architecture="published",
    sample_rate=16_000,
    hop_length=480,
    strides=(4, 2, 1),
    sizes=(3_248, 32_000, 32_000),
    embedding_dim=4_096,
    latent_dim=512,
    words=(None, None, None),
    llm="",
    encoder={"encoder_dim": 32, "encoder_rates": (3, 4, 5, 8), "depthwise": True, "attn_window_size": 8},
    decoder={
        "decoder_dim": 1_536,
        "decoder_rates": (8, 5, 4, 3),
        "noise": True,
        "depthwise": True,
        "attn_window_size": 8,
    },
)
SEED = 1234


def random_codec() -> Codec:
    """The published size with seeded weights, its codebooks projected and the raw ones kept."""
    torch.manual_seed(SEED)
    codec = Codec(CONFIG).eval().requires_grad_(False)
    remove_weight_norm(codec)
    codec.quantizer.project()
    return codec


@torch.inference_mode()
def encode_projecting(codec: Codec, wav: Tensor) -> list[Tensor]:
    """`Codec.encode` as the reference procedure has it."""
    residual, found = codec.encoder(codec.padded(wav)), []
    for level in codec.quantizer.levels():
        table = level.cb_proj(level.codebook.weight)
        frames = F.avg_pool1d(residual, level.stride, level.stride).transpose(1, 2)
        codes = (F.normalize(frames, dim=-1) @ F.normalize(table).T).argmax(dim=-1)
        residual = residual - table[codes].transpose(1, 2).repeat_interleave(level.stride, dim=-1)
        found.append(codes)
    return found


@torch.inference_mode()
def decode_projecting(codec: Codec, codes: Sequence[Tensor], seed: int) -> Tensor:
    """`Codec.decode` as the reference procedure has it."""
    pieces = []
    for level, level_codes in zip(codec.quantizer.levels(), codes, strict=True):
        table = level.cb_proj(level.codebook.weight)
        pieces.append(table[level_codes].transpose(1, 2).repeat_interleave(level.stride, dim=-1))
    return codec.decoder(torch.stack(pieces).sum(dim=0), [torch.Generator().manual_seed(seed)])


def timed(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least seconds of each call. Calls alternate, so that other load on the machine affects all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, its_times in zip(calls, times, strict=True):
            its_times.append(seconds_of(call))
    return [min(its_times) for its_times in times]


def measure(codec: Codec, seconds: float, repeats: int) -> list[dict[str, float | str]]:
    """One row each for encode and decode of a clip; raises AssertionError where the two sides differ."""
    samples = int(seconds * codec.sample_rate)
    wav = 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(SEED))
    # These calls also warm both sides up.
    codes, reference = codec.encode(wav), encode_projecting(codec, wav)
    assert all(torch.equal(level, other) for level, other in zip(codes, reference, strict=True)), "codes differ"
    assert torch.allclose(codec.decode(codes, SEED), decode_projecting(codec, codes, SEED), atol=1e-4), "wavs differ"
    pairs = {
        "encode": (lambda: codec.encode(wav), lambda: encode_projecting(codec, wav)),
        "decode": (lambda: codec.decode(codes, SEED), lambda: decode_projecting(codec, codes, SEED)),
    }
    rows: list[dict[str, float | str]] = []
    for name, pair in pairs.items():
        once, every = timed(pair, repeats)
        rows.append({"what": name, "clip_s": seconds, "once_s": once, "every_call_s": every, "ratio": every / once})
    return rows


def shipped(seconds: Sequence[float], repeats: int) -> list[dict[str, float]]:
    """One row a number of threads and a length of clip, for the codec in the package."""
    files = resolve_codec("uniaudio-small")
    codec = load_codec(files.weights, files.config)
    rows: list[dict[str, float]] = []
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        torch.set_num_threads(threads)
        for length in seconds:
            wav = 0.1 * torch.randn(1, 1, int(length * codec.sample_rate))
            codes = codec.encode(wav)
            codec.decode(codes)
            encode, decode = (
                statistics.median(seconds_of(call) for _ in range(repeats))
                for call in (lambda x=wav: codec.encode(x), lambda x=codes: codec.decode(x))
            )
            times = length / (encode + decode)
            row = {"threads": threads, "clip_s": length, "encode_s": encode, "decode_s": decode}
            rows.append({**row, "times_real_time": times})
    return rows


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shipped", action="store_true", help="the codec in the package, against real time")
    parser.add_argument("--seconds", type=float, nargs="+", help="lengths of the clips")
    parser.add_argument("--repeats", type=int, help="so many calls")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.shipped:
        _show_shipped(shipped(arguments.seconds or (3, 10, 30), arguments.repeats or 20), arguments.json)
        return
    repeats = arguments.repeats or 3
    start = time.perf_counter()
    codec = random_codec()
    start_projecting = time.perf_counter()
    codec.quantizer.project()
    projecting = time.perf_counter() - start_projecting
    print(f"built in {start_projecting - start:.0f} s", file=sys.stderr)
    rows = [row for seconds in arguments.seconds or (1, 10) for row in measure(codec, seconds, repeats)]
    result = {
        "rows": rows,
        "projecting_s": projecting,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{'':8}{'clip':>8}{'tables held':>14}{'every call':>13}{'ratio':>8}")
    for row in rows:
        clip, once, every = f"{row['clip_s']:g} s", f"{row['once_s']:.2f} s", f"{row['every_call_s']:.2f} s"
        print(f"{row['what']:8}{clip:>8}{once:>14}{every:>13}{row['ratio']:>7.1f}x")
    print(f"Codes equal. Best of {repeats}, {result['threads']} threads, torch {torch.__version__}.")
    print(f"Peak memory {result['peak_gb']:.1f} GB. Projecting once, at load: {projecting:.2f} s.")


def _show_shipped(rows: Sequence[dict[str, float]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": rows, "torch": torch.__version__}, indent=1))
        return
    print(f"{'threads':>8}{'clip':>8}{'encode':>10}{'decode':>10}{'x real time':>13}")
    for row in rows:
        clip, encode, decode = f"{row['clip_s']:g} s", f"{row['encode_s']:.3f} s", f"{row['decode_s']:.3f} s"
        print(f"{row['threads']:>8}{clip:>8}{encode:>10}{decode:>10}{row['times_real_time']:>13.0f}")
    print(f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
