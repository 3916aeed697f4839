"""What part exemplars had in answers: summed up, kept, and let go with them."""

from collections.abc import Callable

import pytest

from memory_store.errors import StoreUnavailable
from memory_store.facts import Served
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Verified = Callable[[], Memory]


@pytest.fixture
def seen(memory: Memory, facing: Facing, frames: Frames) -> Memory:
    """Exemplars 1, 2, 3, a millisecond each, and 1 again."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in (0, 60, 120, 5)]))
    return memory


def _served(memory: Memory) -> list[Served | None]:
    listing = memory.reading.exemplars(after=None, limit=9, newest_first=False, thumbnails=False, embeddings=False)
    alone = [memory.reading.exemplar(one.facts.exemplar_id, thumbnail=False, embedding=False) for one in listing]
    assert [one.served for one in alone] == [one.served for one in listing]
    return [one.served for one in listing]


def test_answers_and_shares_of_the_attention_add_up_over_records(seen: Memory, verified: Verified) -> None:
    assert not seen.lessons.note_served([(1, 0.75), (2, 0.25)], 1_000)
    assert not seen.lessons.note_served([(1, 0.5)], 3_000)
    assert _served(seen) == [None, None, None]  # not yet on record

    seen.lessons.record_served()
    assert _served(seen) == [Served(2, 1.25, 3_000), Served(1, 0.25, 1_000), None]
    seen.lessons.record_served()
    seen.lessons.note_served([(1, 0.125), (3, 0.5)], 2_000)
    seen.lessons.record_served()

    expected = [Served(3, 1.375, 3_000), Served(1, 0.25, 1_000), Served(1, 0.5, 2_000)]
    assert _served(seen) == expected
    assert _served(verified()) == expected


def test_what_waits_is_put_on_record_when_the_memory_is_closed(seen: Memory, verified: Verified) -> None:
    seen.lessons.note_served([(2, 0.5)], 7)

    assert _served(verified()) == [None, Served(1, 0.5, 7), None]


def test_much_that_waits_asks_to_be_put_on_record(seen: Memory) -> None:
    assert not seen.lessons.note_served([(number, 0.01) for number in range(1, 1024)], 7)
    assert seen.lessons.note_served([(1024, 0.01)], 7)

    seen.lessons.record_served()  # most of them are not there, as if they had been forgotten

    assert _served(seen) == [Served(1, 0.01, 7)] * 3
    assert not seen.lessons.note_served([(1, 0.01)], 8)


def test_it_goes_with_the_exemplar_that_is_forgotten_recorded_or_not(seen: Memory, verified: Verified) -> None:
    seen.lessons.note_served([(1, 0.5), (2, 0.5), (3, 0.5)], 7)
    seen.lessons.record_served()
    seen.lessons.note_served([(2, 0.5), (3, 0.5)], 8)

    seen.forget(Scope(0, 1_000))

    seen.lessons.record_served()
    assert _served(verified()) == [Served(1, 0.5, 7), Served(2, 1.0, 8)]  # of 1, which another frame stands for, and 3


def test_it_is_added_to_that_of_the_exemplar_that_stands_for_another(seen: Memory, verified: Verified) -> None:
    seen.lessons.note_served([(1, 0.25), (2, 0.5)], 8)
    seen.lessons.record_served()
    seen.lessons.note_served([(2, 0.125)], 9)

    assert seen.compact(0.6).merged == 1

    assert _served(verified()) == [Served(3, 0.875, 9), None]


def test_what_the_disk_refuses_is_put_on_record_later(seen: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen.lessons.note_served([(1, 0.5)], 7)
    with monkeypatch.context() as broken:
        broken.setattr(seen._journal, "writing", _refuse)
        with pytest.raises(StoreUnavailable, match="injected"):
            seen.lessons.record_served()
    seen.lessons.note_served([(1, 0.25)], 6)

    seen.lessons.record_served()

    assert _served(seen)[0] == Served(2, 0.75, 7)


def _refuse() -> None:
    raise StoreUnavailable("injected")
