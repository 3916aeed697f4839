"""Feedback and versions of attention: what is kept, what goes with what is forgotten, and what lasts."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memory_store.errors import AttentionVersionNotFound, ExemplarNotFound, MemoryUnreadable
from memory_store.lesson_rows import AttentionVersion, Feedback
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded, Retention
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]

EARLY = AttentionVersion("early", 0, 2_000, b"what was learned early")
LATE = AttentionVersion("late", 1_000, 5_000, b"what was learned late")


@pytest.fixture
def seen(memory: Memory, facing: Facing, frames: Frames) -> Memory:
    """Exemplars 1, 2, 3, a millisecond each, and 1 again; versions EARLY and LATE."""
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember(frames(session, [facing(degrees) for degrees in (0, 60, 120, 5)]))
    memory.lessons.keep(EARLY)
    memory.lessons.keep(LATE)
    return memory


def test_versions_are_found_by_name_and_by_the_time_they_were_fitted_to(seen: Memory) -> None:
    assert seen.lessons.version("early") == EARLY
    assert seen.lessons.latest() == LATE
    assert seen.lessons.latest(4_999) == EARLY
    assert seen.lessons.latest(1_999) is None
    assert seen.lessons.latest_name() == seen.facts().attention_version == "late"
    with pytest.raises(AttentionVersionNotFound, match="late"):
        seen.lessons.version("late", as_of_us=4_999)
    with pytest.raises(AttentionVersionNotFound, match="never"):
        seen.lessons.version("never")


def test_a_memory_without_versions_has_none(memory: Memory) -> None:
    assert memory.lessons.latest() is None
    assert memory.lessons.latest_name() == memory.facts().attention_version == ""


def test_a_version_that_is_kept_again_is_there_once(seen: Memory) -> None:
    seen.lessons.keep(EARLY)

    assert seen.lessons.latest() == LATE


def test_sightings_are_read_in_the_order_of_their_start(seen: Memory, facing: Facing) -> None:
    sightings = seen.lessons.sightings()

    assert sightings.table[:, 1].tolist() == [1, 2, 3, 1]
    assert sightings.table[:, 3].tolist() == [0, 1_000, 2_000, 3_000]
    assert sightings.table[:, 5].tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(sightings.means, [facing(degrees) for degrees in (0, 60, 120, 5)])


def test_feedback_lasts_and_names_its_subject_and_its_evidence(
    store: MemoryStore, seen: Memory, facing: Facing, tmp_path: Path
) -> None:
    seen.lessons.give_feedback(Feedback(3_000, 1, (2, 3)))
    seen.lessons.give_feedback(Feedback(2_000, facing(90), (2,)))

    by_embedding, by_exemplar = seen.lessons.feedback()

    assert by_exemplar == Feedback(3_000, 1, (2, 3))
    assert (by_embedding.asked_us, by_embedding.evidence) == (2_000, (2,))
    np.testing.assert_allclose(by_embedding.subject, facing(90), atol=2**-11)


@pytest.mark.parametrize("feedback", [Feedback(0, 9, (1,)), Feedback(0, 1, (2, 9))])
def test_feedback_about_what_is_not_there_is_refused_whole(seen: Memory, feedback: Feedback) -> None:
    with pytest.raises(ExemplarNotFound, match="9"):
        seen.lessons.give_feedback(feedback)

    assert seen.lessons.feedback() == []


def test_what_is_forgotten_takes_its_feedback_and_the_versions_fitted_to_it_along(seen: Memory) -> None:
    seen.lessons.give_feedback(Feedback(4_000, 3, (1,)))
    seen.lessons.give_feedback(Feedback(5_000, 1, (2, 3)))
    seen.lessons.give_feedback(Feedback(6_000, 2, (3,)))

    seen.forget(Scope(2_500, 2_900))
    assert seen.lessons.latest() == EARLY
    assert len(seen.lessons.feedback()) == 3
    seen.forget(Scope(2_000, 2_000))

    assert seen.lessons.latest() is None
    assert seen.lessons.feedback() == [Feedback(5_000, 1, (2,))]


def test_versions_fitted_to_other_times_stay(seen: Memory) -> None:
    seen.forget(Scope(3_000, 3_000))

    assert seen.lessons.latest() == EARLY


def test_what_retention_lets_go_stays_learned(seen: Memory) -> None:
    seen.set_retention(Retention(max_age_us=1_000))

    assert seen.tidy(3_500).frames

    assert seen.lessons.latest() == LATE


def test_feedback_about_a_merged_exemplar_is_about_the_one_that_stands_for_it(seen: Memory) -> None:
    seen.lessons.give_feedback(Feedback(4_000, 2, (2, 3)))

    seen.compact(1 - np.cos(np.deg2rad(61)))

    assert seen.facts().contents.exemplars == 2
    assert seen.lessons.feedback() == [Feedback(4_000, 1, (1, 3))]


def test_a_version_that_is_damaged_is_not_used(store: MemoryStore, seen: Memory, tmp_path: Path) -> None:
    [file] = tmp_path.rglob("*.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE attention SET parameters = x'00' WHERE version = 'late'")

    with pytest.raises(MemoryUnreadable, match="late"):
        seen.lessons.latest()
    assert seen.lessons.version("early") == EARLY
