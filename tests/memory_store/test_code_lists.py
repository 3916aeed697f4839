"""Lists of codes: what lies in which list, what they find, and that FAISS itself would have packed them so."""

from collections.abc import Callable

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store.code_lists import CodeLists, fitted
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix

DIMENSION = 24

Drawn = Callable[[int, int], Matrix]


@pytest.fixture(scope="module")
def listed(drawn_embeddings: Drawn) -> tuple[CodeLists, Ids, Matrix]:
    """500 exemplars in 20 lists, with what was added."""
    ids, embeddings = np.arange(3, 1503, 3), drawn_embeddings(500, 1)
    lists = CodeLists(drawn_embeddings(20, 2), fitted(embeddings))
    for part in (slice(0, 1), slice(1, 200), slice(200, 500)):
        lists.add(ids[part], embeddings[part])
    return lists, ids, embeddings


def _by_faiss(lists: CodeLists, ids: Ids, embeddings: Matrix, queries: Matrix) -> list[dict[int, float]]:
    """What FAISS's own index over the same exemplars finds: all of them, with their similarities."""
    coarse = faiss.IndexFlatIP(embeddings.shape[1])
    coarse.add(lists.centroids)
    quantizer = lists.quantizer
    index = faiss.IndexIVFPQFastScan(
        coarse, embeddings.shape[1], len(lists.centroids), quantizer.M, quantizer.nbits, faiss.METRIC_INNER_PRODUCT
    )
    index.by_residual, index.pq, index.is_trained, index.nprobe = False, quantizer, True, len(lists.centroids)
    index.add_with_ids(embeddings, ids)
    similarities, found = index.search(queries, len(ids))
    return [_found(*row) for row in zip(similarities, found, strict=True)]


def _found(similarities: Matrix, ids: Ids) -> dict[int, float]:
    return {int(one): float(like) for one, like in zip(ids, similarities, strict=True) if one >= 0}


def _all_found(lists: CodeLists, queries: Matrix) -> list[dict[int, float]]:
    read = lists.near(queries, len(lists.centroids))
    return [_found(*row) for row in zip(*lists.search(queries, len(lists), read), strict=True)]


def test_codes_are_packed_as_faiss_itself_packs_them(
    listed: tuple[CodeLists, Ids, Matrix], drawn_embeddings: Drawn
) -> None:
    lists, ids, embeddings = listed
    queries = drawn_embeddings(9, 6)

    assert _all_found(lists, queries) == _by_faiss(lists, ids, embeddings, queries)


def test_each_exemplar_lies_in_the_list_of_its_nearest_centroid_unless_told(
    listed: tuple[CodeLists, Ids, Matrix],
) -> None:
    lists, ids, embeddings = listed
    nearest = np.argmax(embeddings @ lists.centroids.T, axis=1)

    found, numbers = lists.contents()

    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(numbers, nearest)
    np.testing.assert_array_equal(lists.lists_of(ids[::-7]), nearest[::-7])
    told = CodeLists(lists.centroids, lists.quantizer)
    told.put(ids, (nearest + 1) % 20, lists.codes(embeddings))
    np.testing.assert_array_equal(told.lists_of(ids), (nearest + 1) % 20)


def test_the_lists_that_are_near_are_read_and_no_others(listed: tuple[CodeLists, Ids, Matrix]) -> None:
    lists, ids, embeddings = listed
    numbers = lists.lists_of(ids)
    similarities = embeddings @ lists.centroids.T

    near = lists.near(embeddings[:40], 3)
    _, found = lists.search(embeddings[:40], 500, np.where(near == near[:, :1], -1, near))

    for row in range(40):
        assert {*near[row].tolist()} == {*np.argsort(-similarities[row])[:3].tolist()}
        assert {*found[row].tolist()} - {-1} == {*ids[np.isin(numbers, near[row, 1:])].tolist()}


def test_only_what_is_selected_is_found(listed: tuple[CodeLists, Ids, Matrix], drawn_embeddings: Drawn) -> None:
    lists, ids, _ = listed
    bits = np.packbits(np.isin(np.arange(1504), ids[::9]), bitorder="little")
    queries = drawn_embeddings(7, 3)

    _, found = lists.search(
        queries, 100, lists.near(queries, 20), faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    )

    assert [sorted(row[row >= 0].tolist()) for row in found] == [ids[::9].tolist()] * 7


@given(seed=st.integers(0, 2**32 - 1), number=st.sampled_from([1, 7]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_what_is_added_removed_and_added_anew_is_what_is_there(drawn_embeddings: Drawn, seed: int, number: int) -> None:
    chance = np.random.default_rng(seed)
    lists = CodeLists(drawn_embeddings(number, seed), fitted(drawn_embeddings(100, seed)))
    there: dict[int, Matrix] = {}
    for _ in range(8):
        gone = np.array([one for one in there if chance.random() < 0.4] + [10_000], np.int64)
        lists.remove(gone)
        for one in gone.tolist():
            there.pop(one, None)
        fresh = np.setdiff1d(chance.integers(0, 90, size=40), list(there))
        embeddings = drawn_embeddings(len(fresh), int(chance.integers(2**31)))
        lists.add(fresh, embeddings)
        there.update(zip(fresh.tolist(), embeddings, strict=True))

        expected = np.array(sorted(there))
        assert (len(lists), lists.contents()[0].tolist()) == (len(there), expected.tolist())
        np.testing.assert_array_equal(lists.present(np.arange(-1, 91)), [one in there for one in range(-1, 91)])
        vectors = np.stack([there[one] for one in expected.tolist()])
        queries = drawn_embeddings(3, 4)
        assert _all_found(lists, queries) == _by_faiss(lists, expected, vectors, queries)


@pytest.mark.parametrize(("dimension", "sample"), [(24, 500), (24, 3), (7, 100), (8, 5)])
def test_codes_are_fitted_to_any_width_and_to_few_vectors(dimension: int, sample: int) -> None:
    chance = np.random.default_rng(5)
    vectors = chance.normal(size=(sample, dimension)).astype(np.float32)
    lists = CodeLists(vectors[:1], fitted(vectors))

    lists.add(np.arange(sample), vectors)

    assert lists.codes(vectors).shape == (sample, lists.codes(vectors[:1]).shape[1])
    assert {*_all_found(lists, vectors[:1])[0]} == {*range(sample)}


def test_recentred_lists_have_the_mean_of_what_they_hold_and_empty_ones_nothing(drawn_embeddings: Drawn) -> None:
    ids, embeddings = np.arange(90), drawn_embeddings(90, 10)
    table, lists = EmbeddingTable(DIMENSION), CodeLists(drawn_embeddings(6, 9), fitted(embeddings))
    table.add(ids, embeddings)
    lists.add(ids, embeddings)
    before, numbers = lists.centroids.copy(), lists.lists_of(ids)
    gone = ids[(numbers == 2) | (numbers == 3) & (ids % 2 == 0)]
    table.remove(gone)
    lists.remove(gone[gone % 3 > 0])  # the others are gone from the table alone

    lists.recentre(np.array([2, 3]), table)

    left = embeddings[(numbers == 3) & (ids % 2 == 1)].mean(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(lists.centroids[2], np.zeros(DIMENSION))
    np.testing.assert_allclose(lists.centroids[3], left / np.linalg.norm(left), atol=1e-6)
    np.testing.assert_array_equal(lists.centroids[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    np.testing.assert_array_equal(lists.nearest(lists.centroids[3:4]), [3])


def test_the_nearest_list_is_that_by_the_centroids_as_they_are_now(drawn_embeddings: Drawn) -> None:
    ids, embeddings = np.arange(90), drawn_embeddings(90, 10)
    table, lists = EmbeddingTable(DIMENSION), CodeLists(drawn_embeddings(6, 9), fitted(embeddings))
    table.add(ids, embeddings)
    lists.add(ids, embeddings)
    lists.near(embeddings, 2)  # which remembers the nearest list of each

    lists.recentre(np.arange(6), table)

    np.testing.assert_array_equal(lists.nearest(embeddings), np.argmax(embeddings @ lists.centroids.T, axis=1))


def test_lists_of_what_is_not_there_are_refused(listed: tuple[CodeLists, Ids, Matrix]) -> None:
    with pytest.raises(LookupError, match="exemplar 7 is in no list"):
        listed[0].lists_of(np.array([6, 7]))
