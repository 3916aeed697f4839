"""What an application says of its frames: whether to keep them, and how much they matter."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from memory_store.errors import InvalidHint
from memory_store.hints import MAX_LABELS, Hint, Keep, check_label
from memory_store.keeping import Keeping
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded, Novel, Outcome, Repeat, Session, Withheld, WithheldReason
from memory_store.scope import Scope
from memory_store.store import MemoryStore

Facing = Callable[[float], Embedding]
Frames = Callable[..., list[Encoded]]
Send = Callable[..., list[Outcome]]
Verified = Callable[[], Memory]

AUTO, ALWAYS, NEVER = Hint(), Hint(Keep.ALWAYS), Hint(Keep.NEVER)
LIMITS = {
    "interval": (Keeping(min_interval_us=10_000), WithheldReason.INTERVAL),
    "minute": (Keeping(max_per_minute=1), WithheldReason.MINUTE),
}


@pytest.fixture
def session(memory: Memory) -> Session:
    return memory.open_session("door", "run-1", Clock.SESSION, 0)


@pytest.fixture
def send(memory: Memory, session: Session, facing: Facing, frames: Frames) -> Send:
    """Send frames with hints, one a millisecond; they are told the same when they are sent again."""

    def send(sent: Sequence[tuple[float, Hint]]) -> list[Outcome]:
        again = memory.open_session("door", "run-1", Clock.SESSION, 0)
        plain = frames(again, [facing(degrees) for degrees, _ in sent])
        hinted = [replace(frame, hint=hint) for frame, (_, hint) in zip(plain, sent, strict=True)]
        verdicts = memory.remember(hinted)
        assert memory.reading.verdicts(session.id, again.next_seq, 10**6) == verdicts
        return [verdict.outcome for verdict in verdicts]

    return send


def test_always_keeps_what_another_exemplar_would_stand_for(send: Send, memory: Memory, facing: Facing) -> None:
    outcomes = send([(0, AUTO), (5, ALWAYS), (6, AUTO), (0, AUTO)])

    assert outcomes == [
        Novel(1, None),
        Novel(2, distance(facing(5), facing(0)), by_hint=True),
        Repeat(2, distance(facing(6), facing(5))),
        Repeat(2, distance(facing(0), facing(5))),  # it stays with the current one
    ]
    assert [memory.reading.thumbnail(number) for number in (1, 2)] == [b"thumbnail 0", b"thumbnail 1"]


def test_always_outranks_nothing_where_the_frame_is_novel_anyway(send: Send, facing: Facing) -> None:
    outcomes = send([(0, ALWAYS), (90, ALWAYS)])

    assert outcomes == [Novel(1, None), Novel(2, distance(facing(90), facing(0)))]


@pytest.mark.parametrize("limit", LIMITS)
def test_always_keeps_what_a_limit_stands_against_and_counts_towards_the_limit(
    memory: Memory, send: Send, facing: Facing, limit: str
) -> None:
    keeping, reason = LIMITS[limit]
    memory.set_policy(None, keeping=keeping)

    outcomes = send([(0, ALWAYS), (90, ALWAYS), (180, AUTO)])

    assert outcomes == [
        Novel(1, None),
        Novel(2, distance(facing(90), facing(0)), by_hint=True),
        Withheld(reason, pytest.approx(distance(facing(180), facing(90))), by_hint=False),  # type: ignore[arg-type]
    ]


def test_never_withholds_what_is_novel_and_nothing_else(send: Send, memory: Memory, facing: Facing) -> None:
    outcomes = send([(0, NEVER), (0, AUTO), (1, NEVER), (90, NEVER), (91, AUTO)])

    assert outcomes == [
        Withheld(WithheldReason.HINT, None, by_hint=True),
        Novel(1, None),
        Repeat(1, distance(facing(1), facing(0))),
        Withheld(WithheldReason.HINT, distance(facing(90), facing(0)), by_hint=True),
        Novel(2, distance(facing(91), facing(0))),
    ]
    assert memory.facts().contents.exemplars == 2


@pytest.mark.parametrize("limit", LIMITS)
def test_never_outranks_nothing_where_a_limit_would_have_kept_the_frame_out(
    memory: Memory, send: Send, facing: Facing, limit: str
) -> None:
    memory.set_policy(None, keeping=LIMITS[limit][0])

    _, outcome = send([(0, AUTO), (90, NEVER)])

    assert outcome == Withheld(WithheldReason.HINT, distance(facing(90), facing(0)), by_hint=False)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_frame_that_matters_more_is_kept_where_a_limit_stands_against_lesser_ones_which_is_no_hint_of_its_own(
    memory: Memory, send: Send, facing: Facing, limit: str
) -> None:
    keeping, reason = LIMITS[limit]
    memory.set_policy(None, keeping=keeping)

    outcomes = send([(0, AUTO), (60, Hint(priority=1)), (120, Hint(priority=1)), (120, Hint(priority=100))])

    assert outcomes == [
        Novel(1, None),
        Novel(2, distance(facing(60), facing(0)), by_hint=False),
        Withheld(reason, distance(facing(120), facing(60)), by_hint=False),
        Novel(3, distance(facing(120), facing(60)), by_hint=False),
    ]


def test_priorities_are_known_again_after_reopening(
    memory: Memory, send: Send, facing: Facing, frames: Frames, open_store: Callable[[], MemoryStore]
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    send([(0, Hint(priority=7))])
    again = open_store().get("m")
    session = again.open_session("door", "run-1", Clock.SESSION, 0)
    sent = frames(session, [facing(90), facing(180)])

    verdicts = again.remember([replace(sent[0], hint=Hint(priority=7)), replace(sent[1], hint=Hint(priority=8))])

    assert [type(verdict.outcome) for verdict in verdicts] == [Withheld, Novel]


def test_what_hints_did_is_told_again_after_reopening_and_all_promises_hold(
    memory: Memory, session: Session, send: Send, verified: Verified
) -> None:
    memory.set_policy(None, keeping=Keeping(max_per_minute=1))
    sent = [(0, AUTO), (1, ALWAYS), (90, ALWAYS), (91, NEVER), (180, NEVER), (181, AUTO)]
    outcomes = send(sent)
    before = memory.reading.verdicts(session.id, 0, 99)

    again = verified()

    assert again.reading.verdicts(session.id, 0, 99) == before
    by_hint = [outcome.by_hint for outcome in outcomes if isinstance(outcome, Novel | Withheld)]
    assert [type(outcome) for outcome in outcomes] == [Novel, Novel, Novel, Repeat, Withheld, Withheld]
    assert by_hint == [False, True, True, False, False]


def test_an_exemplar_that_was_kept_though_another_was_near_can_be_forgotten_and_merged(
    memory: Memory, session: Session, send: Send, verified: Verified
) -> None:
    send([(0, AUTO), (1, ALWAYS), (2, AUTO), (1, ALWAYS)])
    memory.forget(Scope(1_000, 1_000))
    again = verified()
    assert again.facts().contents.exemplars == 3

    assert again.compact(0.1).merged == 2

    assert verified().facts().contents.counted_frames == 3


def test_a_hint_does_not_make_a_frame_that_repeats_anything_else(send: Send, facing: Facing) -> None:
    _, outcome = send([(0, AUTO), (3, Hint(Keep.NEVER, 100, ("cat",)))])

    assert outcome == Repeat(1, distance(facing(3), facing(0)))


@pytest.mark.parametrize("priority", [-1, 101, 2**31 - 1])
def test_priorities_out_of_range_are_refused(priority: int) -> None:
    with pytest.raises(InvalidHint, match=f"priority: expected 0 to 100, got {priority}"):
        Hint(priority=priority)


@pytest.mark.parametrize("label", ["", "a" * 64, "a\nb", "\x00", "tab\there", "\x1b[31m", "\x7f", "\x85"])
def test_labels_that_nobody_could_print_are_refused(label: str) -> None:
    with pytest.raises(InvalidHint, match="labels: expected"):
        Hint(labels=(label,))


@pytest.mark.parametrize(
    "label", ["a", "a" * 63, "two words", "Käse", "猫", "a\u3000b", "\N{FAMILY}\u200d\N{CAT}", "-- '"]
)
def test_any_characters_but_controls_make_a_label(label: str) -> None:
    assert check_label(label) == label
    assert Hint(labels=(label,)).labels == (label,)


def test_what_is_wrong_with_a_very_long_label_is_told_in_short() -> None:
    with pytest.raises(InvalidHint) as caught:
        Hint(labels=("a" * 10**6,))

    assert len(str(caught.value)) < 300


def test_labels_are_few_and_come_in_order_and_once() -> None:
    many = tuple(f"{number:02}" for number in range(MAX_LABELS + 1))
    assert Hint(labels=many[:-1]).labels == many[:-1]
    for labels in (many, ("b", "a"), ("a", "a")):
        with pytest.raises(InvalidHint, match="labels: expected"):
            Hint(labels=labels)
