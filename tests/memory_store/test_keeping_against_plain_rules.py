"""Policies of keeping and hints against the same rules written down plainly: loops over all that was kept.

Random walks of three sessions over two streams, one of them of older footage, cut into groups at random, and opened
again in between.
"""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from memory_store.config import MemoryStoreConfig
from memory_store.hints import Hint, Keep
from memory_store.keeping import Keeping
from memory_store.kept_times import KeptTimes
from memory_store.memory import Memory
from memory_store.novelty import distance
from memory_store.records import Clock, Embedding, Encoded, Novel, Outcome, Repeat, Verdict, Withheld, WithheldReason
from memory_store.store import MemoryStore
from memory_store.vectors import as_stored
from memory_store.verification import verify_folder

THRESHOLD = 0.1
DIMENSION = 4
SECOND_US = 1_000_000

SESSIONS = (("door", "live"), ("hall", "live"), ("door", "old"))
"""Their numbers in the memory are 1, 2, 3."""

a_few = settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate])
"""Each example is a memory on disk."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An exemplar by the plain rules."""

    embedding: Embedding
    stream: str
    second: int
    priority: int


@dataclass
class PlainRules:
    """Decides on one frame after the other."""

    policies: dict[str, Keeping]
    kept: list[Kept] = field(default_factory=list)
    seen: list[tuple[int, str, int]] = field(default_factory=list)
    """Exemplar, stream and second of every frame that was counted."""
    current: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each session, its current exemplar and when it was seen last."""

    def decide(self, session: int, embedding: Embedding, second: int, hint: Hint) -> Outcome:
        stream = SESSIONS[session][0]
        keeping = self.policies[stream]
        since = -(10**9) if keeping.horizon_us is None else second - keeping.horizon_us / SECOND_US
        compared = {
            exemplar for exemplar, by, at in self.seen if at >= since and (by == stream or not keeping.own_stream_only)
        }
        away = sorted((distance(embedding, self.kept[exemplar - 1].embedding), exemplar) for exemplar in compared)
        match, novelty = None, away[0][0] if away else None
        if away and away[0][0] <= THRESHOLD:
            match = away[0][1]
        exemplar, at = self.current.get(session, (0, 0))
        if exemplar and at >= since and distance(embedding, self.kept[exemplar - 1].embedding) <= THRESHOLD:
            match, novelty = exemplar, distance(embedding, self.kept[exemplar - 1].embedding)
        outcome = self._outcome(
            match, novelty, keeping, Kept(as_stored(embedding), stream, second, hint.priority), hint
        )
        if isinstance(outcome, Withheld):
            self.current.pop(session, None)
        else:
            assert isinstance(outcome, Novel | Repeat)
            self.seen.append((outcome.exemplar_id, stream, second))
            self.current[session] = (outcome.exemplar_id, second)
        return outcome

    def _outcome(self, match: int | None, novelty: float | None, keeping: Keeping, kept: Kept, hint: Hint) -> Outcome:
        if match is not None and hint.keep is not Keep.ALWAYS:
            assert novelty is not None
            return Repeat(match, novelty)
        limit = None if match is not None else self._limit(keeping, kept)
        if hint.keep is Keep.NEVER:
            return Withheld(WithheldReason.HINT, novelty, by_hint=limit is None)
        if limit is not None and hint.keep is Keep.AUTO:
            return Withheld(limit, novelty)
        self.kept.append(kept)
        return Novel(len(self.kept), novelty, by_hint=match is not None or limit is not None)

    def _limit(self, keeping: Keeping, one: Kept) -> WithheldReason | None:
        times = [kept.second for kept in self.kept if kept.stream == one.stream and kept.priority >= one.priority]
        return limit_by_loops(keeping, times, one.second)


def limit_by_loops(keeping: Keeping, seconds: Sequence[int], second: int) -> WithheldReason | None:
    """Tell which limit stands against one exemplar more; all times are in whole seconds."""
    interval_us, most = keeping.min_interval_us, keeping.max_per_minute
    if interval_us is not None and any(abs(other - second) * SECOND_US < interval_us for other in seconds):
        return WithheldReason.INTERVAL
    for begin in range(second - 59, second + 1):
        if most is not None and sum(begin <= other < begin + 60 for other in seconds) >= most:
            return WithheldReason.MINUTE
    return None


keepings = st.builds(
    Keeping,
    own_stream_only=st.booleans(),
    horizon_us=st.sampled_from([None, 5 * SECOND_US, 40 * SECOND_US]),
    max_per_minute=st.sampled_from([None, 1, 3]),
    min_interval_us=st.sampled_from([None, 4 * SECOND_US, 25 * SECOND_US]),
)


def _hint(chance: np.random.Generator) -> Hint:
    wishes = (Keep.AUTO, Keep.ALWAYS, Keep.NEVER)
    labels = ("cat", "dog")[: int(chance.integers(3))] if chance.random() < 0.3 else ()
    return Hint(wishes[chance.choice(3, p=[0.8, 0.1, 0.1])], int(chance.choice([0, 0, 0, 5])), labels)


def _walk(seed: int, number: int) -> list[Encoded]:
    """Sessions that turn to and fro and jump back to where one of them has been before, a second or more a frame."""
    chance = np.random.default_rng(seed)
    places = [chance.normal(size=DIMENSION)]
    at = [places[0]] * len(SESSIONS)
    seqs, seconds = [0, 0, 0], [1000, 1000, 900]
    arrivals = []
    for _ in range(number):
        session = int(chance.integers(len(SESSIONS)))
        seconds[session] += int(chance.choice([1, 1, 2, 10, 45]))
        if chance.random() < 0.4:
            at[session] = places[int(chance.integers(len(places)))]
        elif chance.random() < 0.3:
            at[session] = chance.normal(size=DIMENSION)
            places.append(at[session])
        turned = at[session] + 0.1 * np.linalg.norm(at[session]) * chance.normal(size=DIMENSION)
        embedding = (turned / np.linalg.norm(turned)).astype(np.float32)
        time_us = seconds[session] * SECOND_US
        arrivals.append(
            Encoded(session + 1, seqs[session], time_us, time_us, 1, embedding, lambda: b"jpeg", _hint(chance))
        )
        seqs[session] += 1
    return arrivals


def _open(store: MemoryStore) -> Memory:
    memory = store.get("m")
    for stream, uuid in SESSIONS:
        memory.open_session(stream, uuid, Clock.SOURCE, 0)
    return memory


def _rounded(outcome: Outcome) -> Outcome:
    match outcome:
        case Novel(exemplar_id, novelty, by_hint) if novelty is not None:
            return Novel(exemplar_id, round(novelty, 9), by_hint)
        case Repeat(exemplar_id, novelty):
            return Repeat(exemplar_id, round(novelty, 9))
        case Withheld(reason, novelty, by_hint) if novelty is not None:
            return Withheld(reason, round(novelty, 9), by_hint)
        case other:
            return other


@a_few
@given(st.integers(0, 2**32), keepings, keepings)
def test_verdicts_are_those_of_the_plain_rules_in_any_grouping_and_after_reopening(
    seed: int, door: Keeping, hall: Keeping
) -> None:
    arrivals = _walk(seed, 150)
    plain = PlainRules({"door": door, "hall": hall})
    expected = [plain.decide(a.session_id - 1, a.embedding, (a.capture_us or 0) // SECOND_US, a.hint) for a in arrivals]
    chance = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore(Path(folder), MemoryStoreConfig())
        memory = store.create("m", "encoder/1", DIMENSION, THRESHOLD, keeping=door)
        memory.create_stream("hall", None, hall)
        memory = _open(store)
        verdicts: list[Verdict] = []
        while len(verdicts) < len(arrivals):
            size = int(chance.choice([1, 5, 64]))
            verdicts += memory.remember(arrivals[len(verdicts) : len(verdicts) + size])
            if chance.random() < 0.2:
                store.close()
                store = MemoryStore(Path(folder), MemoryStoreConfig())
                memory = _open(store)
        with closing(store):
            for number in range(len(SESSIONS)):
                own = [verdict for a, verdict in zip(arrivals, verdicts, strict=True) if a.session_id == number + 1]
                assert memory.reading.verdicts(number + 1, 0, 999) == own
        [verified] = verify_folder(Path(folder), [])
        assert verified.passed, verified

    assert [_rounded(verdict.outcome) for verdict in verdicts] == [_rounded(outcome) for outcome in expected]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 5])), max_size=12),
    keepings,
    st.integers(0, 300),
    st.sampled_from([0, 3, 5]),
)
def test_limits_are_those_of_a_loop_over_all_minutes(
    kept: list[tuple[int, int]], keeping: Keeping, second: int, priority: int
) -> None:
    times = KeptTimes(*KeptTimes.stretch_around(keeping, second * SECOND_US))
    for other, of in kept:
        times = times.with_one(other * SECOND_US, of)

    expected = limit_by_loops(keeping, [other for other, of in kept if of >= priority], second)

    assert times.covers(keeping, second * SECOND_US)
    assert times.limit(keeping, second * SECOND_US, priority) is expected
