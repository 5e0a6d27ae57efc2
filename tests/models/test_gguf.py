"""A two-layer Qwen2 written as GGUF by the gguf package, converted, loaded and compared."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quantize

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.models.gguf import convert_gguf
from uniaudio_cli.models.gguf_file import read_gguf

HIDDEN, INNER, HEADS, KV, LAYERS = 64, 96, 4, 2, 2
TOKENS = ["a", "b", "c", "Ġ", "ab", "Ġa", "<|endoftext|>", "<|im_end|>"]
KINDS = [1, 1, 1, 1, 1, 1, 3, 3]


def tensors(rng: np.random.Generator) -> dict[str, np.ndarray]:
    side = HIDDEN // HEADS * KV
    shapes = {"token_embd.weight": (len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    for n in range(LAYERS):
        shapes |= {
            f"blk.{n}.attn_norm.weight": (HIDDEN,),
            f"blk.{n}.ffn_norm.weight": (HIDDEN,),
            f"blk.{n}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{n}.attn_q.bias": (HIDDEN,),
            f"blk.{n}.attn_k.weight": (side, HIDDEN),
            f"blk.{n}.attn_k.bias": (side,),
            f"blk.{n}.attn_v.weight": (side, HIDDEN),
            f"blk.{n}.attn_v.bias": (side,),
            f"blk.{n}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{n}.ffn_gate.weight": (INNER, HIDDEN),
            f"blk.{n}.ffn_up.weight": (INNER, HIDDEN),
            f"blk.{n}.ffn_down.weight": (HIDDEN, INNER),
        }
    return {name: rng.standard_normal(shape).astype(np.float32) * 0.1 for name, shape in shapes.items()}


def write(path: Path, arch: str = "qwen2", head: str = "none") -> dict[str, np.ndarray]:
    values = tensors(np.random.default_rng(0))
    if head == "same":
        values["output.weight"] = values["token_embd.weight"].copy()
    if head == "other":
        values["output.weight"] = np.random.default_rng(1).standard_normal((len(TOKENS), HIDDEN)).astype(np.float32)
    out = GGUFWriter(path, arch)
    out.add_block_count(LAYERS)
    out.add_context_length(128)
    out.add_embedding_length(HIDDEN)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV)
    out.add_rope_freq_base(10000.0)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(TOKENS)
    out.add_token_types(KINDS)
    out.add_token_merges(["a b", "Ġ a"])
    out.add_eos_token_id(7)
    out.add_pad_token_id(6)
    for name, value in values.items():
        packed = value.ndim == 2 and name != "output.weight"
        kind = GGMLQuantizationType.Q8_0 if packed else GGMLQuantizationType.F32
        out.add_tensor(name, quantize(value, kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return values


def load(folder: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def test_the_folder_gives_the_logits_of_the_gguf_file(tmp_path):
    from transformers import AutoModelForCausalLM, GgufConfig

    write(tmp_path / "m.gguf")
    convert_gguf(tmp_path / "m.gguf", tmp_path / "folder", dtype="float32")
    model, tokenizer = load(tmp_path / "folder")
    direct = AutoModelForCausalLM.from_pretrained(
        str(tmp_path), gguf_file="m.gguf", dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    ids = torch.tensor([[0, 1, 5, 4]])
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, direct(ids).logits, atol=1e-5, rtol=0)
    assert tokenizer("ab a<|im_end|>").input_ids == [4, 5, 7]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (7, 6)


@pytest.mark.parametrize(("head", "tied"), [("none", True), ("same", True), ("other", False)])
def test_a_head_that_is_the_embedding_is_written_once(tmp_path, head, tied):
    values = write(tmp_path / "m.gguf", head=head)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "folder", dtype="float32")
    model, _ = load(tmp_path / "folder")
    assert model.config.tie_word_embeddings is tied
    if head == "same":  # the float32 head is finer than the Q8_0 embedding
        np.testing.assert_array_equal(model.get_input_embeddings().weight.detach(), values["output.weight"])


def test_a_decomposed_letter_is_composed_and_nothing_is_put_first(tmp_path):
    write(tmp_path / "m.gguf")
    convert_gguf(tmp_path / "m.gguf", tmp_path / "folder")
    _, tokenizer = load(tmp_path / "folder")
    assert tokenizer.backend_tokenizer.normalizer.normalize_str("e\u0301") == "\u00e9"
    assert (tokenizer.bos_token_id, tokenizer("a").input_ids) == (None, [0])


def test_what_is_no_whole_file_is_refused(tmp_path):
    write(tmp_path / "m.gguf")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:200])
    with pytest.raises(UniAudioError, match=r"cut\.gguf: cannot be converted \(not a whole GGUF file"):
        convert_gguf(tmp_path / "cut.gguf", tmp_path / "folder")
    (tmp_path / "no.gguf").write_bytes(b"text" * 20)
    with pytest.raises(ValueError, match="no GGUF file"):
        read_gguf(tmp_path / "no.gguf")
