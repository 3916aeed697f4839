"""Learned attention: what a query should look for, learned from what a memory holds. Stands before the read.

Plain attention looks for what is like the query. A head looks for k = beta (I + U V^T) q instead: a linear map of the
query, of low rank beside the identity, times an inverse temperature of its own. Several heads read side by side, a
mixture weighs them by the query, and an output map turns what they read into the answer's context vector.

All of it is on the query's side. A dot product with a mean is the mean of the dot products, so summaries serve heads as
they serve plain attention: nothing that is stored depends on what was learned, and any way of reading the past reads it
for each head, by its scaled query. Untrained, every head is plain attention, and so is the whole.

Shapes: Q queries, N stays, D width, H heads, R rank.
"""

import hashlib
import math
import re

import numpy as np
import torch
from torch import Tensor, nn

from encoder.errors import EncoderError

OUTPUT_RANK = 8
"""Rank of each head's part of the output map, beside the identity."""

_FORMAT = "framekeep-heads-1"
"""Name and version of what `HierarchicalAttention.to_bytes` writes."""

_INVISIBLE = -1e30
"""Log of the mass of a stay that a query may not see: as good as none, and unlike -inf without NaN in gradients."""


class HeadsUnreadable(EncoderError):
    """The bytes are not heads as `HierarchicalAttention.to_bytes` writes them."""


class HierarchicalAttention(nn.Module):
    """Heads on the query's side, for any way of reading the past.

    To read with something else than `forward`: read with each of `scaled_queries`, at inverse temperature 1; weigh the
    weights of stays by `mixture`; and put the context vectors together by `combine`.
    """

    def __init__(
        self, dimension: int, heads: int = 2, rank: int = 64, inverse_temperature: float = 20.0, seed: int = 0
    ) -> None:
        """Make heads that are plain attention.

        Args:
            dimension: D, at least 1.
            heads: H, at least 1.
            rank: R, at least 1.
            inverse_temperature: where every head's begins; above 0.
            seed: of the directions that heads first listen to.

        Raises:
            ValueError: a number is out of range.
        """
        super().__init__()
        if min(dimension, heads, rank) < 1 or not 0 < inverse_temperature < math.inf:
            raise ValueError(
                "expected a dimension, heads and a rank of at least 1 and an inverse temperature above 0, "
                f"got {dimension}, {heads}, {rank} and {inverse_temperature}"
            )
        random = torch.Generator().manual_seed(seed)
        scale = dimension**-0.5
        # What is written begins at 0, so that nothing is changed; what is listened to does not, so that it can begin.
        self.listens = nn.Parameter(scale * torch.randn(heads, dimension, rank, generator=random))  # V
        self.adds = nn.Parameter(torch.zeros(heads, dimension, rank))  # U
        self.log_inverse_temperatures = nn.Parameter(torch.full((heads,), math.log(inverse_temperature)))
        self.mixture_map = nn.Parameter(torch.zeros(heads, dimension))
        self.mixture_offsets = nn.Parameter(torch.zeros(heads))
        self.output_listens = nn.Parameter(scale * torch.randn(heads, dimension, OUTPUT_RANK, generator=random))
        self.output_adds = nn.Parameter(torch.zeros(heads, dimension, OUTPUT_RANK))

    @property
    def dimension(self) -> int:
        """D, the width of queries."""
        return self.listens.shape[1]

    @property
    def heads(self) -> int:
        """H."""
        return self.listens.shape[0]

    @property
    def version(self) -> str:
        """Name of what was learned: 12 hex digits of the SHA-256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:12]

    def scaled_queries(self, queries: Tensor) -> Tensor:
        """Give what each head looks for, its inverse temperature included: [Q, D] to [Q, H, D]."""
        heard = torch.einsum("qd,hdr->qhr", queries, self.listens)  # [Q, H, R]
        sought = queries[:, None] + torch.einsum("qhr,hdr->qhd", heard, self.adds)  # [Q, H, D]
        return sought * self.log_inverse_temperatures.exp()[:, None]

    def mixture(self, queries: Tensor) -> Tensor:
        """Give the share of each head in the answer: [Q, D] to [Q, H], rows sum to 1."""
        return self._log_mixture(queries).exp()

    def combine(self, contexts: Tensor, mixture: Tensor) -> Tensor:
        """Put together what the heads read: contexts [..., H, D] and their mixture [..., H] to [..., D]."""
        heard = torch.einsum("...hd,hdr->...hr", contexts, self.output_listens)
        mapped = contexts + torch.einsum("...hr,hdr->...hd", heard, self.output_adds)  # [..., H, D]
        return torch.einsum("...h,...hd->...d", mixture, mapped)

    def forward(
        self, queries: Tensor, means: Tensor, counts: Tensor, visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read exactly: differentiable in all that is learned and all that is read.

        Args:
            queries: float32 [Q, D], unit length.
            means: of the frames beneath each stay, float32 [N, D].
            counts: frames beneath each stay, above 0, [N].
            visible: which stays each query may see, bool [Q, N], at least one each; None: all.

        Returns:
            Context vectors [Q, D], and the logs of the weights of stays [Q, N]: -inf where not visible.
        """
        masses = self.scaled_queries(queries) @ means.T + counts.to(means.dtype).log()  # [Q, H, N], logs
        if visible is not None:
            masses = masses.masked_fill(~visible[:, None], _INVISIBLE)
        logs = torch.log_softmax(masses, -1)  # [Q, H, N]
        shares = self._log_mixture(queries)  # [Q, H]
        contexts = self.combine(logs.exp() @ means, shares.exp())
        weights = torch.logsumexp(logs + shares[..., None], 1)  # [Q, N]
        return contexts, weights if visible is None else weights.masked_fill(~visible, -torch.inf)

    def to_bytes(self) -> bytes:
        """Write all parameters: a line with format, D, H and R, then float32 values, parameter by parameter."""
        line = f"{_FORMAT} {self.dimension} {self.heads} {self.listens.shape[2]}\n"
        values = [parameter.detach().numpy().astype("<f4").tobytes() for parameter in self.parameters()]
        return line.encode() + b"".join(values)

    @classmethod
    def from_bytes(cls, data: bytes) -> "HierarchicalAttention":
        """Read what `to_bytes` wrote.

        Raises:
            HeadsUnreadable: not such bytes, cut short, or numbers in them that are not finite.
        """
        line, _, values = data.partition(b"\n")
        sizes = re.fullmatch(_FORMAT.encode() + rb" ([1-9]\d{0,5}) ([1-9]\d{0,5}) ([1-9]\d{0,5})", line)
        if sizes is None:
            raise HeadsUnreadable(f"expected {_FORMAT!r} and three sizes, got {line[:40]!r}")
        dimension, heads, rank = map(int, sizes.groups())
        least_bytes = 4 * 2 * heads * dimension * rank  # compared before anything of that size is made
        module = cls(dimension, heads, rank) if least_bytes <= len(values) else None
        expected_bytes = 4 * sum(parameter.numel() for parameter in module.parameters()) if module else least_bytes
        if module is None or len(values) != expected_bytes:
            raise HeadsUnreadable(f"expected {expected_bytes} bytes of values or more, got {len(values)}")
        numbers = torch.from_numpy(np.frombuffer(values, "<f4").astype(np.float32))
        if not bool(numbers.isfinite().all()):
            raise HeadsUnreadable("expected finite values")
        nn.utils.vector_to_parameters(numbers, module.parameters())
        return module

    def _log_mixture(self, queries: Tensor) -> Tensor:
        return torch.log_softmax(queries @ self.mixture_map.T + self.mixture_offsets, -1)
