"""The multi-scale residual quantiser: latent [B, D, F] to codes and back.

Every level has a frozen codebook (the LLM's word embeddings, `codebook.weight` [K, E]) and one linear layer into the
latent space (`cb_proj`, E -> D). A frame's code is the nearest by cosine similarity; the residual is computed with the
un-normalised vector (UniAudio 1.5, section 3.1). Level k quantises the residual averaged over `stride` frames, and its
output is repeated `stride` times. Level 0 may quantise another latent, `coarse`; its output is subtracted from the
common latent all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Cosine similarity times this is a logit, in the unit loss and in soft codes. With a few hundred unit vectors, 16 is
# large enough for a confident choice to get nearly all of the probability.
SIMILARITY_SCALE = 16.0


@dataclass(frozen=True)
class LevelOutput:
    """One level's input and output: the codes, soft and hard, and what the training losses use.

    `codes`: int64 [B, T]. `latent`: [B, D, T], the averaged residual. `quantized`: [B, D, T], the codes' vectors.
    `similarity`: [B, T, K], cosine similarity to every code.
    """

    codes: Tensor
    latent: Tensor
    quantized: Tensor
    similarity: Tensor

    def straight_through(self) -> Tensor:
        """The straight-through estimator [B, D, T]: the value of `quantized`, the gradient of `latent`."""
        return self.latent + (self.quantized - self.latent).detach()

    def select(self, row: int) -> LevelOutput:
        """The output of one clip of the batch; its batch dimension stays, with size 1."""
        part = slice(row, row + 1)
        return LevelOutput(self.codes[part], self.latent[part], self.quantized[part], self.similarity[part])


@dataclass(frozen=True)
class Quantized:
    """`latent`: [B, D, F], the straight-through sum over levels. `levels`: their outputs, coarsest first."""

    latent: Tensor
    levels: tuple[LevelOutput, ...]


class LevelQuantizer(nn.Module):
    """One level. The projected codebook is computed at every call in training, and once (`project`) for inference."""

    projected: Tensor | None
    directions: Tensor | None

    def __init__(self, size: int, embedding_dim: int, latent_dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.codebook = nn.Embedding(size, embedding_dim)
        self.codebook.weight.requires_grad_(False)
        self.cb_proj = nn.Linear(embedding_dim, latent_dim)
        self.register_buffer("projected", None, persistent=False)
        self.register_buffer("directions", None, persistent=False)

    def projected_codebook(self) -> Tensor:
        """The codes' vectors in the latent space, [K, D]; has a gradient for `cb_proj` unless it was projected once."""
        return self.cb_proj(self.codebook.weight) if self.projected is None else self.projected

    @torch.no_grad()
    def projection(self) -> Tensor:
        """`projected_codebook` for inference: float32, contiguous, without gradient."""
        if self.projected is not None:
            return self.projected
        weight, bias = self.cb_proj.weight.float(), self.cb_proj.bias.float()
        return F.linear(self.codebook.weight.float(), weight, bias).contiguous()

    def project(self) -> None:
        """Compute the projected codebook once, in float32, and use it from now on."""
        self.projected = None
        self.set_projected(self.projection())

    def set_projected(self, projected: Tensor) -> None:
        """Use float32 `projected` [K, D] as the projected codebook from now on."""
        self.projected = projected
        self.directions = F.normalize(projected).T.contiguous()

    def drop_codebook(self) -> None:
        """Free the raw codebook and its layer, which a projected codebook replaces."""
        assert self.projected is not None
        del self.codebook, self.cb_proj

    def similarity(self, latent: Tensor) -> Tensor:
        """Cosine similarity of every frame of `latent` [B, D, T] to every code: [B, T, K]."""
        directions = F.normalize(self.projected_codebook()).T if self.directions is None else self.directions
        return F.normalize(latent.transpose(1, 2), dim=-1) @ directions

    def vectors(self, codes: Tensor) -> Tensor:
        """codes [B, T] -> their vectors [B, D, T]; only these rows of the codebook are projected."""
        rows = self.cb_proj(self.codebook(codes)) if self.projected is None else self.projected[codes]
        return rows.transpose(1, 2)

    def forward(self, residual: Tensor) -> LevelOutput:
        """residual [B, D, F] -> the level's output of F / stride codes."""
        latent = F.avg_pool1d(residual, self.stride, self.stride) if self.stride > 1 else residual
        similarity = self.similarity(latent)
        codes = similarity.argmax(dim=-1)
        return LevelOutput(codes, latent, self.vectors(codes), similarity)


class MultiScaleQuantizer(nn.Module):
    """All levels, coarsest first. The attribute `quantizers` matches the published state dict."""

    def __init__(self, sizes: Sequence[int], embedding_dim: int, latent_dim: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            LevelQuantizer(size, embedding_dim, latent_dim, stride) for size, stride in zip(sizes, strides, strict=True)
        )

    def levels(self) -> list[LevelQuantizer]:
        """The levels, coarsest first."""
        return [level for level in self.quantizers if isinstance(level, LevelQuantizer)]

    def project(self) -> None:
        """Project every level's codebook, for inference."""
        for level in self.levels():
            level.project()

    def forward(self, latent: Tensor, coarse: Tensor | None = None) -> Quantized:
        """latent [B, D, F] -> codes and the sum of their vectors; F must be a multiple of the coarsest stride."""
        total = torch.zeros_like(latent)
        residual = latent
        outputs = list[LevelOutput]()
        for level in self.levels():
            output = level(residual if outputs or coarse is None else coarse)
            spread = output.straight_through().repeat_interleave(level.stride, dim=-1)
            total = total + spread
            residual = residual - spread
            outputs.append(output)
        return Quantized(total, tuple(outputs))

    def encode_soft(self, latent: Tensor, coarse: Tensor | None = None) -> list[LevelOutput]:
        """latent [B, D, F] -> every level's output, without straight-through gradients."""
        residual, found = latent, list[LevelOutput]()
        for level in self.levels():
            output = level(residual if found or coarse is None else coarse)
            residual = residual - output.quantized.repeat_interleave(level.stride, dim=-1)
            found.append(output)
        return found

    def latent(self, codes: Sequence[Tensor]) -> Tensor:
        """codes, int64 [B, F / stride] per level -> latent [B, D, F]. The finest levels may be left out."""
        pieces = [
            level.vectors(level_codes).repeat_interleave(level.stride, dim=-1)
            for level, level_codes in zip(self.levels(), codes, strict=False)
        ]
        return torch.stack(pieces).sum(dim=0)
