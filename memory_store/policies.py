"""Which threshold is in force for which stream. A copy of what the journal has on record."""

from collections.abc import Iterable

from memory_store.records import Policy


class Policies:
    """The policies of a memory; stream None stands for the memory itself."""

    def __init__(self, records: Iterable[tuple[int, int | None, float | None]]) -> None:
        """Take the records (revision, stream, threshold), oldest first; the first is the memory's."""
        self._own: dict[int | None, Policy] = {}
        self._last_revisions: dict[int | None, int] = {}
        for record in records:
            self.put(*record)

    def put(self, revision: int, stream_id: int | None, threshold: float | None) -> None:
        """Put a threshold in force, or, without one, return a stream to that of the memory."""
        self._last_revisions[stream_id] = revision
        if threshold is None:
            self._own.pop(stream_id, None)
        else:
            self._own[stream_id] = Policy(revision, threshold)

    def own(self, stream_id: int) -> Policy | None:
        """Give the policy of a stream alone, None if that of the memory holds."""
        return self._own.get(stream_id)

    def in_force(self, stream_id: int | None) -> Policy:
        """Give the policy that decides."""
        return self._own.get(stream_id) or self._own[None]

    def last_revision(self, stream_id: int | None) -> int:
        """Give the last record that concerns a stream alone, or the memory; 0 if there is none."""
        return self._last_revisions.get(stream_id, 0)

    @property
    def next_revision(self) -> int:
        """The number of the next record."""
        return max(self._last_revisions.values()) + 1
