"""Reading the past: softmax attention over every frame ever seen, from what little is stored, with a stated error.

Stands at the end of the query's way. A query k is a subject times the inverse temperature, or what learned attention
makes of one. A stay of m frames with mean mu weighs m exp(k.mu + g), where g allows for the spread of its frames
around the mean (`encoder.stay_masses`); the context vector is the mean over all frames, weighted so. A small memory is
read whole. Of a large one what weighs most is read, and the rest estimated (`encoder.sampled_read`). Where a mean may
be too coarse, the frames that it stands for are looked at (`encoder.closer_look`).

Shapes: N stays, R stays that were read, D width.
"""

from dataclasses import replace

import numpy as np
import torch

from encoder.closer_look import looked_closer
from encoder.estimate import Beyond, Estimate, LookedInto
from encoder.learned_attention import HierarchicalAttention
from encoder.memory_view import MemoryView, Vector
from encoder.reading import BLIND_STAYS, DEFAULT_FRAMES, DEFAULT_STAYS, Effort, Reading, combined
from encoder.sampled_read import LEAST_STATED, sampled
from encoder.stay_masses import StayMasses, stay_masses

_FURTHER = 4
"""Times as much is read when the error is larger than asked for: that halves it."""

_SEVERAL = 2
"""So many times the stays to open are read whole as fast as a part of them is chosen and read."""


def attend(query: Vector, view: MemoryView, effort: Effort, seed: int) -> Reading:
    """Attend to the past.

    Args:
        query: k, float32 [D].
        view: at least one stay.
        effort: how much to read.
        seed: of what is drawn; with the same seed, the same query of the same view gets the same answer.
    """
    stays = effort.stays or (DEFAULT_STAYS if view.finds_needles else BLIND_STAYS)
    frames = DEFAULT_FRAMES if effort.frames is None else effort.frames
    while not effort.exact and _SEVERAL * stays < view.stay_count:
        estimate = sampled(query, view, stays, np.random.default_rng(seed))
        if effort.reading_error is None or max(estimate.reading_error(), LEAST_STATED) <= effort.reading_error:
            return looked_closer(view, estimate, frames).told(LEAST_STATED)
        stays *= _FURTHER
    return looked_closer(view, _whole(query, view), effort.frames if effort.exact else frames).told()


def attend_by_heads(
    heads: HierarchicalAttention, query: Vector, view: MemoryView, effort: Effort, seed: int
) -> Reading:
    """Attend to the past as was learned: each head reads by itself.

    Args:
        heads: what was learned.
        query: a subject, float32 [D], unit length.
        view: at least one stay.
        effort: how much each head reads; the frames to look at are shared out among the heads.
        seed: as in `attend`.
    """
    if not effort.exact or effort.frames is not None:
        frames = DEFAULT_FRAMES if effort.frames is None else effort.frames
        effort = replace(effort, frames=frames // heads.heads)
    with torch.inference_mode():
        queries = torch.from_numpy(query.copy())[None]  # [1, D]; torch warns of arrays that cannot be written to
        scaled = heads.scaled_queries(queries)[0].numpy()  # [H, D]
        mixture = heads.mixture(queries)[0]  # [H]
        readings = [attend(scaled_query, view, effort, seed) for scaled_query in scaled]
        contexts = torch.from_numpy(np.stack([reading.context_vector for reading in readings]))  # [H, D]
        context = heads.combine(contexts, mixture).numpy()
    return combined(readings, mixture.double().numpy(), context)


def _whole(query: Vector, view: MemoryView) -> Estimate:
    pieces = [(rows, means, stay_masses(query, means, frames)) for rows, means, frames in view.whole()]
    masses = StayMasses.joined([piece for *_, piece in pieces])
    return Estimate(
        query=query,
        rows=np.concatenate([rows for rows, *_ in pieces]),
        means=tuple(means for _, means, _ in pieces),
        masses=masses,
        logs=masses.logs,
        stands_for=np.ones(len(masses.logs)),
        beyond=Beyond.nothing(len(query)),
        looked=LookedInto.none(len(query)),
        touched=len(masses.logs),
        is_whole=True,
    )
