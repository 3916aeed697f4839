"""Fitting learned attention to what a memory holds. Beside the query's way: it makes the heads that queries then use.

Heads are trained on the earlier part of the examples and judged by the later part, which they have not seen: they must
find its evidence better than plain attention does at the inverse temperature that is best for it there. When to stop is
decided within the earlier part: heads are trained on its beginning until they find no more in its end, then from the
start again, for as many steps, on all of it, since what lies nearest to a query's moment teaches most. For the same
reason heads that were found better are trained once more, for as many steps, on all examples, and those are returned.

Shapes: M examples, D width, H heads, R rank.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from encoder.attention_examples import Examples
from encoder.attention_training import Found, Read, find, spaced, steps_worth_taking, train
from encoder.learned_attention import HierarchicalAttention
from encoder.past import Past

HELD_OUT_SHARE = 0.3
"""Of all examples, the last: heads are judged by them."""

LEAST_EXAMPLES = 50
"""Held-out examples, and earlier ones, without which nothing is learned that could be trusted."""

STANDARD_ERRORS = 2.0
"""By how many standard errors of the difference heads must be better: chance alone keeps them in 1 of 40 cases."""

MOST_SIGHTINGS = 32_768
"""The latest sightings that are looked at; with the bounds below, they bound time and memory of a fit."""

MOST_JUDGED = 2_000
"""Examples that judge: as many of the held-out ones, evenly spaced, if there are more."""

PLAIN_INVERSE_TEMPERATURES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""Plain attention is compared at the best of these."""

_START_INVERSE_TEMPERATURE = 80.0
"""Where heads begin: from 20 and 40 they learned less on games with hundreds of exemplars, and nowhere more."""


@dataclass(frozen=True, slots=True)
class FitOutcome:
    """What fitting came to."""

    module: HierarchicalAttention | None
    """The heads, trained on all examples; None if those that were judged were not better than plain attention."""

    plain_top5: float
    """Share of held-out queries whose evidence plain attention has in its top 5; 0 if there were too few to judge."""

    plain_inverse_temperature: float
    """The inverse temperature that was best for it there."""

    fitted_top5: float
    """The same share for heads that were trained on the earlier examples only, whether better or not."""

    queries: int
    """Held-out queries."""

    fitted_through_us: int
    """Latest capture time that anything here depends on: usable for `as_of` from then on. Microseconds."""


def fit(past: Past, seed: int, heads: int = 2, rank: int = 64) -> FitOutcome:
    """Fit heads to a past, on as many threads as torch is set to.

    The same past and seed give the same heads on the same machine.

    Args:
        past: only the last MOST_SIGHTINGS sightings are looked at.
        seed: of all that is drawn.
        heads: H.
        rank: R of each head.
    """
    past = past.latest(MOST_SIGHTINGS)
    times = [*past.ends_us.tolist(), *(said.time_us for said in past.feedback)]
    through_us = max(times, default=0)
    nothing = FitOutcome(None, 0.0, PLAIN_INVERSE_TEMPERATURES[0], 0.0, 0, through_us)
    if not len(past.means):
        return nothing
    examples = Examples(past)
    earlier, held_out = divided(examples)
    if min(len(earlier), len(held_out)) < LEAST_EXAMPLES:
        return nothing
    module = HierarchicalAttention(past.means.shape[1], heads, rank, _START_INVERSE_TEMPERATURE, seed)
    start = copy.deepcopy(module.state_dict())
    read = reading(module, examples)
    steps = steps_worth_taking(module, read, examples, earlier, seed)
    train(module, read, examples, earlier, steps, seed)
    fitted = find(read, examples, held_out)
    inverse_temperature, plain = best_plain(examples, held_out)
    gains = fitted.hits.double() - plain.hits.double()
    better = float(gains.mean()) > STANDARD_ERRORS * float(gains.std()) / len(gains) ** 0.5
    if better:
        module.load_state_dict(start)
        train(module, read, examples, torch.arange(len(examples)), steps, seed)
    return FitOutcome(
        module if better else None, plain.top5, inverse_temperature, fitted.top5, len(held_out), through_us
    )


def divided(examples: Examples) -> tuple[Tensor, Tensor]:
    """Give the numbers of the earlier examples and of those held out."""
    earlier, held_out = examples.divided(torch.arange(len(examples)), HELD_OUT_SHARE)
    return earlier, spaced(held_out, MOST_JUDGED)


def reading(module: HierarchicalAttention, examples: Examples) -> Read:
    """Read the rows of examples with a module."""
    return lambda queries, rows, counts, visible: module(queries, examples.means[rows], counts, visible)


def plain_attention(dimension: int, inverse_temperature: float) -> HierarchicalAttention:
    """Make heads that nothing was learned by: as few as there can be, of D = `dimension`."""
    return HierarchicalAttention(dimension, heads=1, rank=1, inverse_temperature=inverse_temperature)


def best_plain(examples: Examples, chosen: Tensor) -> tuple[float, Found]:
    """Find evidence with plain attention, at the inverse temperature that is best for these very examples."""
    tried = []
    for inverse_temperature in PLAIN_INVERSE_TEMPERATURES:
        plain = plain_attention(examples.queries.shape[1], inverse_temperature)
        tried.append((inverse_temperature, find(reading(plain, examples), examples, chosen)))
    return max(tried, key=lambda pair: pair[1].top5)
