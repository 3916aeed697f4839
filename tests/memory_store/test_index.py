"""The index: what comes back bit for bit, what is exhaustive, and what lies in which list."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store import index as index_module
from memory_store.index import PROPOSALS, ExemplarIndex, Ids, Matrix

DIMENSION = 24


@pytest.fixture(scope="module")
def drawn() -> Callable[[int, int], Matrix]:
    """Embeddings in numbers of float16, some near each other: float32 [K, D]."""

    def drawn(number: int, seed: int) -> Matrix:
        chance = np.random.default_rng(seed)
        vectors = chance.normal(size=(number, DIMENSION))
        vectors[1::3] = vectors[: len(vectors[1::3])] + 0.1 * vectors[1::3]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rounded: Matrix = vectors.astype(np.float16).astype(np.float32)
        return rounded

    return drawn


@pytest.fixture(scope="module")
def listed(drawn: Callable[[int, int], Matrix]) -> tuple[ExemplarIndex, Ids, Matrix]:
    """An index of 500 exemplars in 20 lists, with what was added."""
    ids, embeddings = np.arange(3, 1503, 3), drawn(500, 1)
    index = ExemplarIndex(DIMENSION, drawn(20, 2), trained_on=500)
    for part in (slice(0, 1), slice(1, 200), slice(200, 500)):
        index.add(ids[part], embeddings[part])
    return index, ids, embeddings


def _most_similar(ids: Ids, embeddings: Matrix, query: Matrix, number: int) -> list[int]:
    similarities = embeddings.astype(np.float64) @ query.astype(np.float64)
    found: list[int] = ids[np.argsort(-similarities)[:number]].tolist()
    return found


def test_without_lists_the_most_similar_are_proposed_exactly(drawn: Callable[[int, int], Matrix]) -> None:
    ids, embeddings, queries = np.arange(1, 301), drawn(300, 3), drawn(40, 4)
    index = ExemplarIndex(DIMENSION)
    index.add(ids, embeddings)

    for query, (found, similarities) in zip(queries, index.propose(queries), strict=True):
        assert found.tolist() == _most_similar(ids, embeddings, query, PROPOSALS)
        np.testing.assert_allclose(similarities, embeddings[found - 1] @ query, atol=1e-6)


def test_an_index_with_few_exemplars_proposes_all_of_them_and_an_empty_one_none(
    drawn: Callable[[int, int], Matrix],
) -> None:
    index, embeddings = ExemplarIndex(DIMENSION), drawn(3, 5)
    assert [(ids.tolist(), near.tolist()) for ids, near in index.propose(embeddings)] == [([], [])] * 3
    index.add(np.array([5, 9]), embeddings[:2])

    assert [sorted(ids.tolist()) for ids, _ in index.propose(embeddings)] == [[5, 9]] * 3


def test_the_looks_of_a_group_that_are_shared_by_threads_are_those_of_one(
    listed: tuple[ExemplarIndex, Ids, Matrix], drawn: Callable[[int, int], Matrix]
) -> None:
    index, ids, embeddings = listed
    queries = drawn(101, 6)
    with ThreadPoolExecutor(2) as searchers:
        sharing = ExemplarIndex(DIMENSION, index.centroids, 500, searchers)
        sharing.add(ids, embeddings)

        shared = sharing.propose(queries)

    assert len(shared) == 101
    for (found, near), (found_alone, near_alone) in zip(shared, index.propose(queries), strict=True):
        assert (found.tolist(), near.tolist()) == (found_alone.tolist(), near_alone.tolist())


def test_embeddings_come_back_bit_for_bit_by_their_ids(listed: tuple[ExemplarIndex, Ids, Matrix]) -> None:
    index, ids, embeddings = listed
    order = np.random.default_rng(7).permutation(len(ids))

    np.testing.assert_array_equal(index.embeddings(ids[order]), embeddings[order])
    np.testing.assert_array_equal(index.embedding(int(ids[7])), embeddings[7])
    assert index.embeddings(ids[:0]).shape == (0, DIMENSION)
    assert (len(index), 6 in index, 7 in index, -1 in index) == (500, True, False, False)
    with pytest.raises(LookupError, match="no exemplar 7"):
        index.embedding(7)


def test_each_exemplar_lies_in_the_list_of_its_nearest_centroid_unless_told(
    listed: tuple[ExemplarIndex, Ids, Matrix],
) -> None:
    index, ids, embeddings = listed
    nearest = np.argmax(embeddings @ index.centroids.T, axis=1)

    found, lists = index.contents(np.arange(20))

    assert dict(zip(found.tolist(), lists.tolist(), strict=True)) == dict(
        zip(ids.tolist(), nearest.tolist(), strict=True)
    )
    np.testing.assert_array_equal(index.lists_of(ids), nearest)
    told = ExemplarIndex(DIMENSION, index.centroids)
    told.add(ids, embeddings, (nearest + 1) % 20)
    np.testing.assert_array_equal(told.lists_of(ids), (nearest + 1) % 20)
    np.testing.assert_array_equal(told.embeddings(ids), embeddings)


@pytest.mark.parametrize("slice_size", [1, 70, 65_536])
@pytest.mark.parametrize("share", [1, 4, 400])
def test_an_exhaustive_search_finds_the_most_similar_in_whatever_list_they_lie(
    listed: tuple[ExemplarIndex, Ids, Matrix],
    drawn: Callable[[int, int], Matrix],
    monkeypatch: pytest.MonkeyPatch,
    slice_size: int,
    share: int,
) -> None:
    """Among all, among every fourth, and among two: the slices together hold each list once."""
    monkeypatch.setattr(index_module, "_SLICE", slice_size)
    index, ids, embeddings = listed
    slices = list(index.slices())
    assert np.concatenate(slices).tolist() == list(range(20))
    assert len(slices) == {1: 20, 70: len(slices), 65_536: 1}[slice_size]

    for query in drawn(20, 8):
        among = ids[::share]
        found: dict[int, Matrix] = {}
        for lists in slices:
            found.update(index.search(query, 10, lists, None if share == 1 else among))
        best = sorted(found, key=lambda one: -float(found[one] @ query))[:10]
        assert best == _most_similar(among, embeddings[::share], query, 10)
        for one in best:
            np.testing.assert_array_equal(found[one], embeddings[ids.tolist().index(one)])


@given(seed=st.integers(0, 2**32 - 1), lists=st.sampled_from([1, 7]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_what_is_added_removed_and_added_anew_is_what_is_there(
    drawn: Callable[[int, int], Matrix], seed: int, lists: int
) -> None:
    chance = np.random.default_rng(seed)
    index = ExemplarIndex(DIMENSION, drawn(lists, seed) if lists > 1 else None)
    there: dict[int, Matrix] = {}
    for _ in range(8):
        gone = np.array([one for one in there if chance.random() < 0.4] + [10_000], np.int64)
        index.remove(gone)
        for one in gone.tolist():
            there.pop(one, None)
        fresh = np.setdiff1d(chance.integers(0, 60, size=12), list(there))
        embeddings = drawn(len(fresh), int(chance.integers(2**31)))
        index.add(fresh, embeddings)
        there.update(zip(fresh.tolist(), embeddings, strict=True))

        ids, _ = index.contents(np.arange(lists))
        assert sorted(ids.tolist()) == sorted(there)
        assert len(index) == len(there)
        for one, embedding in there.items():
            np.testing.assert_array_equal(index.embedding(one), embedding)


def test_recentred_lists_have_the_mean_of_what_they_hold_and_empty_ones_nothing(
    drawn: Callable[[int, int], Matrix],
) -> None:
    index, ids, embeddings = ExemplarIndex(DIMENSION, drawn(6, 9)), np.arange(90), drawn(90, 10)
    index.add(ids, embeddings)
    before = index.centroids.copy()
    lists = index.lists_of(ids)
    index.remove(ids[(lists == 2) | (lists == 3) & (ids % 2 == 0)])

    index.recentre(np.array([2, 3]))

    left = embeddings[(lists == 3) & (ids % 2 == 1)].mean(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(index.centroids[2], np.zeros(DIMENSION))
    np.testing.assert_allclose(index.centroids[3], left / np.linalg.norm(left), atol=1e-6)
    np.testing.assert_array_equal(index.centroids[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    np.testing.assert_array_equal(index.nearest_lists(index.centroids[3:4]), [3])
