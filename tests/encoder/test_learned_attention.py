"""Learned heads against plain computations in numpy and float64: what they look for, what they read, what they keep."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.learned_attention import HeadsUnreadable, HierarchicalAttention

D, N, Q = 12, 30, 5

Numbers = NDArray[np.float64]


def _past(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [Q, D] of unit length, means [N, D] not longer than 1, counts [N]."""
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(Q + N, D))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[Q:] *= random.uniform(0.5, 1, (N, 1))
    vectors = torch.from_numpy(drawn.astype(np.float32))
    return vectors[:Q], vectors[Q:], torch.from_numpy(random.integers(1, 1000, N))


def _trained(seed: int, heads: int = 3, dimension: int = D) -> HierarchicalAttention:
    """Heads with every parameter somewhere else than at the start."""
    module = HierarchicalAttention(dimension, heads, rank=4, inverse_temperature=9.0, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return module


def _softmax(logs: Numbers) -> Numbers:
    masses: Numbers = np.exp(logs - logs.max(-1, keepdims=True))
    shares: Numbers = masses / masses.sum(-1, keepdims=True)
    return shares


def _plain(queries: Tensor, means: Tensor, counts: Tensor, inverse_temperature: float) -> tuple[Numbers, Numbers]:
    """Context vectors and weights of plain attention."""
    wide = means.numpy().astype(np.float64)
    weights = _softmax(np.log(counts.numpy()) + inverse_temperature * queries.numpy().astype(np.float64) @ wide.T)
    return weights @ wide, weights


@pytest.mark.parametrize("heads", [1, 2, 5])
@pytest.mark.parametrize("inverse_temperature", [1.0, 20.0, 80.0])
def test_untrained_heads_are_plain_attention(heads: int, inverse_temperature: float) -> None:
    queries, means, counts = _past(1)
    module = HierarchicalAttention(D, heads, rank=4, inverse_temperature=inverse_temperature)

    contexts, logs = module(queries, means, counts)

    expected, weights = _plain(queries, means, counts, inverse_temperature)
    np.testing.assert_allclose(contexts.detach().numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(logs.exp().detach().numpy(), weights, atol=1e-5)


def test_a_head_looks_for_its_map_of_the_query_times_its_inverse_temperature() -> None:
    queries, _, _ = _past(2)
    module = _trained(2)

    scaled = module.scaled_queries(queries)

    for head in range(module.heads):
        adds, listens = (getattr(module, name)[head].detach().double().numpy() for name in ("adds", "listens"))
        inverse_temperature = np.exp(module.log_inverse_temperatures[head].item())
        expected = inverse_temperature * queries.double().numpy() @ (np.eye(D) + adds @ listens.T).T
        np.testing.assert_allclose(scaled[:, head].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_reading_each_head_by_itself_and_combining_is_reading_them_together() -> None:
    queries, means, counts = _past(3)
    module = _trained(3)

    contexts, logs = module(queries, means, counts)

    for place, query in enumerate(queries):
        scaled, [mixture] = module.scaled_queries(query[None])[0], module.mixture(query[None])
        read = [_plain(head[None], means, counts, 1.0) for head in scaled.detach()]
        by_head = torch.from_numpy(np.concatenate([context for context, _ in read])).float()
        combined = module.combine(by_head, mixture)
        weights = sum(share * weight for share, (_, [weight]) in zip(mixture.tolist(), read, strict=True))
        np.testing.assert_allclose(combined.detach().numpy(), contexts[place].detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(logs[place].exp().detach().numpy(), weights, atol=1e-5)
        assert sum(mixture.tolist()) == pytest.approx(1, abs=1e-6)


def test_what_a_query_may_not_see_is_as_if_it_were_not_there() -> None:
    queries, means, counts = _past(4)
    module = _trained(4)
    visible = torch.from_numpy(np.random.default_rng(4).random((Q, N)) < 0.4)
    visible[:, 0] = True

    contexts, logs = module(queries, means, counts, visible)

    for place in range(Q):
        seen = visible[place]
        [context], [alone] = module(queries[place][None], means[seen], counts[seen])
        np.testing.assert_allclose(contexts[place].detach().numpy(), context.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(logs[place][seen].detach().numpy(), alone.detach().numpy(), atol=1e-4)
        assert bool((logs[place][~seen] == -torch.inf).all())


def test_gradients_are_right_and_reach_all_that_is_learned() -> None:
    queries, means, counts = (values[:, :4] if values.ndim == 2 else values for values in _past(5))
    module = _trained(5, heads=2, dimension=4).double()
    visible = torch.ones(2, 6, dtype=torch.bool)
    visible[0, 3:] = False
    names = [name for name, _ in module.named_parameters()]

    def read(*values: Tensor) -> tuple[Tensor, Tensor]:
        parameters = dict(zip(names, values, strict=True))
        arguments = (queries[:2].double(), means[:6].double(), counts[:6], visible)
        contexts, logs = torch.func.functional_call(module, parameters, arguments)
        return contexts, logs.exp()

    assert torch.autograd.gradcheck(read, tuple(module.parameters()), fast_mode=True)
    contexts, weights = read(*module.parameters())
    (contexts.square().sum() + weights.square().sum()).backward()  # type: ignore[no-untyped-call]  # torch leaves it
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 1e-9, name


def test_what_lies_far_away_has_gradients_without_nan() -> None:
    module = HierarchicalAttention(D, heads=2, rank=2, inverse_temperature=1000.0)
    queries, means, counts = _past(6)

    contexts, logs = module(queries, means, counts, torch.arange(N)[None].expand(Q, N) < 10)

    (contexts.sum() + logs[:, :10].sum()).backward()
    assert all(bool(value.grad.isfinite().all()) for value in module.parameters() if value.grad is not None)


def test_heads_are_read_as_they_were_written() -> None:
    module = _trained(7)

    data = module.to_bytes()
    again = HierarchicalAttention.from_bytes(data)

    assert again.to_bytes() == data
    assert again.version == module.version
    assert all(torch.equal(old, new) for old, new in zip(module.parameters(), again.parameters(), strict=True))
    assert [parameter.requires_grad for parameter in again.parameters()] == [True] * len(list(again.parameters()))


def test_a_version_is_told_by_what_was_learned() -> None:
    module, other = _trained(8), _trained(8)
    assert module.version == other.version

    with torch.no_grad():
        other.adds[0, 0, 0] += 1e-3

    assert module.version != other.version


def test_heads_of_the_default_size_take_300_kilobytes() -> None:
    assert len(HierarchicalAttention(256).to_bytes()) < 300_000


def _damaged(data: bytes) -> dict[str, bytes]:
    line, _, values = data.partition(b"\n")
    not_finite = np.frombuffer(values, np.float32).copy()
    not_finite[5] = np.nan
    return {
        "empty": b"",
        "no heads": b"\x80\x04]q\x00.",
        "cut short": data[:-4],
        "too long": data + b"\0\0\0\0",
        "another format": b"framekeep-heads-9" + data[17:],
        "sizes that are not there": b"framekeep-heads-1 900000 900000 900000\n" + values,
        "no sizes": b"framekeep-heads-1 12 0 4\n" + values,
        "not finite": line + b"\n" + not_finite.tobytes(),
    }


@pytest.mark.parametrize("how", _damaged(b"\n" + bytes(80)))
def test_damaged_heads_are_refused(how: str) -> None:
    with pytest.raises(HeadsUnreadable, match="expected"):
        HierarchicalAttention.from_bytes(_damaged(_trained(9).to_bytes())[how])


@pytest.mark.parametrize(
    ("dimension", "heads", "rank", "inverse_temperature"),
    [
        (0, 1, 1, 20.0),
        (8, 0, 1, 20.0),
        (8, 1, 0, 20.0),
        (8, 1, 1, 0.0),
        (8, 1, 1, float("inf")),
        (8, 1, 1, float("nan")),
    ],
)
def test_sizes_out_of_range_are_refused(dimension: int, heads: int, rank: int, inverse_temperature: float) -> None:
    with pytest.raises(ValueError, match="expected a dimension"):
        HierarchicalAttention(dimension, heads, rank, inverse_temperature)
