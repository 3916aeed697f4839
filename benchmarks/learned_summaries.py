"""Learned block summaries, which learned attention is compared with. Part of `benchmarks.learned`.

In the manner of hierarchical attention over chunks (A. Lampinen et al., Towards mental time travel: a hierarchical
memory for reinforcement learning agents, 2021): learned attention pools the stays of a block into summaries; a query is
compared with them, the best blocks are opened, and what attention finds inside each is weighed by how good it is.
Inside a block the query attends with heads like those it is compared with, so that only the summaries differ.

Shapes: C queries, N rows, P summaries of a block, B blocks, D width.
"""

import torch
from torch import Tensor, nn

from encoder.attention_examples import Examples
from encoder.attention_training import Read
from encoder.learned_attention import HierarchicalAttention

SUMMARIES = 4
"""P: one vector is little for 100 stays."""

OPENED = 8
"""Blocks that a query opens: 4 found less, and all of them no more than a point or two more."""

BLIND = 1e-6
"""Share of the weights that all frames have alike, so that evidence in a closed block has a likelihood."""

_NONE = -1e30
"""Log of next to nothing."""

_LEAST = 1e-30


class BlockSummaries(nn.Module):
    """Attention over the summaries of blocks, then inside the best of them."""

    def __init__(self, dimension: int, heads: int, rank: int, inverse_temperature: float, seed: int) -> None:
        """Make it so that untrained the summaries are means, nearly, and attention is plain.

        Args:
            dimension: D.
            heads: of attention inside blocks.
            rank: of every map of queries.
            inverse_temperature: where attention inside blocks begins.
            seed: of what is drawn.
        """
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.pools = nn.Parameter(torch.randn(SUMMARIES, dimension, generator=random))  # [P, D]
        self.asks = HierarchicalAttention(dimension, SUMMARIES, rank, seed=seed)
        self.inside = HierarchicalAttention(dimension, heads, rank, inverse_temperature, seed)

    def forward(
        self, queries: Tensor, means: Tensor, counts: Tensor, visible: Tensor, blocks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read as `HierarchicalAttention` does; `blocks` are numbers of the blocks of rows: int64 [N], in [0, B)."""
        number = int(blocks.max()) + 1
        relevance = self._relevance(queries, means, counts, visible, blocks, number)  # [C, B]
        least = relevance.topk(min(OPENED, number), 1).values[:, -1:]
        opened = torch.log_softmax(relevance.masked_fill(relevance < least, _NONE), 1)  # [C, B]

        masses = self.inside.scaled_queries(queries) @ means.T + counts.float().log()  # [C, heads, N]
        masses = masses.masked_fill(~visible[:, None], _NONE)
        place = blocks.expand_as(masses)
        largest = torch.full((*masses.shape[:2], number), _NONE).scatter_reduce(2, place, masses.detach(), "amax")
        within = (masses - largest.gather(2, place)).exp() * visible[:, None]
        sums = torch.zeros_like(largest).index_add(2, blocks, within)  # at least 1 where anything is visible
        shares = within / sums.clamp(min=1e-6).gather(2, place) * self.inside.mixture(queries)[..., None]
        weights = shares.sum(1) * opened.exp().gather(1, blocks.expand(len(queries), -1))  # [C, N]
        frames = visible * counts.float()
        weights = (1 - BLIND) * weights + BLIND * frames / frames.sum(1, keepdim=True)
        return weights @ means, weights.clamp(min=_LEAST).log().masked_fill(~visible, -torch.inf)

    def _relevance(
        self, queries: Tensor, means: Tensor, counts: Tensor, visible: Tensor, blocks: Tensor, number: int
    ) -> Tensor:
        """Log of what each block promises by its summaries and its frames: [C, B]."""
        shares = torch.softmax(self.pools @ means.T, 1) * len(means) * counts  # [P, N], up to a factor
        shares = shares * visible[:, None]  # [C, P, N]
        # A summary is a mean of rows: its product with a query is the mean of their products.
        products = self.asks.scaled_queries(queries) @ means.T  # [C, P, N]
        none = torch.zeros(len(queries), SUMMARIES, number)
        promised = none.index_add(2, blocks, shares * products) / none.index_add(2, blocks, shares).clamp(min=1e-20)
        frames = none[:, 0].index_add(1, blocks, visible * counts.float())  # [C, B]
        summed = torch.logsumexp(promised + self.asks.mixture(queries).log()[..., None], 1)  # [C, B]
        return (summed + frames.clamp(min=1e-20).log()).masked_fill(frames == 0, _NONE)


def reading_by_summaries(module: BlockSummaries, examples: Examples, blocks: Tensor) -> Read:
    """Read the rows of examples with a module; `blocks` are the blocks of all rows, int64 [S]."""

    def read(queries: Tensor, rows: Tensor, counts: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        numbered = torch.unique(blocks[rows], return_inverse=True)[1]
        contexts, weights = module(queries, examples.means[rows], counts, visible, numbered)
        return contexts, weights

    return read
