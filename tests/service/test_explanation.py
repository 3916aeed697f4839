"""What attention read, as answers tell it: levels, exemplars and the way down, against loops over the stays read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from encoder.hierarchical_attention import attend
from encoder.reading import CONFIDENCE, Effort, Reading
from listed import DIMENSION, have_lists_early, some_scenes
from memory_store import stay_lists_upkeep
from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.stay_lists import ListStrata
from memory_store.store import MemoryStore
from memory_store.view import View
from service.attention import Attention, ExplainedBlock, attention_told

MS = 1000
STREAMS = {"loop": 10_150, "side": 810, "brief": 3}
"""Stays of each stream, of one frame or two, one a millisecond."""

AS_OF = Scope(last_us=MS * 6000)
"""Some half of the stays."""

Place = tuple[int, str, int]
"""Level, stream and index of a block."""


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """Three levels of blocks over `loop`, with lists."""
    with pytest.MonkeyPatch.context() as patched:
        have_lists_early(patched, 64)
        patched.setattr(stay_lists_upkeep, "FIRST_LISTS", 1000)
        store = MemoryStore(tmp_path_factory.mktemp("explained"), MemoryStoreConfig())
        memory = store.create("m", "encoder/1", DIMENSION, 0.1)
        for stream, count in STREAMS.items():
            _show(memory, stream, count)
        memory._state.upkeep.wait()
        memory.view(Scope())
        memory._state._lists.wait()
        yield memory
        store.close()


def _show(memory: Memory, stream: str, stays: int) -> None:
    """Go round some of 300 scenes, others as time goes on, so that each is a stay of its own."""
    session = memory.open_session(stream, "run-1", Clock.SESSION, 0)
    scenes = some_scenes(300, 1)
    shown: list[Embedding] = []
    for place in range(stays):
        shown += [scenes[(place % 120 + place // 60) % 300]] * (2 if place % 9 == 0 else 1)
    for start in range(0, len(shown), 500):
        memory.remember(
            [
                Encoded(session.id, seq, MS * seq, None, 100, shown[seq], lambda: b"jpeg")
                for seq in range(start, min(len(shown), start + 500))
            ]
        )


@dataclass(frozen=True, slots=True)
class Told:
    """A reading, and what was told of it."""

    view: View
    subject: Embedding
    reading: Reading
    attention: Attention
    stays: list[tuple[int, str, int, int, float, float]]
    """Row, stream, position, exemplar, weight and share of what was read; what was drawn twice is there twice."""
    blocks: dict[Place, float]
    """Shares of all blocks, added up one by one; of blocks from which nothing was read, too."""

    @property
    def sampled(self) -> bool:
        return len(self.reading.rows) < self.view.stay_count

    @property
    def weights(self) -> dict[int, float]:
        """Of each stay that was read, by its row."""
        return {row: weight for row, *_, weight, _ in self.stays}

    @property
    def height(self) -> int:
        """Levels of blocks."""
        return len(self.attention.levels)

    def of_level(self, level: int) -> list[float]:
        """Weights of the blocks of a level, largest first."""
        return sorted((weight for place, weight in self.blocks.items() if place[0] == level), reverse=True)


def _told(memory: Memory, scope: Scope, inverse_temperature: float, effort: int, *, explain: bool = True) -> Told:
    view = memory.view(scope)
    subject = some_scenes(120, 1)[100]
    reading = attend(subject * np.float32(inverse_temperature), view, Effort(stays=effort), 0)
    names = memory.stream_names()
    attention = attention_told(reading, view, subject, names, top=7, version="", explain=explain)
    facts = view.facts(reading.rows).table.tolist()
    columns = (reading.rows.tolist(), facts, reading.weights.tolist(), reading.shares.tolist())
    stays = [
        (row, names[stream], position, exemplar, weight, share)
        for row, (_, stream, position, exemplar, *_), weight, share in zip(*columns, strict=True)
    ]
    levels = view.levels()
    blocks = {
        (level, names[stream], index): 0.0
        for level, nodes in enumerate(levels, 1)
        for stream, index in zip(nodes.stream_ids.tolist(), nodes.indices.tolist(), strict=True)
    }
    for _, stream, position, _, _, share in stays:
        for level in range(1, len(levels) + 1):
            place = (level, stream, position // 100**level)
            blocks[place] = blocks.get(place, 0) + share
    return Told(view, subject, reading, attention, stays, blocks)


EVERYTHING = 10**6
CASES = [(Scope(), 8.0, EVERYTHING), (Scope(), 20.0, 2000), (Scope(), 2.0, 2000), (AS_OF, 8.0, 2000)]


@pytest.fixture(scope="module", params=CASES, ids=["whole", "sampled", "diffuse", "as of a time"])
def told(memory: Memory, request: pytest.FixtureRequest) -> Told:
    return _told(memory, *request.param)


def test_levels_tell_the_heaviest_blocks_of_each_from_the_top_down(told: Told) -> None:
    assert told.height == len(told.view.levels()) == (2 if told.view.scope == AS_OF else 3)

    for level, (count, listed) in zip(range(told.height, 0, -1), told.attention.levels, strict=True):
        weights = told.of_level(level)
        assert count == len(weights)
        assert [block.weight for block in listed] == pytest.approx(weights[:7])
        for block in listed:
            assert block.weight == pytest.approx(told.blocks[level, block.stream, block.index])


def test_blocks_are_told_with_the_frames_and_times_beneath(memory: Memory, told: Told) -> None:
    table = told.view.leaves().facts.table
    for level, (_, listed) in zip(range(told.height, 0, -1), told.attention.levels, strict=True):
        for block in listed:
            of_stream = table[table[:, 1] == memory.stream_id(block.stream)]
            beneath = of_stream[of_stream[:, 2] // 100**level == block.index]
            extent = (beneath[:, 5].min(), beneath[:, 6].max())
            assert (block.frames, block.first_us, block.last_us) == (beneath[:, 4].sum(), *extent)


def test_exemplars_weigh_what_their_stays_do_each_counted_once(told: Told) -> None:
    weights: dict[int, float] = {}
    for exemplar, weight in {row: (exemplar, weight) for row, _, _, exemplar, weight, _ in told.stays}.values():
        weights[exemplar] = weights.get(exemplar, 0) + weight

    heaviest = sorted(weights.values(), reverse=True)[:7]
    assert [weight for _, weight in told.attention.exemplars] == pytest.approx(heaviest)
    assert [weights[exemplar] for exemplar, _ in told.attention.exemplars] == pytest.approx(heaviest)


def test_counts_and_errors_are_those_of_the_reading(told: Told) -> None:
    attention, reading = told.attention, told.reading
    assert (attention.stays, attention.frames) == (told.view.stay_count, told.view.frame_count)
    assert attention.opened_stays == len(set(reading.rows.tolist()))
    assert (attention.opened_stays < attention.stays) == told.sampled
    assert attention.error.reading == reading.reading_error
    assert (attention.error.reading > 0) == told.sampled
    assert (attention.error.storing, attention.error.confidence) == (reading.storing_error, CONFIDENCE)
    assert attention.unopened_share == pytest.approx(max(0.0, 1 - sum(told.weights.values())), abs=1e-9)
    assert (attention.vectors_read, attention.effective_stays) == (reading.touched, reading.effective_stays)


def test_the_way_down_keeps_the_weights_of_the_levels_and_to_what_lies_beneath(told: Told) -> None:
    explanation = told.attention.explanation
    assert explanation is not None

    heaviest = [weight for weight in told.of_level(told.height) if weight >= 0.001]
    assert [explained.block.weight for explained in explanation.blocks] == pytest.approx(heaviest)
    for explained in explanation.blocks:
        assert explained.level == told.height
        _check_beneath(told, explained)


def _check_beneath(told: Told, explained: ExplainedBlock) -> None:
    """A block tells the three heaviest of what lies beneath it, as far as they weigh a thousandth of the whole."""
    stream, index = explained.block.stream, explained.block.index
    assert explained.block.weight == pytest.approx(told.blocks[explained.level, stream, index])
    if explained.level == 1:
        assert explained.blocks == []
        _check_stays(told, explained)
        return
    assert explained.stays == []
    beneath = {
        place: weight
        for place, weight in told.blocks.items()
        if place[:2] == (explained.level - 1, stream) and place[2] // 100 == index
    }
    heaviest = [weight for weight in sorted(beneath.values(), reverse=True)[:3] if weight >= 0.001]
    assert [child.block.weight for child in explained.blocks] == pytest.approx(heaviest)
    for child in explained.blocks:
        assert child.level == explained.level - 1
        assert (child.level, child.block.stream, child.block.index) in beneath
        assert explained.block.first_us <= child.block.first_us <= child.block.last_us <= explained.block.last_us
        assert child.block.frames <= explained.block.frames
        _check_beneath(told, child)


def _check_stays(told: Told, explained: ExplainedBlock) -> None:
    stream, index = explained.block.stream, explained.block.index
    beneath = {row: weight for row, of, place, _, weight, _ in told.stays if (of, place // 100) == (stream, index)}
    heaviest = [row for row in sorted(beneath, key=beneath.__getitem__, reverse=True)[:3] if beneath[row] >= 0.001]
    assert [stay.weight for stay in explained.stays] == pytest.approx([beneath[row] for row in heaviest])
    means, _ = told.view.snapshot.stays_of(np.array(heaviest, np.int64))
    facts = told.view.facts(np.array(heaviest, np.int64)).table.tolist()
    for stay, mean, (*_, exemplar, frames, first_us, last_us) in zip(explained.stays, means, facts, strict=True):
        assert (stay.exemplar_id, stay.frames, stay.first_us, stay.last_us) == (exemplar, frames, first_us, last_us)
        away = mean.astype(np.float64) / np.linalg.norm(mean)
        assert stay.similarity == pytest.approx(float(away @ told.subject.astype(np.float64)), abs=1e-5)


def test_blocks_of_stays_are_told_in_order_of_time(told: Told) -> None:
    explanation = told.attention.explanation
    assert explanation is not None
    weights = {place[1:]: weight for place, weight in told.blocks.items() if place[0] == 1}

    listed = explanation.blocks_of_stays

    assert [block.first_us for block in listed] == sorted(block.first_us for block in listed)
    assert {(block.stream, block.index) for block in listed} == {place for place in weights if weights[place] > 0}
    for block in listed:
        assert block.weight == pytest.approx(weights[block.stream, block.index])


def test_of_many_blocks_of_stays_the_heaviest_are_told(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.attention.MOST_BLOCKS_OF_STAYS", 20)

    told = _told(memory, Scope(), 10.0, EVERYTHING)

    explanation = told.attention.explanation
    assert explanation is not None
    assert sorted((block.weight for block in explanation.blocks_of_stays), reverse=True) == pytest.approx(
        told.of_level(1)[:20]
    )
    assert [block.first_us for block in explanation.blocks_of_stays] == sorted(
        block.first_us for block in explanation.blocks_of_stays
    )


def test_sampled_blocks_weigh_about_what_they_weigh(memory: Memory) -> None:
    sampled, exact = (_told(memory, Scope(), 5.0, stays) for stays in (4000, EVERYTHING))
    assert sampled.sampled
    assert isinstance(sampled.view.strata, ListStrata)

    for level in (2, 3):
        for place, weight in exact.blocks.items():
            if place[0] == level:
                assert sampled.blocks[place] == pytest.approx(weight, abs=0.05)


@pytest.mark.parametrize("streams", [None, {"loop"}])
def test_an_answer_about_a_time_names_nothing_that_came_later(memory: Memory, streams: set[str] | None) -> None:
    """Stays are read by lists, which hold those that came later too."""
    scope = replace(AS_OF, stream_ids=None if streams is None else frozenset(map(memory.stream_id, streams)))

    told = _told(memory, scope, 2.0, 2000)

    assert told.sampled
    assert isinstance(told.view.strata, ListStrata)
    facts = told.view.facts(told.reading.rows)
    assert facts.column("last_us").max() <= AS_OF.last_us
    assert {exemplar for exemplar, _ in told.attention.exemplars} <= set(told.view.exemplar_ids().tolist())
    assert max(block.last_us for _, listed in told.attention.levels for block in listed) <= AS_OF.last_us


def test_no_explanation_is_made_unless_it_is_asked_for(memory: Memory) -> None:
    assert _told(memory, Scope(), 10.0, EVERYTHING, explain=False).attention.explanation is None


def test_what_a_scope_leaves_of_stays_is_explained_by_its_own_times(memory: Memory) -> None:
    told = _told(memory, Scope(MS * 100, MS * 140, frozenset({memory.stream_id("loop")})), 1.0, EVERYTHING)

    explanation = told.attention.explanation
    assert explanation is not None
    [top] = explanation.blocks
    assert sorted((block.block.index, len(block.stays)) for block in top.blocks) == [(0, 3), (1, 3)]
    for stay in [stay for block in top.blocks for stay in block.stays]:
        assert MS * 100 <= stay.first_us <= stay.last_us <= MS * 140
    assert told.attention.frames == 41
