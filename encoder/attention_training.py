"""Training a way of attending on examples, and finding what it finds. Part of fitting.

Anything that reads rows can be trained, not only the heads: `benchmarks/learned.py` trains what they are compared with.

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

TOP = 5
"""Exemplars that an answer shows: evidence among them is found."""

CHECK_SHARE = 0.15
"""Of the examples to train on, the last: they say when to stop."""

MOST_CHECKED = 500
"""Examples that say when to stop: as many of them, evenly spaced, if there are more."""

MOST_CANDIDATES = 4_096
"""Rows that a chunk of training reads, beside those of exemplars that its examples name; of more some are drawn, each
of which then stands for several."""

CHUNK = 32
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

Read = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""A way of attending: queries [C, D], numbers of rows [N], frames of rows [N] and which query sees which, bool [C, N],
to context vectors [C, D] and log-weights of rows [C, N], which are finite for all that is seen, -inf for the rest."""


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


def find(read: Read, examples: Examples, chosen: Tensor) -> Found:
    """Find the evidence of examples, given by their numbers in order, among all exemplars."""
    hits, shares, similarities = [], [], []
    with torch.no_grad():
        for chunk in torch.split(chosen, CHUNK):
            rows, visible = examples.known(chunk)
            contexts, weights = read(examples.queries[chunk], rows, examples.counts[rows], visible)
            by_exemplar = exemplar_weights(weights, examples, rows, chunk)
            best = by_exemplar.topk(min(TOP, examples.exemplar_count), 1).indices  # [C, TOP]
            hits.append((best[:, :, None] == examples.evidence[chunk][:, None]).any(2).any(1))
            shares.append(_log_shares(weights, examples, rows, chunk))
            similarities.append(torch.cosine_similarity(contexts, examples.sought[chunk]))
    return Found(torch.cat(hits), float(torch.cat(shares).mean()), float(torch.cat(similarities).mean()))


def exemplar_weights(log_weights: Tensor, examples: Examples, rows: Tensor, chunk: Tensor) -> Tensor:
    """Give each exemplar's share of the weights of rows, [C, N], without the one on screen: [C, E]."""
    shares = torch.softmax(_without_on_screen(log_weights, examples, rows, chunk), 1)
    return torch.zeros(len(chunk), examples.exemplar_count).index_add(1, examples.exemplars[rows], shares)


def steps_worth_taking(module: nn.Module, read: Read, examples: Examples, chosen: Tensor, seed: int) -> int:
    """Find for how many steps training helps: on the beginning of some examples, as judged by their end.

    Args:
        module: all that is trained; it is left as it was.
        read: reads by what the module is at the time.
        examples: holds the examples.
        chosen: their numbers, in order.
        seed: of the order in which they come.

    Returns:
        The steps; 0 if training does not help, or if there is nothing to train on or to judge by.
    """
    earlier, later = examples.divided(chosen, CHECK_SHARE)
    if not len(earlier) or not len(later):
        return 0
    checked = spaced(later, MOST_CHECKED)
    start = copy.deepcopy(module.state_dict())
    best_steps, best = 0, find(read, examples, checked).log_likelihood
    training = _training(module, read, examples, earlier, seed)
    for steps, averages in islice(training, _STEPS_A_CHECK - 1, _MOST_STEPS, _STEPS_A_CHECK):
        current = copy.deepcopy(module.state_dict())
        module.load_state_dict(averages)
        likelihood = find(read, examples, checked).log_likelihood
        module.load_state_dict(current)
        if likelihood > best:
            best_steps, best = steps, likelihood
        elif steps - best_steps >= _PATIENCE * _STEPS_A_CHECK:
            break
    module.load_state_dict(start)
    return best_steps


def train(module: nn.Module, read: Read, examples: Examples, chosen: Tensor, steps: int, seed: int) -> None:
    """Train a module for so many steps, at least 0; the rest is as in `steps_worth_taking`."""
    for taken, averages in islice(_training(module, read, examples, chosen, seed), steps):
        if taken == steps:
            module.load_state_dict(averages)


def spaced(numbers: Tensor, most: int) -> Tensor:
    """Choose at most so many of some numbers, evenly spaced."""
    return numbers[torch.linspace(0, max(len(numbers) - 1, 0), min(len(numbers), most)).long()]


def _training(
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
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        steps += 1
        share = max(1 - _AVERAGED_STEPS, 1 / (steps + 1))
        for name, values in module.state_dict().items():
            averages[name].lerp_(values, share)
        yield steps, averages


def _shuffled(chosen: Tensor, random: np.random.Generator) -> Iterator[Tensor]:
    """Give chunks of neighbouring examples without end, all of them before any again, cut elsewhere each time."""
    while True:
        first = int(random.integers(1, CHUNK + 1))
        chunks = [chosen[:first], *torch.split(chosen[first:], CHUNK)]
        for place in random.permutation(len(chunks)):
            if len(chunks[place]):
                yield chunks[place]


def _losses(read: Read, examples: Examples, chunk: Tensor, random: np.random.Generator) -> Tensor:
    """How far each example of a chunk is from its evidence, by exemplars and by the context vector: [C]."""
    rows, visible = examples.known(chunk)
    counts = examples.counts[rows].float()
    named = torch.cat([examples.evidence[chunk].flatten(), examples.on_screen[chunk]])
    others = torch.nonzero(~torch.isin(examples.exemplars[rows], named)).squeeze(1)
    if len(others) > MOST_CANDIDATES:
        drawn = torch.from_numpy(random.choice(others.numpy(), MOST_CANDIDATES, replace=False))
        counts[drawn] *= len(others) / MOST_CANDIDATES
        left = torch.ones(len(rows), dtype=torch.bool)
        left[others] = False
        left[drawn] = True
        rows, counts, visible = rows[left], counts[left], visible[:, left]
    contexts, weights = read(examples.queries[chunk], rows, counts, visible)
    found = _log_shares(weights, examples, rows, chunk)
    return -found + _CONTEXT_LOSS * (1 - torch.cosine_similarity(contexts, examples.sought[chunk]))


def _log_shares(log_weights: Tensor, examples: Examples, rows: Tensor, chunk: Tensor) -> Tensor:
    """Log of the evidence's share of the weights of rows, [C, N], without the exemplar on screen: [C].

    Never by way of the weights: where the one on screen takes all but e^-100, the others still have their order.
    """
    others = _without_on_screen(log_weights, examples, rows, chunk)
    is_evidence = (examples.exemplars[rows][:, None] == examples.evidence[chunk][:, None]).any(2)  # [C, N]
    return torch.logsumexp(others.masked_fill(~is_evidence, -torch.inf), 1) - torch.logsumexp(others, 1)


def _without_on_screen(log_weights: Tensor, examples: Examples, rows: Tensor, chunk: Tensor) -> Tensor:
    return log_weights.masked_fill(examples.exemplars[rows] == examples.on_screen[chunk][:, None], -torch.inf)
