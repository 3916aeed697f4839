"""Fitting learned attention to what a memory holds. Beside the query's way: it makes the heads that queries then use.

Heads are trained on the earlier part of the examples and kept only if they find the evidence of the later part, which
they have not seen, better than plain attention does at the inverse temperature that is best for it there. When to stop
is decided within the earlier part: heads are trained on its beginning until they find no more in its end, then once
more from the start, as long, on all of it, since what is nearest to what comes teaches most.

Shapes: C examples in a chunk, N rows, E exemplars, K evidence of an example at most, D width.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from encoder.attention_examples import Examples
from encoder.learned_attention import HierarchicalAttention
from encoder.past import Past

TOP = 5
"""Exemplars that an answer shows: evidence among them is found."""

HELD_OUT_SHARE = 0.3
"""Of all examples, the last: heads are judged by them."""

CHECK_SHARE = 0.15
"""Of the others, the last: they say when to stop."""

LEAST_HELD_OUT = 50
"""Held-out examples without which nothing can be judged."""

STANDARD_ERRORS = 2.0
"""By how many standard errors of the difference heads must be better: chance alone keeps them in 1 of 40 cases."""

MOST_SIGHTINGS = 32_768
"""The latest sightings that are looked at; with the bounds below, they bound time and memory of a fit."""

MOST_JUDGED = 2_000
"""Examples that judge: as many of the held-out ones, evenly spaced, if there are more."""

MOST_CANDIDATES = 4_096
"""Rows that a chunk of training reads; beyond it some are drawn, each of which then stands for several."""

PLAIN_INVERSE_TEMPERATURES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""Plain attention is compared at the best of these."""

_START_INVERSE_TEMPERATURE = 80.0
"""Where heads begin: from 20 and 40 they learned less on games with hundreds of exemplars, and nowhere more."""

_CHUNK = 32
"""Neighbouring examples that share the rows they see."""

_CHUNKS_A_STEP = 8

_MOST_STEPS = 400

_STEPS_A_CHECK = 10

_PATIENCE = 8
"""Checks without a better one after which training stops."""

_LEARNING_RATE = 3e-3

_AVERAGED_STEPS = 0.97
"""Decay of the running mean of parameters over steps, which is what is kept: single steps are noisy."""

_CONTEXT_LOSS = 0.1
"""Weight of the context vector's distance to the evidence beside the log-likelihood of exemplars."""

_MOST_FEEDBACK_WEIGHT = 10.0
"""Feedback counts as much as all sightings together, but no example of it more than this many sightings."""

_FLOOR = 1e-9
"""Weight that every exemplar is taken to have at least: what cannot be foreseen must not drown what can."""

Read = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""A way of attending: queries [C, D], numbers of rows [N], frames of rows [N] and which query sees which, bool [C, N],
to context vectors [C, D] and log-weights of rows [C, N]."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a way of attending found of some examples."""

    hits: Tensor
    """Whether evidence was among the TOP exemplars without the one on screen: bool [M]."""

    log_likelihood: float
    """Mean log of the evidence's share of the weight of exemplars without the one on screen."""

    context_similarity: float
    """Mean cosine between context vector and evidence."""

    @property
    def top5(self) -> float:
        """Share of examples whose evidence was found."""
        return float(self.hits.double().mean())


@dataclass(frozen=True, slots=True)
class FitOutcome:
    """What fitting came to."""

    module: HierarchicalAttention | None
    """The heads, None if they are not better than plain attention on held-out time."""

    plain_top5: float
    """Share of held-out queries whose evidence plain attention has in its top 5; 0 if there were too few to judge."""

    plain_inverse_temperature: float
    """The inverse temperature that was best for it there."""

    fitted_top5: float
    """The same share for the fitted heads, kept or not."""

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
    earlier, held_out = divided(len(examples))
    if len(held_out) < LEAST_HELD_OUT:
        return nothing
    module = HierarchicalAttention(past.means.shape[1], heads, rank, _START_INVERSE_TEMPERATURE, seed)
    train(module, reading(module, examples), examples, earlier, seed)
    fitted = find(reading(module, examples), examples, held_out)
    inverse_temperature, plain = best_plain(examples, held_out)
    gains = fitted.hits.double() - plain.hits.double()
    better = float(gains.mean()) > STANDARD_ERRORS * float(gains.std()) / len(gains) ** 0.5
    return FitOutcome(
        module if better else None, plain.top5, inverse_temperature, fitted.top5, len(held_out), through_us
    )


def divided(number: int) -> tuple[Tensor, Tensor]:
    """Divide so many examples into the earlier ones and those held out: their numbers."""
    begin = number - int(number * HELD_OUT_SHARE)
    held_out = torch.arange(begin, number)
    spaced = torch.linspace(0, max(len(held_out) - 1, 0), min(len(held_out), MOST_JUDGED)).long()
    return torch.arange(begin), held_out[spaced]


def reading(module: HierarchicalAttention, examples: Examples) -> Read:
    """Read the rows of examples with a module."""
    return lambda queries, rows, counts, visible: module(queries, examples.means[rows], counts, visible)


def best_plain(examples: Examples, chosen: Tensor) -> tuple[float, Found]:
    """Find evidence with plain attention, at the inverse temperature that is best for these very examples."""
    width = examples.queries.shape[1]
    tried = []
    for inverse_temperature in PLAIN_INVERSE_TEMPERATURES:
        plain = HierarchicalAttention(width, heads=1, rank=1, inverse_temperature=inverse_temperature)
        tried.append((inverse_temperature, find(reading(plain, examples), examples, chosen)))
    return max(tried, key=lambda pair: pair[1].top5)


def find(read: Read, examples: Examples, chosen: Tensor) -> Found:
    """Find the evidence of examples, given by their numbers in order, among all exemplars."""
    hits, shares, similarities = [], [], []
    with torch.no_grad():
        for chunk in torch.split(chosen, _CHUNK):
            rows, visible = examples.known(chunk)
            contexts, weights = read(examples.queries[chunk], rows, examples.counts[rows], visible)
            by_exemplar = _by_exemplar(weights, examples, rows, chunk)
            shares.append(_shares(by_exemplar, examples.evidence[chunk]).log())
            best = by_exemplar[:, :-1].topk(min(TOP, examples.number), 1).indices  # [C, TOP]
            hits.append((best[:, :, None] == examples.evidence[chunk][:, None]).any(2).any(1))
            similarities.append(torch.cosine_similarity(contexts, examples.sought[chunk]))
    return Found(torch.cat(hits), float(torch.cat(shares).mean()), float(torch.cat(similarities).mean()))


def train(module: nn.Module, read: Read, examples: Examples, chosen: Tensor, seed: int) -> int:
    """Train what a way of reading is made of, on examples given by their numbers in order; returns the steps taken.

    Args:
        module: all its parameters are trained, from where they are.
        read: how it reads.
        examples: holds the examples.
        chosen: which to train on.
        seed: of the order in which they come.
    """
    begin = len(chosen) - int(len(chosen) * CHECK_SHARE)
    start = copy.deepcopy(module.state_dict())
    best_steps, best = 0, find(read, examples, chosen[begin:]).log_likelihood
    training = _trained(module, read, examples, chosen[:begin], seed)
    for steps, averages in islice(training, _STEPS_A_CHECK - 1, _MOST_STEPS, _STEPS_A_CHECK):
        current = copy.deepcopy(module.state_dict())
        module.load_state_dict(averages)
        likelihood = find(read, examples, chosen[begin:]).log_likelihood
        module.load_state_dict(current)
        if likelihood > best:
            best_steps, best = steps, likelihood
        elif steps - best_steps >= _PATIENCE * _STEPS_A_CHECK:
            break
    module.load_state_dict(start)
    for _, averages in islice(_trained(module, read, examples, chosen, seed), max(best_steps - 1, 0), best_steps):
        module.load_state_dict(averages)
    return best_steps


def _trained(
    module: nn.Module, read: Read, examples: Examples, chosen: Tensor, seed: int
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Train step by step without end; after each, give how many there were and the running mean of parameters."""
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=_LEARNING_RATE, weight_decay=0.0)
    averages = copy.deepcopy(module.state_dict())
    told = examples.told[chosen]
    feedback_weight = min(_MOST_FEEDBACK_WEIGHT, max(1.0, int((~told).sum()) / max(int(told.sum()), 1)))
    weights = torch.where(examples.told, feedback_weight, 1.0)  # [M]
    chunks = _shuffled(chosen, random)
    steps = 0
    while True:
        taken = list(islice(chunks, _CHUNKS_A_STEP))
        total = sum(float(weights[chunk].sum()) for chunk in taken)
        optimizer.zero_grad()
        for chunk in taken:
            loss = (_losses(read, examples, chunk, random) * weights[chunk]).sum() / total
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        share = max(1 - _AVERAGED_STEPS, 1 / (steps + 1))
        for name, values in module.state_dict().items():
            averages[name].lerp_(values, share)
        yield steps, averages


def _shuffled(chosen: Tensor, random: np.random.Generator) -> Iterator[Tensor]:
    """Give chunks of neighbouring examples without end, all of them before any again, cut elsewhere each time."""
    while True:
        first = int(random.integers(1, _CHUNK + 1))
        chunks = [chosen[:first], *torch.split(chosen[first:], _CHUNK)]
        for place in random.permutation(len(chunks)):
            if len(chunks[place]):
                yield chunks[place]


def _losses(read: Read, examples: Examples, chunk: Tensor, random: np.random.Generator) -> Tensor:
    """How far each example of a chunk is from its evidence, by exemplars and by the context vector: [C]."""
    rows, visible = examples.known(chunk)
    counts = examples.counts[rows].float()
    if len(rows) > MOST_CANDIDATES:
        numbers = torch.cat([examples.evidence[chunk].flatten(), examples.on_screen[chunk]])
        needed = torch.isin(examples.exemplars[rows], numbers)
        others = torch.nonzero(~needed).squeeze(1).numpy()
        drawn = random.choice(others, min(len(others), MOST_CANDIDATES), replace=False)
        counts[torch.from_numpy(drawn)] *= len(others) / len(drawn)
        kept = torch.from_numpy(np.sort(np.concatenate([torch.nonzero(needed).squeeze(1).numpy(), drawn])))
        rows, counts, visible = rows[kept], counts[kept], visible[:, kept]
    contexts, weights = read(examples.queries[chunk], rows, counts, visible)
    shares = _shares(_by_exemplar(weights, examples, rows, chunk), examples.evidence[chunk])
    return -shares.log() + _CONTEXT_LOSS * (1 - torch.cosine_similarity(contexts, examples.sought[chunk]))


def _by_exemplar(log_weights: Tensor, examples: Examples, rows: Tensor, chunk: Tensor) -> Tensor:
    """Sum the weights of rows by exemplar, leaving out the one on screen: [C, E + 1], the last column is 0."""
    sums = torch.zeros(len(chunk), examples.number + 1).index_add(1, examples.exemplars[rows], log_weights.exp())
    left_out = torch.zeros_like(sums, dtype=torch.bool).scatter(1, examples.on_screen[chunk][:, None], value=True)
    return sums.masked_fill(left_out, 0.0)


def _shares(by_exemplar: Tensor, evidence: Tensor) -> Tensor:
    """The evidence's share of the weights of exemplars, [C, E + 1] and [C, K] to [C], with the floor: above 0."""
    found = by_exemplar.gather(1, evidence).sum(1)
    return (found + _FLOOR) / (by_exemplar.sum(1) + _FLOOR)
