"""One memory: the novelty gate on the frame's way, and what the query's way reads.

Looking and storing share one lock, and a look sees what its group has already decided, so a picture that two streams
show at once is stored once. The journal is committed before the index and the forest are touched; opening the memory
replays what they missed.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from memory_store import loading
from memory_store.budget import BudgetState, Control
from memory_store.change import Change
from memory_store.config import MemoryStoreConfig, check_threshold
from memory_store.errors import (
    EmbeddingError,
    ExemplarNotFound,
    MemoryStoreError,
    PolicyChanged,
    SessionMismatch,
    StoreUnavailable,
    StreamExists,
    StreamNotFound,
    TooManyStreams,
)
from memory_store.examples import Example, examples_around
from memory_store.facts import ExemplarFacts, MemoryFacts, ShownSighting, StreamFacts, ThresholdCurve
from memory_store.group import Group, StreamState
from memory_store.index import PROPOSALS
from memory_store.index_upkeep import Workers
from memory_store.journal import Journal, now_us, reading_errors
from memory_store.keeping import Keeping
from memory_store.kept_times import KeptTimes
from memory_store.last_seen import ids_below
from memory_store.lessons import Lessons
from memory_store.looks import Looks, Restriction
from memory_store.novelty import Neighbour, distance, nearest
from memory_store.policies import UNCHANGED, PolicyRecord, Unchanged
from memory_store.reading import Reading
from memory_store.records import (
    Arrival,
    Clock,
    CompactedCounts,
    Embedding,
    Encoded,
    ForgottenCounts,
    Policy,
    Retention,
    Session,
    Unusable,
    Verdict,
)
from memory_store.removal import Removal
from memory_store.scope import EARLIEST_US, Scope
from memory_store.seen_frames import SeenFrame
from memory_store.state import MemoryState
from memory_store.tuning import Tuning
from memory_store.view import View, view_of

_LOG = logging.getLogger(__name__)

_LENGTH_TOLERANCE = 1e-3
"""How far an embedding's length may be from 1; rounding to float16 moves it by up to 2^-11."""


_KEPT_EXAMPLES = 512
"""Exemplars, the latest, that are looked through for examples of what was kept."""

_SAME_NOVELTY = 1e-3
"""A novelty is that to a certain exemplar if it is so near: rounding to float16 moves it by less."""

_LIMITS_KNOWN = 4
"""Times as far back as limits look, it is known when exemplars were captured, so that it is seldom read again."""


class Memory:
    """A named, isolated store with one encoder version and a novelty policy. Safe for several threads."""

    def __init__(self, name: str, path: Path, config: MemoryStoreConfig, workers: Workers) -> None:
        """Open a memory and make the copies of its journal.

        Args:
            name: its name.
            path: its journal.
            config: how many streams it takes, and what it holds for curves.
            workers: the threads that work for indexes.

        Raises:
            MemoryUnreadable: the journal cannot be used; nothing was changed.
            StoreUnavailable: it cannot be read at present; nothing was changed.
        """
        self.name = name
        self._path = path
        self._max_streams = config.max_streams
        self._curve_frames = config.curve_frames
        self._lock = threading.RLock()
        self._refusal: MemoryStoreError | None = None
        self._journal = Journal(path)
        self.identity = self._journal.identity
        """What the memory is bound to."""
        try:
            with reading_errors(path):
                self._state = MemoryState(self._journal, path, self._lock, workers)
                self._retention = loading.retention_of(self._journal.connection)
                self.reading = Reading(path)
                """Answers about frames, sightings and exemplars."""
        except BaseException:
            self._journal.close()
            raise
        self.lessons = Lessons(path, self._journal, self._lock, self._check_usable)
        """What attention is taught by and what it learned."""
        identity = self.identity
        self._tuning = Tuning(path, identity.uuid, identity.dimension, config.curve_frames, workers.aside)
        self._removal = Removal(self._journal, self._state, self._lock, self._check_usable, self._follow, self._tuning)

    def close(self, refusal: MemoryStoreError) -> None:
        """Close the memory, after the group that is being written; `refusal` is what is raised from then on."""
        self._state.stop()
        with suppress(MemoryStoreError):  # what is not on record by then is not missed by anything that was promised
            self.lessons.record_served()
        with self._lock:
            self._refusal = refusal
            self.reading.close(refusal)
            self._journal.close()
        self._tuning.close()

    # The frame's way

    def open_session(self, stream: str, uuid: str, clock: Clock, start_us: int | None) -> Session:
        """Open a session of a stream, or open it again; the stream is created if it is new.

        Args:
            stream: its name.
            uuid: the session's.
            clock: where capture times come from; must be the same when the session is opened again.
            start_us: capture time of presentation time 0, None for now; ignored when the session is opened again.

        Raises:
            SessionMismatch: the session was first opened with another clock.
            TooManyStreams: the stream is new, and there are as many as are taken.
            StoreUnavailable: the disk refused; safe to try again.
        """
        with self._lock:
            self._check_usable()
            stream_id = self._stream_state(stream, create=True).id
            with reading_errors(self._path):
                state = self._state.session(stream_id, uuid)
            if state is None:
                self._journal.add_session(stream_id, uuid, clock, now_us() if start_us is None else start_us)
                state = self._state.session(stream_id, uuid)
            if state is None or state.clock != clock:
                raise SessionMismatch(f"expected the clock that session {uuid} was first opened with, got {clock.name}")
            policy = self._state.policies.in_force(stream_id)
            return Session(state.id, stream, clock, state.start_us, state.next_seq, policy)

    def close_session(self, session_id: int) -> None:
        """Forget where a session stands; it can be opened again."""
        with self._lock:
            self._state.sessions.pop(session_id, None)

    def remember(self, arrivals: Sequence[Arrival]) -> list[Verdict]:
        """Decide on frames, in order; when this returns, the verdicts are on disk.

        Each session's frames must come in order, and its session must be open; sessions may be mixed.

        Raises:
            EmbeddingError: wrong shape, type or length. Nothing was written.
            SequenceGap: a frame is not the next one of its session. Nothing was written.
            StoreUnavailable: the disk refused. Nothing was written; safe to try again.
        """
        for arrival in arrivals:
            if isinstance(arrival, Encoded):
                self._check_embedding(arrival.embedding)
        with self._lock:
            self._check_usable()
            group = self._group(arrivals)
            self._know_kept(arrivals, group)
            looks = Looks(self._state.upkeep.index, arrivals, group)
            verdicts = [self._decide(group, looks, place, arrival) for place, arrival in enumerate(arrivals)]
            self._journal.commit(group)
            with self._following():
                self._state.take_in(group)
            self._tuning.add(self._seen(arrivals, verdicts))
            return verdicts

    def _seen(self, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]) -> list[SeenFrame]:
        """Tell of the frames that were encoded, for curves over thresholds."""
        seen = []
        for arrival, verdict in zip(arrivals, verdicts, strict=True):
            if isinstance(arrival, Encoded) and verdict.capture_us is not None:
                stream_id = self._state.sessions[arrival.session_id].stream_id
                keeping = self._state.policies.keeping(stream_id)
                seen.append(
                    SeenFrame(
                        stream_id,
                        verdict.capture_us,
                        arrival.embedding,
                        keeping.own_stream_only,
                        keeping.horizon_us,
                    )
                )
        return seen

    def look(self, embedding: Embedding) -> Neighbour | None:
        """Find the exemplar that the novelty gate would compare a frame with; None if there is none.

        The distance is exact. In a large memory a nearer one may be missed, which costs storage, never coverage.
        """
        self._check_embedding(embedding)
        with self._lock:
            self._check_usable()
            index = self._state.upkeep.index
            [(proposed, _)] = index.propose(embedding[None])
            return nearest(embedding, proposed, index.embeddings(proposed))

    def _group(self, arrivals: Sequence[Arrival]) -> Group:
        group = Group(
            copy(self._state.next_ids), self._state.policies, now_us(), self._state.bytes_each, self._state.bands.copy()
        )
        for session_id in {arrival.session_id for arrival in arrivals}:
            session = copy(self._state.sessions[session_id])
            stream = self._state.streams[session.stream_id]
            group.sessions[session_id] = session
            group.streams[stream.id] = replace(stream, open_stays=dict(stream.open_stays))
        return group

    def _decide(self, group: Group, looks: Looks, place: int, arrival: Arrival) -> Verdict:
        if isinstance(arrival, Unusable):
            return group.reject(arrival)

        def stored(exemplar_id: int) -> Embedding:
            pending = group.exemplars.get(exemplar_id)
            return self._state.upkeep.index.embedding(exemplar_id) if pending is None else pending.embedding

        stream_id = group.sessions[arrival.session_id].stream_id
        keeping = group.policies.keeping(stream_id)

        def look(embedding: Embedding, capture_us: int) -> Neighbour | None:
            return looks.look(place, embedding, self._restriction(keeping, stream_id, capture_us))

        return group.count(arrival, stored, look)

    def _restriction(self, keeping: Keeping, stream_id: int, capture_us: int) -> Restriction | None:
        if not keeping.is_restricted:
            return None
        only = stream_id if keeping.own_stream_only else None
        since_us = EARLIEST_US if keeping.horizon_us is None else max(EARLIEST_US, capture_us - keeping.horizon_us)
        return Restriction(self._state.last_seen(only), only, since_us)

    def _know_kept(self, arrivals: Sequence[Arrival], group: Group) -> None:
        """Know when exemplars of the streams that have limits were captured, as far back as the limits reach."""
        earliest_us: dict[int, int] = {}  # by stream: what comes late must not go by what is known for the others
        for arrival in arrivals:
            session = group.sessions[arrival.session_id]
            stream_id = session.stream_id
            if isinstance(arrival, Encoded) and group.policies.keeping(stream_id).is_limited:
                pts_us = arrival.pts_us if session.last_pts_us is None else max(arrival.pts_us, session.last_pts_us)
                capture_us = session.start_us + pts_us if arrival.capture_us is None else arrival.capture_us
                earliest_us[stream_id] = min(capture_us, earliest_us.get(stream_id, capture_us))
        for stream_id, capture_us in earliest_us.items():
            stream, reach_us = group.streams[stream_id], KeptTimes.reach_us(group.policies.keeping(stream_id))
            self._state.know_kept(stream, capture_us - reach_us)
            stream.kept = stream.kept.trimmed(capture_us - _LIMITS_KNOWN * reach_us)

    @contextmanager
    def _following(self) -> Iterator[None]:
        """Let the copies follow the journal; if they cannot, nothing may be built on them any more."""
        try:
            yield
        except BaseException as error:
            self._refusal = StoreUnavailable(
                f"memory {self.name} lost touch with its journal, which holds what was sent: restart the server"
            )
            _LOG.exception("%s", self._refusal)
            raise type(self._refusal)(*self._refusal.args) from error

    def _check_usable(self) -> None:
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)

    def _check_embedding(self, embedding: Embedding) -> None:
        expected = (self.identity.dimension,)
        if embedding.shape != expected or embedding.dtype != np.float32:
            raise EmbeddingError(f"expected float32 {list(expected)}, got {embedding.dtype} {list(embedding.shape)}")
        length = float(np.linalg.norm(embedding.astype(np.float64)))
        if not abs(length - 1) <= _LENGTH_TOLERANCE:
            raise EmbeddingError(f"expected an embedding of length 1, got {length}")

    # What is taken out again

    def forget(self, scope: Scope) -> ForgottenCounts:
        """Forget the frames within a scope for good; when this returns, nothing of them is left in the files.

        Goes on in small steps while frames come in. What is exact afterwards and what is not: see
        `memory_store.forgetting`. Versions of attention that were fitted to the range go
        with it. A removal that was begun is finished even if this fails or the server is killed.

        Raises:
            StoreUnavailable: the disk refused, or a long reading kept the write-ahead log; it will be tried again.
        """
        with reading_errors(self._path):
            return self._removal.forget(scope)

    def extent(self) -> tuple[int, int] | None:
        """Give the earliest and the latest capture time of a frame, withheld ones included; None if there is none."""
        with self._lock, reading_errors(self._path):
            self._check_usable()
            return self._state.extent()

    def compact(self, threshold: float) -> CompactedCounts:
        """Merge exemplars that are within a threshold of an older one; see `memory_store.compaction`.

        Raises:
            InvalidThreshold: outside (0, 2].
            StoreUnavailable: the disk refused; some may have been merged, the rest not.
        """
        check_threshold(threshold)
        self.lessons.record_served()  # what is on record is handed over to the exemplars that are left
        with reading_errors(self._path):
            return self._removal.compact(threshold)

    @property
    def retention(self) -> Retention:
        """How long the memory keeps what it saw."""
        return self._retention

    def set_retention(self, retention: Retention) -> None:
        """Change how long the memory keeps what it saw; `tidy` holds it to that.

        Raises:
            StoreUnavailable: the disk refused; the old limits are in force.
        """
        with self._lock:
            self._check_usable()
            self._journal.set_retention(retention)
            self._retention = retention

    def tidy(self, now_us: int) -> ForgottenCounts:
        """Finish what was to be forgotten, and forget what the retention does not keep.

        Raises:
            StoreUnavailable: as `forget`.
        """
        with reading_errors(self._path):
            return self._removal.tidy(self._retention, now_us)

    def _follow(self, change: Change) -> None:
        with self._following():
            self._state.follow(change)

    # Policies and names

    def policy(self, stream: str | None = None) -> Policy:
        """Give the policy in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._state.policies.in_force(None if stream is None else self._stream_state(stream).id)

    def keeping(self, stream: str | None = None) -> Keeping:
        """Give the policy of keeping in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._state.policies.keeping(None if stream is None else self._stream_state(stream).id)

    def set_threshold(self, stream: str | None, threshold: float | None, expected_revision: int | None = None) -> None:
        """Change the threshold of a stream (None: back to that of the memory) or of the memory; see `set_policy`."""
        self.set_policy(stream, threshold=threshold, expected_revision=expected_revision)

    def set_policy(
        self,
        stream: str | None,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: Keeping | Unchanged | None = UNCHANGED,
        expected_revision: int | None = None,
    ) -> None:
        """Change the threshold, the policy of keeping, or both, of a stream or, without one, of the memory.

        None returns a stream to that of the memory, and the memory to the default policy.

        The next frame decided obeys. Every change is on record.

        Raises:
            InvalidThreshold: outside (0, 2], or None for the memory.
            StreamNotFound: there is no such stream.
            PolicyChanged: the last record that concerns it is not `expected_revision`.
            StoreUnavailable: the disk refused; what was in force still is.
        """
        if not isinstance(threshold, Unchanged) and (threshold is not None or stream is None):
            check_threshold(float("nan") if threshold is None else threshold)
        with self._lock:
            self._check_usable()
            stream_id = None if stream is None else self._stream_state(stream).id
            own = self._state.policies.own(stream_id)
            if expected_revision is not None and expected_revision != own.revision:
                raise PolicyChanged(f"expected revision {expected_revision}, found {own.revision}")
            if stream is None and keeping is None:
                keeping = Keeping()
            record = PolicyRecord(
                self._state.policies.next_revision,
                stream_id,
                own.threshold if isinstance(threshold, Unchanged) else threshold,
                own.keeping if isinstance(keeping, Unchanged) else keeping,
            )
            self._journal.add_policy(record)
            policies = self._state.policies.copy()
            policies.put(record)
            self._state.policies = policies

    def create_stream(self, name: str, threshold: float | None, keeping: Keeping | None = None) -> None:
        """Add a stream ahead of its first session.

        Raises:
            StreamExists: the name is taken.
            TooManyStreams: there are as many as are taken.
            InvalidThreshold: outside (0, 2].
            StoreUnavailable: the disk refused; the stream may be there without its threshold and policy.
        """
        if threshold is not None:
            check_threshold(threshold)
        with self._lock:
            self._check_usable()
            if self._state.stream(name) is not None:
                raise StreamExists(f"memory {self.name} has a stream {name} already")
            self._stream_state(name, create=True)
            if threshold is not None or keeping is not None:
                self.set_policy(name, threshold=threshold, keeping=keeping)

    def _stream_state(self, name: str, *, create: bool = False) -> StreamState:
        found = self._state.stream(name)
        if found is not None:
            return found
        if not create:
            raise StreamNotFound(f"memory {self.name} has no stream {name}")
        if len(self._state.streams) >= self._max_streams:
            raise TooManyStreams(f"expected at most {self._max_streams} streams in memory {self.name}")
        stream_id, created_us = self._journal.add_stream(name)
        stream = self._state.streams[stream_id] = StreamState(stream_id, name, created_us, next_position=0)
        return stream

    def stream_id(self, name: str) -> int:
        """Give the number of a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._stream_state(name).id

    def stream_names(self) -> dict[int, str]:
        """Give the names of all streams by their numbers."""
        with self._lock:
            return {stream.id: stream.name for stream in self._state.streams.values()}

    # The query's way

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give the embedding of an exemplar.

        Raises:
            ExemplarNotFound: there is none of this id.
        """
        with self._lock:
            try:
                return self._state.upkeep.index.embedding(exemplar_id)
            except LookupError as error:
                raise ExemplarNotFound(f"memory {self.name} has no exemplar {exemplar_id}") from error

    def view(self, scope: Scope) -> View:
        """Take the stays within a scope, with the blocks above them, as they are now.

        Stays that the scope cuts count only the frames within it (see `memory_store.view.view_of`).
        """
        while True:
            with self._lock:
                self._check_usable()
                snapshot = self._state.forest.snapshot()
                lists = self._state.lists_of(snapshot)
            try:
                return view_of(snapshot, lists, scope, self.reading, self.embedding)
            except ExemplarNotFound:
                continue  # it was forgotten or merged since the snapshot: the next one knows

    def curve(self, thresholds: Sequence[float], scope: Scope, examples: int) -> ThresholdCurve:
        """Tell what would have been kept, had other thresholds been in force from the start.

        Args:
            thresholds: each in (0, 2].
            scope: streams and capture times that count, to about 256 frames.
            examples: frames just above, and frames just below each threshold, at most.

        Raises:
            InvalidThreshold: one is outside (0, 2].
        """
        missing = self._missing_from_curves(scope)
        if missing:
            # A batch counts to a range as a whole or not at all, which is not to be taken for a loss.
            missing = min(missing, self._missing_from_curves(Scope(stream_ids=scope.stream_ids)))
        curve = self._tuning.curve(thresholds, scope)
        with self._lock:
            self._check_usable()
            bytes_each = self._state.bytes_each
        pool = [] if not examples else [*self.reading.dropped_examples(scope), *self._kept_examples(scope)]
        return ThresholdCurve(
            curve.outcomes,
            tuple(examples_around(pool, outcome.threshold, examples) for outcome in curve.outcomes),
            curve.frames,
            missing,
            curve.active_us,
            bytes_each,
            curve.held,
            self._curve_frames,
        )

    def _missing_from_curves(self, scope: Scope) -> int:
        """Count the frames of a scope that curves do not rest on; those that come meanwhile are no loss."""
        frames = self.reading.withheld_within(scope) + self.view(scope).frame_count
        return max(0, frames - self._tuning.curve((), scope).frames)

    def _kept_examples(self, scope: Scope) -> Iterator[Example]:
        """Give frames that were kept, each with the exemplar that it was compared with, if that is still there."""
        for kept in self.reading.kept_examples(scope, _KEPT_EXAMPLES):
            with self._lock:
                index = self._state.upkeep.index
                if kept.exemplar_id not in index:
                    continue
                embedding = index.embedding(kept.exemplar_id)
                proposed, _ = index.propose_among(embedding, ids_below(kept.exemplar_id))
                found = nearest(embedding, proposed, index.embeddings(proposed))
            if found is not None and abs(found.novelty - kept.novelty) <= _SAME_NOVELTY:
                yield replace(kept, exemplar_id=found.exemplar_id)

    def nearest(self, embedding: Embedding, view: View, number: int) -> list[Neighbour]:
        """Find the exemplars of a view that are most similar to an embedding, most similar first, exactly.

        Reads all of them, some at a time, so that ingest goes on.
        """
        self._check_embedding(embedding)
        among = None if view.scope.is_everything else view.exemplar_ids()
        found: dict[int, Embedding] = {}
        with self._lock:
            self._check_usable()
            index = self._state.upkeep.index
            parts = list(index.slices())
        for lists in parts:
            with self._lock:
                # As with looks: a few more than asked for, and the exact distance puts them in order.
                found.update(index.search(embedding, number + PROPOSALS, lists, among))
        neighbours = [Neighbour(exemplar_id, distance(embedding, other)) for exemplar_id, other in found.items()]
        return sorted(neighbours, key=lambda neighbour: (neighbour.novelty, neighbour.exemplar_id))[:number]

    def exemplar_at(self, stream: str, time_us: int) -> int:
        """Find what a stream showed at a time: the exemplar of its last frame at or before it.

        Raises:
            StreamNotFound: there is no such stream.
            MomentNotFound: there is no such frame.
        """
        return self.reading.exemplar_at(self._stream(stream), time_us)

    def timeline(
        self, stream: str, first_us: int, last_us: int, after: tuple[int, int] | None, limit: int
    ) -> list[ShownSighting]:
        """Read the sightings of a stream that overlap a range; see `memory_store.reading.Reading.timeline`.

        Raises:
            StreamNotFound: there is no such stream.
        """
        return self.reading.timeline(self._stream(stream), first_us, last_us, after, limit)

    def _stream(self, name: str) -> StreamState:
        with self._lock:
            return self._stream_state(name)

    def sightings(self, exemplar_id: int, scope: Scope) -> tuple[ExemplarFacts, list[ShownSighting]]:
        """Give what is known of an exemplar within a scope, and its sightings there, newest first.

        Raises:
            ExemplarNotFound: no frame within the scope counts towards it.
        """
        shown = self.reading.sightings_of_exemplar(exemplar_id, scope)
        if not shown:
            raise ExemplarNotFound(f"exemplar {exemplar_id} stands for no frame within the scope")
        facts = ExemplarFacts(
            exemplar_id,
            first_us=min(sighting.start_us for sighting in shown),
            last_us=max(sighting.end_us for sighting in shown),
            duration_us=sum(sighting.end_us - sighting.start_us for sighting in shown),
            frames=sum(sighting.frames for sighting in shown),
            sightings=len(shown),
        )
        return facts, shown

    def facts(self) -> MemoryFacts:
        """Describe the memory."""
        with self._lock:
            self._check_usable()
            with reading_errors(self._path):
                contents = self._state.contents(None)
            return MemoryFacts(
                self.name,
                self.identity.encoder_version,
                self.identity.dimension,
                self.identity.created_us,
                self._state.policies.in_force(None),
                self._state.policies.keeping(None),
                self._retention,
                replace(contents, stored_bytes=self._journal.size_bytes()),
                self.lessons.latest_name(),
            )

    def budget_states(self) -> dict[str, tuple[float, BudgetState]]:
        """Tell the threshold of every stream that has a budget, and how that is kept."""
        with self._lock:
            self._check_usable()
            found = {}
            for stream in self._state.streams.values():
                state = self._budget_state(stream)
                if state is not None:
                    found[stream.name] = (self._state.policies.in_force(stream.id).threshold, state)
            return found

    def _budget_state(self, stream: StreamState) -> BudgetState | None:
        budget, control = self._state.policies.keeping(stream.id).budget, stream.control
        if budget is None:
            return None
        if control is None or control.budget != budget:
            control = Control(budget)  # no frame came since it was set
        return control.state(self._state.policies.in_force(stream.id).threshold)

    def stream_facts(self, name: str) -> StreamFacts:
        """Describe a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            self._check_usable()
            stream = self._stream_state(name)
            policies = self._state.policies
            own, policy, keeping = policies.own(stream.id), policies.in_force(stream.id), policies.keeping(stream.id)
            with reading_errors(self._path):
                contents = self._state.contents(stream.id)
            return StreamFacts(
                name,
                stream.created_us,
                own.threshold,
                own.keeping,
                policy,
                keeping,
                self._budget_state(stream),
                own.revision,
                contents,
            )
