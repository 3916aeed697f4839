"""One memory: the novelty gate on the frame's way, and what the query's way reads.

Looking and storing share one lock, and a look sees what its group has already decided, so a picture that two streams
show at once is stored once. The journal is committed before the index and the forest are touched; opening the memory
replays what they missed.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from memory_store import loading
from memory_store.budget import BudgetState
from memory_store.change import Change
from memory_store.code_lists import CodeLists
from memory_store.config import MemoryStoreConfig, check_threshold
from memory_store.curves import Curves
from memory_store.embedding_table import Ids
from memory_store.errors import (
    ExemplarNotFound,
    MemoryStoreError,
    SessionMismatch,
    StoreUnavailable,
)
from memory_store.facts import ExemplarFacts, MemoryFacts, ShownSighting, StreamFacts, ThresholdCurve
from memory_store.gate import Gate, check_embedding
from memory_store.index import PROPOSALS
from memory_store.index_upkeep import Workers
from memory_store.journal import Journal, now_us, reading_errors
from memory_store.keeping import Keeping
from memory_store.lessons import Lessons
from memory_store.novelty import Neighbour, distance
from memory_store.policies import UNCHANGED, Unchanged
from memory_store.reading import Reading
from memory_store.records import (
    Arrival,
    Clock,
    CompactedCounts,
    Embedding,
    ForgottenCounts,
    Policy,
    Retention,
    Session,
    Verdict,
)
from memory_store.removal import Removal
from memory_store.scope import Scope
from memory_store.session_state import StreamState
from memory_store.state import MemoryState
from memory_store.streams import Streams
from memory_store.tuning import Tuning
from memory_store.view import View, view_of

_LOG = logging.getLogger(__name__)


class Memory:
    """A named, isolated store with one encoder version and a novelty policy. Safe for several threads."""

    def __init__(self, name: str, path: Path, config: MemoryStoreConfig, workers: Workers) -> None:
        """Open a memory and make the copies of its journal.

        Args:
            name: its name.
            path: its journal.
            config: how many streams it takes, what it holds for curves, and whether frames go on record.
            workers: the threads that work for indexes.

        Raises:
            MemoryUnreadable: the journal cannot be used; nothing was changed.
            StoreUnavailable: it cannot be read at present; nothing was changed.
        """
        self.name = name
        self._path = path
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
        self._streams = Streams(path, self._journal, self._state, self._lock, self._check_usable, config.max_streams)
        self._gate = Gate(self._state, identity.dimension, records_frames=config.record_frames)
        self._tuning = Tuning(path, identity.uuid, identity.dimension, config.curve_frames, workers.aside)
        lost = self.reading.frames_of_exemplars(self._tuning.next_exemplar, config.curve_frames)
        if lost:
            self._tuning.make_up(lost, self._state.next_ids.exemplar)
        self._curves = Curves(self._state, self._lock, self.reading, self._tuning, self.view, config.curve_frames)
        self._removal = Removal(self._journal, self._state, self._lock, self._check_usable, self._follow, self._tuning)

    def close(self, refusal: MemoryStoreError, *, deleted: bool = False) -> None:
        """Close the memory, after the group that is being written.

        Args:
            refusal: what is raised from then on.
            deleted: its files go, so that nothing needs to be saved.
        """
        self._state.stop()
        with suppress(MemoryStoreError):  # what is not on record by then is not missed by anything that was promised
            self.lessons.record_served()
        with self._lock:
            self._refusal = refusal
            self.reading.close(refusal)
            self._journal.close()
        self._tuning.close(save=not deleted)

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
            stream_id = self._streams.state(stream, create=True).id
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
        self._gate.check(arrivals)
        with self._lock:
            self._check_usable()
            group, verdicts = self._gate.decide(arrivals)
            self._journal.commit(group)
            with self._following():
                self._state.take_in(group)
            self._tuning.add(self._gate.seen(arrivals, verdicts), self._state.next_ids.exemplar)
            return verdicts

    def look(self, embedding: Embedding) -> Neighbour | None:
        """Find the exemplar that the novelty gate would compare a frame with; None if there is none.

        The distance is exact. In a large memory a nearer one may be missed, which costs storage, never coverage.
        """
        check_embedding(embedding, self.identity.dimension)
        with self._lock:
            self._check_usable()
            return self._gate.look(embedding)

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
        """Merge exemplars within a threshold of an older one, as looks find them; see `memory_store.compaction`.

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

    # Policies and names: see `memory_store.streams`

    def policy(self, stream: str | None = None) -> Policy:
        """Give the policy in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        return self._streams.policy(stream)

    def keeping(self, stream: str | None = None) -> Keeping:
        """Give the policy of keeping in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        return self._streams.keeping(stream)

    def set_threshold(self, stream: str | None, threshold: float | None, expected_revision: int | None = None) -> None:
        """Change the threshold of a stream (None: back to that of the memory) or of the memory; see `set_policy`."""
        self._streams.set(stream, threshold=threshold, expected_revision=expected_revision)

    def set_policy(
        self,
        stream: str | None,
        *,
        threshold: float | Unchanged | None = UNCHANGED,
        keeping: Keeping | Unchanged | None = UNCHANGED,
        expected_revision: int | None = None,
    ) -> None:
        """Change what is in force; see `memory_store.streams.Streams.set`.

        Raises:
            InvalidThreshold, StreamNotFound, PolicyChanged: as they say; nothing was changed.
            StoreUnavailable: the disk refused; what was in force still is.
        """
        self._streams.set(stream, threshold=threshold, keeping=keeping, expected_revision=expected_revision)

    def create_stream(self, name: str, threshold: float | None, keeping: Keeping | None = None) -> None:
        """Add a stream ahead of its first session; see `memory_store.streams.Streams.create`.

        Raises:
            StreamExists, TooManyStreams, InvalidThreshold: as they say; nothing was changed.
            StoreUnavailable: the disk refused; the stream may be there without its threshold and policy.
        """
        self._streams.create(name, threshold, keeping)

    def stream_id(self, name: str) -> int:
        """Give the number of a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        return self._streams.id_of(name)

    def stream_names(self) -> dict[int, str]:
        """Give the names of all streams by their numbers."""
        return self._streams.names()

    def stream_facts(self, name: str) -> StreamFacts:
        """Describe a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        return self._streams.facts(name)

    def budget_states(self) -> dict[str, tuple[float, BudgetState]]:
        """Tell the threshold of every stream that has a budget, and how that is kept."""
        return self._streams.budget_states()

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
                lists, codes = self._state.lists_of(snapshot)
            named = None if codes is None else partial(self._named, codes)
            try:
                return view_of(snapshot, lists, scope, self.reading, self.embedding, named)
            except ExemplarNotFound:
                continue  # it was forgotten or merged since the snapshot: the next one knows

    def _named(self, codes: CodeLists, query: Embedding, lists: Ids, number: int) -> Ids:
        with self._lock:
            return codes.named(query, number, lists)

    def curve(self, thresholds: Sequence[float], scope: Scope, examples: int) -> ThresholdCurve:
        """Tell what would have been kept at other thresholds; see `memory_store.curves.Curves.tell`.

        Raises:
            InvalidThreshold: one is outside (0, 2].
        """
        return self._curves.tell(thresholds, scope, examples)

    def nearest(self, embedding: Embedding, view: View, number: int) -> list[Neighbour]:
        """Find the exemplars of a view that are most similar to an embedding, most similar first, exactly.

        Reads all of them, some at a time, so that ingest goes on.
        """
        check_embedding(embedding, self.identity.dimension)
        among = None if view.scope.is_everything else view.exemplar_ids()
        found: dict[int, Embedding] = {}
        with self._lock:
            self._check_usable()
            index = self._state.upkeep.index
            parts = index.slices()
        for part in parts:
            with self._lock:
                # As with looks: a few more than asked for, and the exact distance puts them in order.
                found.update(index.search(embedding, number + PROPOSALS, part, among))
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
            return self._streams.state(name)

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
