"""The table of embeddings: what comes back bit for bit, in pieces that are filled, thinned out and joined."""

from collections.abc import Callable

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_store import embedding_table
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix

DIMENSION = 24

Drawn = Callable[[int, int], Matrix]


@pytest.fixture
def table(drawn_embeddings: Drawn, monkeypatch: pytest.MonkeyPatch) -> tuple[EmbeddingTable, Ids, Matrix]:
    """A table of 500 exemplars in pieces of 64, with what was added."""
    monkeypatch.setattr(embedding_table, "_PIECE", 64)
    ids, embeddings = np.arange(3, 1503, 3), drawn_embeddings(500, 1)
    table = EmbeddingTable(DIMENSION)
    for part in (slice(0, 1), slice(1, 200), slice(200, 500)):
        table.add(ids[part], embeddings[part])
    return table, ids, embeddings


def test_embeddings_come_back_bit_for_bit_by_their_ids(table: tuple[EmbeddingTable, Ids, Matrix]) -> None:
    there, ids, embeddings = table
    order = np.random.default_rng(7).permutation(len(ids))

    np.testing.assert_array_equal(there.embeddings(ids[order]), embeddings[order])
    np.testing.assert_array_equal(there.embedding(int(ids[7])), embeddings[7])
    np.testing.assert_array_equal(there.ids(), ids)
    assert there.embeddings(ids[:0]).shape == (0, DIMENSION)
    assert (len(there), 6 in there, 7 in there, -1 in there, 9999 in there) == (500, True, False, False, False)
    np.testing.assert_array_equal(there.present(np.array([1500, 2, 3, 1503])), [True, False, True, False])


@pytest.mark.parametrize("absent", [-1, 0, 7, 1501, 2**40])
def test_what_is_not_there_is_told(table: tuple[EmbeddingTable, Ids, Matrix], absent: int) -> None:
    with pytest.raises(LookupError, match=f"no exemplar {absent}"):
        table[0].embedding(absent)
    with pytest.raises(LookupError, match=f"no exemplar {absent}"):
        table[0].embeddings(np.array([3, absent, 6]))


def test_an_empty_table_has_nothing() -> None:
    table = EmbeddingTable(DIMENSION)

    similarities, ids = table.search(np.ones((2, DIMENSION), np.float32), 3)

    assert (len(table), table.ids().tolist(), 1 in table, table.slices()) == (0, [], False, [])
    assert (ids == -1).all()
    assert (similarities == -np.inf).all()
    with pytest.raises(LookupError, match="no exemplar 1"):
        table.embedding(1)


@pytest.mark.parametrize("ids", [[1500, 1501], [1501, 1501], [1503, 1502]])
def test_ids_that_do_not_ascend_are_refused(table: tuple[EmbeddingTable, Ids, Matrix], ids: list[int]) -> None:
    with pytest.raises(ValueError, match="expected ascending ids above 1500"):
        table[0].add(np.array(ids), np.zeros((2, DIMENSION), np.float32))
    assert len(table[0]) == 500


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([4, 7, 64]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_is_added_replaced_and_removed_is_what_is_there(drawn_embeddings: Drawn, seed: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(embedding_table, "_PIECE", size)
        chance, table, last = np.random.default_rng(seed), EmbeddingTable(DIMENSION), 0
        there: dict[int, Matrix] = {}
        for _ in range(12):
            ids = last + np.cumsum(chance.integers(1, 4, size=chance.integers(0, 15)))
            embeddings = drawn_embeddings(len(ids), int(chance.integers(2**31)))
            table.add(ids, embeddings)
            there.update(zip(ids.tolist(), embeddings, strict=True))
            last = int(max([last, *ids.tolist()]))
            gone = [one for one in there if chance.random() < 0.4]
            table.remove(np.array([*gone, 10_000, -3], np.int64))
            for one in gone:
                del there[one]
            moved = np.array([one for one in there if chance.random() < 0.2], np.int64)
            embeddings = drawn_embeddings(len(moved), int(chance.integers(2**31)))
            table.replace(moved, embeddings)
            there.update(zip(moved.tolist(), embeddings, strict=True))

            expected = sorted(there)
            assert (table.ids().tolist(), len(table)) == (expected, len(expected))
            found = table.embeddings(np.array(expected, np.int64))
            np.testing.assert_array_equal(found, np.reshape([there[one] for one in expected], (-1, DIMENSION)))


def test_pieces_that_become_small_are_joined_and_empty_ones_go(table: tuple[EmbeddingTable, Ids, Matrix]) -> None:
    there, ids, _ = table
    assert len(there.slices()) == 8

    there.remove(np.setdiff1d(ids, ids[::10]))
    assert len(there.slices()) < 4
    there.remove(ids)

    assert (len(there), there.slices()) == (0, [])


@pytest.mark.parametrize("share", [1, 4, 400])
def test_an_exhaustive_search_finds_the_most_similar_in_whatever_piece_they_lie(
    table: tuple[EmbeddingTable, Ids, Matrix], drawn_embeddings: Drawn, share: int
) -> None:
    """Among all, among every fourth, and among two: the slices together hold each exemplar."""
    there, ids, embeddings = table
    among = ids[::share]
    selected = None if share == 1 else faiss.IDSelectorBatch(among)
    queries = drawn_embeddings(20, 8)

    similarities, found = there.search(queries, 10, among=selected)
    parts = [there.search(queries, 10, part, selected) for part in there.slices()]

    for row, query in enumerate(queries):
        exact = embeddings[::share].astype(np.float64) @ query.astype(np.float64)
        best = among[np.argsort(-exact)[:10]].tolist()
        assert {*found[row].tolist()} - {-1} == {*best}
        for one, like in zip(found[row], similarities[row], strict=True):
            if one >= 0:
                np.testing.assert_allclose(like, exact[among.tolist().index(one)], atol=1e-6)
        assert {*best} <= {one for _, part in parts for one in part[row].tolist()}


def test_replacing_what_is_not_there_changes_nothing(table: tuple[EmbeddingTable, Ids, Matrix]) -> None:
    there, ids, embeddings = table

    with pytest.raises(LookupError, match="no exemplar 7"):
        there.replace(np.array([6, 7]), np.zeros((2, DIMENSION), np.float32))

    np.testing.assert_array_equal(there.embeddings(ids), embeddings)
