"""Small frozen encoders and codebooks: a seeded Whisper as a CTranslate2 file, a YAMNet of a few nodes, made units."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from uniaudio_cli.codec.frozen.units import Array, Units

CLASSES = 521


def made_units(dimensions: int, books: int = 1, codes: int = 4, segments: int = 1, seed: int = 0) -> Units:
    """Random codebooks in 2 dimensions a book, `baseline` 0."""
    rng = np.random.default_rng(seed)
    return Units(
        mean=np.zeros(dimensions, np.float32),
        projection=rng.normal(size=(dimensions, 2 * books)).astype(np.float32),
        centres=rng.normal(size=(books, codes, 2)).astype(np.float32),
        error=np.ones(books, np.float32),
        baseline=np.zeros((segments, books * codes), np.float32),
        temperature=1.0,
    )


def tiny_whisper(positions: int = 150) -> Any:
    """transformers' WhisperEncoder with seeded weights: width 128, two heads, two layers."""
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = WhisperConfig(
        d_model=128,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        max_source_positions=positions,
        num_mel_bins=80,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = WhisperEncoder(config).eval()
        for weight in encoder.parameters():
            weight.data = torch.randn_like(weight) * 0.1
    return encoder


def ct2_variables(state: dict[str, Array]) -> dict[str, Array]:
    """A WhisperEncoder's weights by the names of CTranslate2's files."""
    found = {"encoder/position_encodings/encodings": state["embed_positions.weight"]}
    for name in ("conv1", "conv2"):
        found |= {f"encoder/{name}/{kind}": state[f"{name}.{kind}"] for kind in ("weight", "bias")}

    def norm(target: str, source: str) -> None:
        found[f"{target}/gamma"], found[f"{target}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    norm("encoder/layer_norm", "layer_norm")
    for number in range(2):
        ours, theirs = f"layers.{number}", f"encoder/layer_{number}"
        norm(f"{theirs}/self_attention/layer_norm", f"{ours}.self_attn_layer_norm")
        norm(f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
        weights = [state[f"{ours}.self_attn.{part}_proj.weight"] for part in "qkv"]
        biases = [state[f"{ours}.self_attn.{part}_proj.bias"] for part in "qv"]
        found[f"{theirs}/self_attention/linear_0/weight"] = np.concatenate(weights)
        found[f"{theirs}/self_attention/linear_0/bias"] = np.concatenate([biases[0], 0 * biases[0], biases[1]])
        names = {"self_attn.out_proj": "self_attention/linear_1", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
        for source, target in names.items():
            found |= {f"{theirs}/{target}/{kind}": state[f"{ours}.{source}.{kind}"] for kind in ("weight", "bias")}
    return found


def write_ct2(path: Path, variables: dict[str, Array], version: int = 6) -> None:
    """A CTranslate2 file of float32 variables, with one of a decoder before them."""
    kinds = {"f4": 0, "i1": 1, "f2": 4}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    every = {"decoder/unused": np.zeros(3, np.float32), **variables}
    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(every))
    for name, value in every.items():
        kind = kinds[value.dtype.str[1:]]
        data += text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data += struct.pack("<BI", kind, value.nbytes) + np.ascontiguousarray(value).tobytes()
    path.write_bytes(data + struct.pack("<I", 0))


def write_whisper(folder: Path) -> Any:
    """`tiny_whisper` as a model.bin in `folder`; the encoder."""
    encoder = tiny_whisper()
    folder.mkdir(parents=True, exist_ok=True)
    write_ct2(folder / "model.bin", ct2_variables({k: v.numpy() for k, v in encoder.state_dict().items()}))
    return encoder


def write_yamnet(folder: Path) -> None:
    """A network of YAMNet's inputs and outputs: the embedding is the mean of each mel band 16 times over, and class n
    is scored by the mean of band n mod 64. Its class map has made names."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    embed = np.kron(np.eye(64, dtype=np.float32), np.ones((1, 16), np.float32))
    score = np.eye(64, dtype=np.float32)[np.arange(CLASSES) % 64].T
    constants = {"embed": embed, "score": score, "axes": np.array([1, 2]), "shape": np.array([1, 1024, 1, 1])}
    constants |= {"class_scores_scale": np.float32(0.05), "class_scores_zero_point": np.uint8(128)}
    nodes = [
        helper.make_node("Cast", ["patch"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["bands"], keepdims=0),
        helper.make_node("MatMul", ["bands", "embed"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["/model/GlobalAveragePool_output_0"]),
        helper.make_node("MatMul", ["bands", "score"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["class_scores"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("patch", TensorProto.UINT8, [1, 1, 96, 64])],
        [helper.make_tensor_value_info("class_scores", TensorProto.UINT8, [1, CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "small.onnx"))
    rows = "".join(f'{n},/m/{n},"Sound {n}, made"\n' for n in range(CLASSES))
    (folder / "yamnet_class_map.csv").write_text(f"index,mid,display_name\n{rows}", encoding="utf-8")


def write_levels(folder: Path) -> Path:
    """Encoders in `folder`/yamnet and `folder`/whisper, and their codebooks: the .safetensors."""
    from safetensors.numpy import save_file

    write_yamnet(folder / "yamnet")
    write_whisper(folder / "whisper")
    sounds = made_units(1024)
    # Embeddings of length 1, less one of equal values, far enough apart to get different codes.
    sounds = replace(sounds, mean=np.full(1024, 1 / 32, np.float32), projection=20 * sounds.projection)
    units = {"sounds": sounds, "speech": made_units(128, books=2, segments=3)}
    tensors = {f"{level}.{name}": value for level, each in units.items() for name, value in each.tensors().items()}
    path = folder / "levels.safetensors"
    save_file(tensors, path)
    options = {
        "sounds": {"encoder": "yamnet", "temperature": 1.0, "normalise": True, "words": list("abcd")},
        "speech": {"encoder": "whisper", "temperature": 1.0, "segments": 3, "words": list("abcdefgh")},
    }
    path.with_suffix(".json").write_text(json.dumps(options), encoding="utf-8")
    return path
