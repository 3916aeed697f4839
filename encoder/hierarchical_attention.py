"""Reading the past: softmax attention over stays, level by level. Stands at the end of the query's way.

Inside a block, attention prefers the stays like the query; the mass a block gathers so is its weight one level up,
and so on to the top. With all blocks opened, as here, the product of the weights along a way from the top to a stay
is the weight of that stay in one softmax over all of them.

Shapes: N_0 stays, N_l blocks of level l, L levels, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class MemoryView(Protocol):
    """What attention reads: the stays and the forest above them, at one instant."""

    @property
    def means(self) -> Sequence[NDArray[np.float32]]:
        """Means of the frames beneath each stay, float32 [N_0, D] in pieces, at least one."""
        ...

    @property
    def counts(self) -> NDArray[np.int64]:
        """Frames beneath each stay, int64 [N_0], at least 1."""
        ...

    @property
    def parents(self) -> Sequence[NDArray[np.int64]]:
        """For each level l from 0 to L - 1, the block of level l + 1 that holds each node: int64 [N_l]."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What attention returns."""

    context_vector: NDArray[np.float32]
    """The mean over all frames, weighted by attention to their stays: float32 [D]."""

    stay_weights: NDArray[np.float64]
    """Share of each stay in the whole: float64 [N_0], sums to 1."""

    block_weights: Sequence[NDArray[np.float64]]
    """Share of each block in the whole, for levels 1 to L: float64 [N_l], each sums to 1."""


def attend(query: NDArray[np.float32], view: MemoryView, inverse_temperature: float) -> Reading:
    """Attend to every stay of a view.

    A stay of m frames with mean mu has the mass m exp(inverse_temperature query.mu): that of all its frames, were
    they at their mean (a lower bound of their mass, by Jensen's inequality).

    Args:
        query: float32 [D], unit length.
        view: at least one stay.
        inverse_temperature: at least 0; 0 weighs all frames alike.
    """
    scaled = torch.from_numpy(query)  # [D]
    # torch has no read-only tensors and warns of one; nothing here writes.
    pieces = [torch.from_numpy(piece) for piece in view.means]
    similarities = torch.cat([piece @ scaled for piece in pieces])  # [N_0]
    # Sums over thousands of masses in float32 would cost more than the 1e-5 that answers are held to.
    masses = torch.from_numpy(view.counts).double().log() + inverse_temperature * similarities.double()  # [N_0], logs

    log_masses = [masses]  # [N_l] for l = 0..L
    for parents in view.parents:
        log_masses.append(_gathered(log_masses[-1], torch.from_numpy(parents)))

    weights = [torch.softmax(log_masses[-1], 0)]  # from the top down
    for level in range(len(view.parents) - 1, -1, -1):
        block = torch.from_numpy(view.parents[level])  # [N_l], the place of each node's parent
        within = torch.exp(log_masses[level] - log_masses[level + 1][block])  # [N_l], sums to 1 in each block
        weights.append(within * weights[-1][block])
    weights.reverse()

    context = torch.zeros_like(scaled)  # [D]
    shares = torch.split(weights[0].float(), [len(piece) for piece in pieces])
    for piece, share in zip(pieces, shares, strict=True):
        context += share @ piece
    return Reading(
        context_vector=context.numpy(),
        stay_weights=weights[0].numpy(),
        block_weights=[share.numpy() for share in weights[1:]],
    )


def _gathered(log_masses: Tensor, parents: Tensor) -> Tensor:
    """Log of the summed masses of each block's children: [N_l] and [N_l] to [N_(l+1)]."""
    blocks = int(parents.max()) + 1
    largest = torch.full((blocks,), -torch.inf, dtype=log_masses.dtype).scatter_reduce(0, parents, log_masses, "amax")
    sums = torch.zeros_like(largest).index_add(0, parents, torch.exp(log_masses - largest[parents]))
    return largest + sums.log()
