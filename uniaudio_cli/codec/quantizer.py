"""The multi-scale residual quantiser: latent [B, D, F] in, codes out, and back. Never knows waveforms or words.

Every level owns a frozen codebook (the LLM's word embeddings, `codebook.weight` [K, E]) and one linear layer into the
latent space (`cb_proj`, E -> D). The nearest code is found by cosine; the vector passed on is the un-normalised one
(UniAudio 1.5, section 3.1). Level k sees the residual averaged over `stride` frames and repeats its answer as often.
Level 0 may be given a latent of its own, `coarse`: what it chose is taken from the other one all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Cosine -> logit, where the small codec is taught to name units and where it is asked what else a frame may have been:
# with unit vectors and a few hundred codes, 16 lets a sure choice be sure.
SIMILARITY_SCALE = 16.0


@dataclass(frozen=True)
class LevelOutput:
    """What one level saw and chose; all training losses on the quantiser start from these.

    `codes`: int64 [B, T]. `latent`: [B, D, T], the averaged residual. `chosen`: [B, D, T], its code's vector.
    `similarity`: [B, T, K], cosine to every code.
    """

    codes: Tensor
    latent: Tensor
    chosen: Tensor
    similarity: Tensor

    def through(self) -> Tensor:
        """The straight-through estimate [B, D, T]: forwards the code, backwards as if there were no quantiser."""
        return self.latent + (self.chosen - self.latent).detach()


@dataclass(frozen=True)
class Quantised:
    """`latent`: [B, D, F], the sum over levels, straight-through to the encoder; `levels`: coarsest first."""

    latent: Tensor
    levels: tuple[LevelOutput, ...]


class LevelQuantizer(nn.Module):
    """One level. The projected codebook is computed at every call in training and once (`project`) for inference."""

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

    def table(self) -> Tensor:
        """The codes' vectors in the latent space, [K, D]."""
        return self.cb_proj(self.codebook.weight) if self.projected is None else self.projected

    @torch.no_grad()
    def projection(self) -> Tensor:
        """The table as inference uses it: float32, contiguous, computed from the codebook if it was not kept."""
        if self.projected is not None:
            return self.projected
        weight, bias = self.cb_proj.weight.float(), self.cb_proj.bias.float()
        return F.linear(self.codebook.weight.float(), weight, bias).contiguous()

    def project(self) -> None:
        """Keep the projected table (always float32), so that no later call multiplies the whole codebook again."""
        self.projected = None
        self.use(self.projection())

    def use(self, projected: Tensor) -> None:
        """Take float32 `projected` [K, D] for the table from now on."""
        self.projected = projected
        self.directions = F.normalize(projected).T.contiguous()

    def forget(self) -> None:
        """Free the codebook and its layer; with the table kept, encoding and decoding need neither."""
        assert self.projected is not None
        del self.codebook, self.cb_proj

    def similarity(self, latent: Tensor) -> Tensor:
        """Cosine of every frame of `latent` [B, D, T] with every code: [B, T, K]."""
        directions = F.normalize(self.table()).T if self.directions is None else self.directions
        return F.normalize(latent.transpose(1, 2), dim=-1) @ directions

    def vectors(self, codes: Tensor) -> Tensor:
        """codes [B, T] -> [B, D, T]. Only the rows asked for are projected."""
        rows = self.cb_proj(self.codebook(codes)) if self.projected is None else self.projected[codes]
        return rows.transpose(1, 2)

    def forward(self, residual: Tensor) -> LevelOutput:
        """residual [B, D, F] -> what the level chose, at F / stride frames."""
        latent = F.avg_pool1d(residual, self.stride, self.stride) if self.stride > 1 else residual
        similarity = self.similarity(latent)
        codes = similarity.argmax(dim=-1)
        return LevelOutput(codes, latent, self.vectors(codes), similarity)


class MultiScaleQuantizer(nn.Module):
    """All levels, coarsest first: `quantizers` (the published spelling, so that published keys load as they are)."""

    def __init__(self, sizes: Sequence[int], embedding_dim: int, latent_dim: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            LevelQuantizer(size, embedding_dim, latent_dim, stride) for size, stride in zip(sizes, strides, strict=True)
        )

    def levels(self) -> list[LevelQuantizer]:
        return [level for level in self.quantizers if isinstance(level, LevelQuantizer)]

    def project(self) -> None:
        """Make every level ready for inference."""
        for level in self.levels():
            level.project()

    def forward(self, latent: Tensor, coarse: Tensor | None = None) -> Quantised:
        """latent [B, D, F] -> codes and their sum; F must be a multiple of the coarsest stride."""
        total = torch.zeros_like(latent)
        residual = latent
        outputs = list[LevelOutput]()
        for level in self.levels():
            output = level(residual if outputs or coarse is None else coarse)
            spread = output.through().repeat_interleave(level.stride, dim=-1)
            total = total + spread
            residual = residual - spread
            outputs.append(output)
        return Quantised(total, tuple(outputs))

    def encode_soft(self, latent: Tensor, coarse: Tensor | None = None) -> list[LevelOutput]:
        """latent [B, D, F] -> what every level saw and chose, without what only training needs."""
        residual, found = latent, list[LevelOutput]()
        for level in self.levels():
            output = level(residual if found or coarse is None else coarse)
            residual = residual - output.chosen.repeat_interleave(level.stride, dim=-1)
            found.append(output)
        return found

    def codes(self, latent: Tensor) -> list[Tensor]:
        """latent [B, D, F] -> int64 [B, F / stride] per level."""
        return [level.codes for level in self.encode_soft(latent)]

    def latent(self, codes: Sequence[Tensor]) -> Tensor:
        """int64 [B, F / stride] per level -> [B, D, F]. Fewer levels than there are leave the finer ones out."""
        pieces = [
            level.vectors(level_codes).repeat_interleave(level.stride, dim=-1)
            for level, level_codes in zip(self.levels(), codes, strict=False)
        ]
        return torch.stack(pieces).sum(dim=0)
