"""The index: what it proposes, with lists and without, on one thread and on several."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memory_store import index as index_module
from memory_store.code_lists import CodeLists, fitted
from memory_store.embedding_table import EmbeddingTable, Ids, Matrix
from memory_store.index import PROPOSALS, ExemplarIndex

DIMENSION = 24

Drawn = Callable[[int, int], Matrix]


@pytest.fixture(scope="module")
def embeddings(drawn_embeddings: Drawn) -> Matrix:
    """What is added: 500 exemplars."""
    return drawn_embeddings(500, 1)


IDS = np.arange(3, 1503, 3)


def _table(ids: Ids, embeddings: Matrix) -> EmbeddingTable:
    table = EmbeddingTable(DIMENSION)
    table.add(ids, embeddings)
    return table


@pytest.fixture
def listed(embeddings: Matrix, drawn_embeddings: Drawn) -> ExemplarIndex:
    """An index of 500 exemplars in 20 lists."""
    index = ExemplarIndex(EmbeddingTable(DIMENSION), CodeLists(drawn_embeddings(20, 2), fitted(embeddings)), 500)
    for part in (slice(0, 1), slice(1, 200), slice(200, 500)):
        index.add(IDS[part], embeddings[part])
    return index


def _most_similar(ids: Ids, embeddings: Matrix, query: Matrix, number: int) -> list[int]:
    similarities = embeddings.astype(np.float64) @ query.astype(np.float64)
    found: list[int] = ids[np.argsort(-similarities)[:number]].tolist()
    return found


def test_without_lists_the_most_similar_are_proposed_exactly(embeddings: Matrix, drawn_embeddings: Drawn) -> None:
    queries = drawn_embeddings(40, 4)
    index = ExemplarIndex(_table(IDS, embeddings))

    for query, (found, similarities) in zip(queries, index.propose(queries), strict=True):
        assert found.tolist() == _most_similar(IDS, embeddings, query, PROPOSALS)
        np.testing.assert_allclose(similarities, embeddings[found // 3 - 1] @ query, atol=1e-6)


def test_with_lists_similarities_are_those_of_the_embeddings_and_most_of_the_most_similar_are_among_them(
    listed: ExemplarIndex, embeddings: Matrix
) -> None:
    first = 0
    for place, (found, similarities) in enumerate(listed.propose(embeddings)):
        np.testing.assert_allclose(similarities, embeddings[found // 3 - 1] @ embeddings[place], atol=1e-6)
        assert (np.diff(similarities) <= 0).all()
        assert found[0] == IDS[place]
        first += found.tolist()[:2] == _most_similar(IDS, embeddings, embeddings[place], 2)
    assert first > 480


def test_an_index_with_few_exemplars_proposes_all_of_them_and_an_empty_one_none(drawn_embeddings: Drawn) -> None:
    index, embeddings = ExemplarIndex(EmbeddingTable(DIMENSION)), drawn_embeddings(3, 5)
    assert [(ids.tolist(), near.tolist()) for ids, near in index.propose(embeddings)] == [([], [])] * 3
    index.add(np.array([5, 9]), embeddings[:2])

    assert [sorted(ids.tolist()) for ids, _ in index.propose(embeddings)] == [[5, 9]] * 3


@pytest.mark.parametrize("lists", [False, True])
def test_the_looks_of_a_group_that_are_shared_by_threads_find_what_one_finds(
    listed: ExemplarIndex, drawn_embeddings: Drawn, monkeypatch: pytest.MonkeyPatch, *, lists: bool
) -> None:
    monkeypatch.setattr(index_module, "CORES", 3)
    queries = drawn_embeddings(101, 6)
    alone = ExemplarIndex(listed.table, listed.lists if lists else None)
    with ThreadPoolExecutor(3) as searchers:
        sharing = ExemplarIndex(listed.table, alone.lists, searchers=searchers)

        shared = sharing.propose(queries)

    assert len(shared) == 101
    found_alone = alone.propose(queries)
    same = [one.tolist() == other.tolist() for (one, _), (other, _) in zip(shared, found_alone, strict=True)]
    assert sum(same) >= 99  # of equal codes, another may be compared
    for (found, near), (_, near_alone) in zip(shared, found_alone, strict=True):
        assert len(found) == PROPOSALS
        np.testing.assert_allclose(near[0], near_alone[0], atol=1e-6)


@pytest.mark.parametrize("lists", [False, True])
def test_those_are_proposed_that_are_among_some(
    listed: ExemplarIndex, embeddings: Matrix, drawn_embeddings: Drawn, *, lists: bool
) -> None:
    index = ExemplarIndex(listed.table, listed.lists if lists else None)
    among = np.packbits(np.isin(np.arange(1504), IDS[::50]), bitorder="little")

    for query in drawn_embeddings(20, 8):
        found, _ = index.propose_among(query, among)
        assert found.tolist() == _most_similar(IDS[::50], embeddings[::50], query, PROPOSALS)


def test_what_is_removed_and_moved_is_found_no_more_where_it_was(listed: ExemplarIndex, embeddings: Matrix) -> None:
    listed.change(IDS[:3], {int(IDS[10]): embeddings[0], int(IDS[11]): embeddings[1]})

    assert len(listed) == 497
    assert listed.lists is not None
    np.testing.assert_array_equal(listed.lists.contents()[0], IDS[3:])
    found = [proposal[0] for proposal, _ in listed.propose(embeddings[[0, 1]])]
    assert found == [IDS[10], IDS[11]]
    assert IDS[10] not in listed.propose(embeddings[10:11])[0][0][:1]
    with pytest.raises(LookupError, match="no exemplar 3"):
        listed.embedding(3)


def test_an_empty_copy_looks_for_exemplars_in_lists_of_its_own(listed: ExemplarIndex, embeddings: Matrix) -> None:
    copy = listed.empty_copy()
    copy.add(IDS[:50], embeddings[:50])

    assert (len(copy), len(listed)) == (50, 500)
    assert [found[0] for found, _ in copy.propose(embeddings[:50])] == IDS[:50].tolist()
    assert copy.lists is not None
    assert ExemplarIndex(EmbeddingTable(DIMENSION)).empty_copy().lists is None


@pytest.mark.parametrize("share", [1, 4, 400])
def test_an_exhaustive_search_finds_the_most_similar(
    listed: ExemplarIndex, embeddings: Matrix, drawn_embeddings: Drawn, share: int
) -> None:
    """Among all, among every fourth, and among two."""
    for query in drawn_embeddings(20, 8):
        found: dict[int, Matrix] = {}
        for part in listed.slices():
            found.update(listed.search(query, 10, part, None if share == 1 else IDS[::share]))
        best = sorted(found, key=lambda one: -float(found[one] @ query))[:10]
        assert best == _most_similar(IDS[::share], embeddings[::share], query, 10)
        for one in best:
            np.testing.assert_array_equal(found[one], embeddings[one // 3 - 1])
