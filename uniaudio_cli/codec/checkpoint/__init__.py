"""Codec checkpoints: our own form (NAME.safetensors with NAME.json) and the published files."""

from uniaudio_cli.codec.checkpoint.loading import convert, load_codec
from uniaudio_cli.codec.checkpoint.own import save_codec

__all__ = ["convert", "load_codec", "save_codec"]
