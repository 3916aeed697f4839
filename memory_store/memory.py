"""One memory: the novelty gate on the frame's way, and what the query's way reads.

Looking and storing share one lock, and a look sees what its group has already decided, so a picture that two streams
show at once is stored once. The journal is committed before the index and the forest are touched; opening the memory
replays what they missed.
"""

import logging
import threading
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory_store.config import check_threshold
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
from memory_store.facts import Contents, ExemplarFacts, MemoryFacts, ShownSighting, StreamFacts
from memory_store.forest import Forest
from memory_store.group import Group, SessionState, StreamState
from memory_store.index import PROPOSALS, ExemplarIndex
from memory_store.journal import Journal, now_us, reading_errors
from memory_store.novelty import Neighbour, distance, nearest
from memory_store.policies import Policies
from memory_store.reading import Reading
from memory_store.records import Arrival, Clock, Embedding, Encoded, Policy, Session, Unusable, Verdict
from memory_store.scope import Scope
from memory_store.view import View, view_of, within

_LOG = logging.getLogger(__name__)

_LENGTH_TOLERANCE = 1e-4
"""How far an embedding's length may be from 1; float32 rounding over a few thousand components stays below it."""

_LOAD_BATCH = 4096
"""Exemplars read at a time when a memory is opened."""


class Memory:
    """A named, isolated store with one encoder version and a novelty policy. Safe for several threads."""

    def __init__(self, name: str, path: Path, max_streams: int) -> None:
        """Open a memory and rebuild its index and forest from the journal.

        Args:
            name: its name.
            path: its journal.
            max_streams: streams it takes.

        Raises:
            MemoryUnreadable: the journal cannot be used; nothing was changed.
            StoreUnavailable: it cannot be read at present; nothing was changed.
        """
        self.name = name
        self._path = path
        self._max_streams = max_streams
        self._lock = threading.RLock()
        self._refusal: MemoryStoreError | None = None
        self._journal = Journal(path)
        self.identity = self._journal.identity
        """What the memory is bound to."""
        self._sessions: dict[int, SessionState] = {}
        self._index = ExemplarIndex(self.identity.dimension)
        self._forest = Forest(self.identity.dimension)
        try:
            with reading_errors(path):
                self._load()
                self.reading = Reading(path)
                """Answers about frames, sightings and exemplars."""
        except BaseException:
            self._journal.close()
            raise

    def _load(self) -> None:
        self._streams = {stream.id: stream for stream in self._journal.streams()}
        self._next_ids = self._journal.next_ids()
        self._policies = Policies(self._journal.policies())
        for ids, embeddings in self._journal.exemplars(_LOAD_BATCH):
            self._index.add(ids, embeddings)
        for stay, sightings in self._journal.stays():
            self._forest.grow([stay], [(None, sighting) for sighting in sightings])

    def close(self, refusal: MemoryStoreError) -> None:
        """Close the memory, after the group that is being written; `refusal` is what is raised from then on."""
        with self._lock:
            self._refusal = refusal
            self.reading.close(refusal)
            self._journal.close()

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
                state = self._journal.session(stream_id, uuid)
            if state is None:
                self._journal.add_session(stream_id, uuid, clock, now_us() if start_us is None else start_us)
                state = self._journal.session(stream_id, uuid)
            if state is None or state.clock != clock:
                raise SessionMismatch(f"expected the clock that session {uuid} was first opened with, got {clock.name}")
            self._sessions[state.id] = state
            return Session(state.id, stream, clock, state.start_us, state.next_seq, self._policies.in_force(stream_id))

    def close_session(self, session_id: int) -> None:
        """Forget where a session stands; it can be opened again."""
        with self._lock:
            self._sessions.pop(session_id, None)

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
            verdicts = [self._decide(group, arrival) for arrival in arrivals]
            self._journal.commit(group)
            self._take_in(group)
            return verdicts

    def _group(self, arrivals: Sequence[Arrival]) -> Group:
        group = Group(copy(self._next_ids))
        for session_id in {arrival.session_id for arrival in arrivals}:
            session = copy(self._sessions[session_id])
            stream = self._streams[session.stream_id]
            group.sessions[session_id] = session
            group.streams[stream.id] = replace(stream, open_stays=dict(stream.open_stays))
        return group

    def _decide(self, group: Group, arrival: Arrival) -> Verdict:
        if isinstance(arrival, Unusable):
            return group.reject(arrival)

        def stored(exemplar_id: int) -> Embedding:
            pending = group.exemplars.get(exemplar_id)
            return self._index.embedding(exemplar_id) if pending is None else pending.embedding

        def look(embedding: Embedding) -> Neighbour | None:
            return nearest(embedding, [*self._index.propose(embedding, PROPOSALS), *group.new_embeddings()])

        stream_id = group.sessions[arrival.session_id].stream_id
        return group.count(arrival, self._policies.in_force(stream_id), stored, look)

    def _take_in(self, group: Group) -> None:
        """Let the copies follow the journal; if they cannot, nothing may be built on them any more."""
        try:
            self._next_ids = group.next_ids
            self._sessions.update(group.sessions)
            self._streams.update(group.streams)
            self._forest.grow(
                group.stays, [(group.grown.get(sighting.id), sighting) for sighting in group.sightings.values()]
            )
            if group.exemplars:
                ids, embeddings = zip(*group.new_embeddings(), strict=True)
                self._index.add(np.array(ids, np.int64), np.stack(embeddings))
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

    # Policies and names

    def policy(self, stream: str | None = None) -> Policy:
        """Give the policy in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._policies.in_force(None if stream is None else self._stream_state(stream).id)

    def set_threshold(self, stream: str | None, threshold: float | None, expected_revision: int | None = None) -> None:
        """Change the threshold of a stream (None: back to that of the memory) or of the memory.

        The next frame decided obeys it. Every change is on record.

        Raises:
            InvalidThreshold: outside (0, 2], or None for the memory.
            StreamNotFound: there is no such stream.
            PolicyChanged: the last record that concerns it is not `expected_revision`.
            StoreUnavailable: the disk refused; the old threshold is in force.
        """
        if threshold is not None or stream is None:
            check_threshold(float("nan") if threshold is None else threshold)
        with self._lock:
            self._check_usable()
            stream_id = None if stream is None else self._stream_state(stream).id
            own = self._policies.last_revision(stream_id)
            if expected_revision is not None and expected_revision != own:
                raise PolicyChanged(f"expected revision {expected_revision}, found {own}")
            record = (self._policies.next_revision, stream_id, threshold)
            self._journal.add_policy(*record)
            self._policies.put(*record)

    def create_stream(self, name: str, threshold: float | None) -> None:
        """Add a stream ahead of its first session.

        Raises:
            StreamExists: the name is taken.
            TooManyStreams: there are as many as are taken.
            InvalidThreshold: outside (0, 2].
            StoreUnavailable: the disk refused; the stream may be there without its threshold.
        """
        if threshold is not None:
            check_threshold(threshold)
        with self._lock:
            self._check_usable()
            if any(stream.name == name for stream in self._streams.values()):
                raise StreamExists(f"memory {self.name} has a stream {name} already")
            self._stream_state(name, create=True)
            if threshold is not None:
                self.set_threshold(name, threshold)

    def _stream_state(self, name: str, *, create: bool = False) -> StreamState:
        for stream in self._streams.values():
            if stream.name == name:
                return stream
        if not create:
            raise StreamNotFound(f"memory {self.name} has no stream {name}")
        if len(self._streams) >= self._max_streams:
            raise TooManyStreams(f"expected at most {self._max_streams} streams in memory {self.name}")
        stream = self._journal.add_stream(name)
        self._streams[stream.id] = stream
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
            return {stream.id: stream.name for stream in self._streams.values()}

    # The query's way

    def embedding(self, exemplar_id: int) -> Embedding:
        """Give the embedding of an exemplar.

        Raises:
            ExemplarNotFound: there is none of this id.
        """
        with self._lock:
            if not 0 < exemplar_id < self._next_ids.exemplar:
                raise ExemplarNotFound(f"memory {self.name} has no exemplar {exemplar_id}")
            return self._index.embedding(exemplar_id)

    def view(self, scope: Scope) -> View:
        """Take the stays within a scope, with the blocks above them, as they are now.

        Stays that the scope cuts count only the frames within it (see `memory_store.view.within`).
        """
        with self._lock:
            leaves = self._forest.leaves()
        return view_of(leaves if scope.is_everything else within(leaves, scope, self.reading, self.embedding))

    def nearest(self, embedding: Embedding, view: View, number: int) -> list[Neighbour]:
        """Find the exemplars of a view that are most similar to an embedding, most similar first, exactly."""
        self._check_embedding(embedding)
        among: NDArray[np.int64] = np.unique(view.exemplar_ids)
        with self._lock:
            everything = len(among) == len(self._index)
            # As with looks: a few more are proposed than asked for, and the exact distance puts them in order.
            proposed = self._index.propose(embedding, number + PROPOSALS, None if everything else among)
        found = [Neighbour(exemplar_id, distance(embedding, other)) for exemplar_id, other in proposed]
        return sorted(found, key=lambda neighbour: neighbour.novelty)[:number]

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
            contents = self._contents(None)
            return MemoryFacts(
                self.name,
                self.identity.encoder_version,
                self.identity.dimension,
                self.identity.created_us,
                self._policies.in_force(None),
                replace(contents, stored_bytes=self._journal.size_bytes()),
            )

    def stream_facts(self, name: str) -> StreamFacts:
        """Describe a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            self._check_usable()
            stream = self._stream_state(name)
            own = self._policies.own(stream.id)
            return StreamFacts(
                name,
                stream.created_us,
                None if own is None else own.threshold,
                self._policies.in_force(stream.id),
                self._policies.last_revision(stream.id),
                self._contents(stream.id),
            )

    def _contents(self, stream_id: int | None) -> Contents:
        stays = self._forest.facts()
        if stream_id is not None:
            stays = stays.of_stream(stream_id)
        with reading_errors(self._path):
            counts = self._journal.counts(stream_id)
        contents = replace(counts, stays=len(stays), counted_frames=int(stays.column("frames").sum()))
        if not len(stays):
            return contents
        first_us, last_us = int(stays.column("first_us").min()), int(stays.column("last_us").max())
        return replace(contents, first_us=first_us, last_us=last_us)
