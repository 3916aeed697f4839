"""The streams of one memory: their names, and the thresholds and policies in force, for them and for the memory."""

import threading
from collections.abc import Callable
from pathlib import Path

from memory_store.budget import BudgetState, Control
from memory_store.config import check_threshold
from memory_store.errors import PolicyChanged, StreamExists, StreamNotFound, TooManyStreams
from memory_store.facts import StreamFacts
from memory_store.journal import Journal, reading_errors
from memory_store.keeping import Keeping
from memory_store.policies import UNCHANGED, PolicyRecord, Unchanged
from memory_store.records import Policy
from memory_store.session_state import StreamState
from memory_store.state import MemoryState


class Streams:
    """Names and policies. Safe for several threads; None stands for the memory itself."""

    def __init__(
        self,
        path: Path,
        journal: Journal,
        state: MemoryState,
        lock: threading.RLock,
        check_usable: Callable[[], None],
        most: int,
    ) -> None:
        """Take over what the journal holds.

        Args:
            path: of the journal.
            journal: the journal.
            state: its copies.
            lock: the memory's.
            check_usable: raises if nothing may be done; called under the lock.
            most: streams that are taken.
        """
        self._path = path
        self._journal = journal
        self._state = state
        self._lock = lock
        self._check_usable = check_usable
        self._most = most

    def policy(self, stream: str | None = None) -> Policy:
        """Give the policy in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._state.policies.in_force(None if stream is None else self.state(stream).id)

    def keeping(self, stream: str | None = None) -> Keeping:
        """Give the policy of keeping in force for a stream, or where a stream has none of its own.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self._state.policies.keeping(None if stream is None else self.state(stream).id)

    def set(
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
            stream_id = None if stream is None else self.state(stream).id
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

    def create(self, name: str, threshold: float | None, keeping: Keeping | None = None) -> None:
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
                raise StreamExists(f"memory {self._path.stem} has a stream {name} already")
            self.state(name, create=True)
            if threshold is not None or keeping is not None:
                self.set(name, threshold=threshold, keeping=keeping)

    def state(self, name: str, *, create: bool = False) -> StreamState:
        """Give where a stream stands; under the lock.

        Args:
            name: its name.
            create: add it if it is not there.

        Raises:
            StreamNotFound: there is no such stream.
            TooManyStreams: it is to be added, and there are as many as are taken.
            StoreUnavailable: the disk refused.
        """
        found = self._state.stream(name)
        if found is not None:
            return found
        if not create:
            raise StreamNotFound(f"memory {self._path.stem} has no stream {name}")
        if len(self._state.streams) >= self._most:
            raise TooManyStreams(f"expected at most {self._most} streams in memory {self._path.stem}")
        stream_id, created_us = self._journal.add_stream(name)
        stream = self._state.streams[stream_id] = StreamState(stream_id, name, created_us, next_position=0)
        return stream

    def id_of(self, name: str) -> int:
        """Give the number of a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            return self.state(name).id

    def names(self) -> dict[int, str]:
        """Give the names of all streams by their numbers."""
        with self._lock:
            return {stream.id: stream.name for stream in self._state.streams.values()}

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

    def facts(self, name: str) -> StreamFacts:
        """Describe a stream.

        Raises:
            StreamNotFound: there is no such stream.
        """
        with self._lock:
            self._check_usable()
            stream = self.state(name)
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
