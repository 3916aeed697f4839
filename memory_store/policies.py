"""Which threshold and which policy of keeping are in force for which stream. A copy of what is on record."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from memory_store.keeping import Keeping
from memory_store.records import Policy


class Unchanged(Enum):
    """Says of a part of a policy that it stays as it is; None says that it is lifted."""

    UNCHANGED = 0


UNCHANGED = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """What was put in force; None in a stream's record: that of the memory holds."""

    revision: int
    """Its number; grows with every change in a memory."""

    stream_id: int | None
    """The stream; None for the memory itself."""

    threshold: float | None
    """In (0, 2]; the memory's records have one."""

    keeping: Keeping | None
    """The memory's records have one."""


@dataclass(frozen=True, slots=True)
class _Own:
    """The last record of a stream or of the memory, and since which record each part of it is as it is."""

    record: PolicyRecord
    threshold_revision: int
    keeping_revision: int


class Policies:
    """The policies of a memory; stream None stands for the memory itself."""

    def __init__(self, records: Iterable[PolicyRecord]) -> None:
        """Take the records, oldest first; the first is the memory's."""
        self._own: dict[int | None, _Own] = {}
        self._last_revision = 0
        for record in records:
            self.put(record)

    def put(self, record: PolicyRecord) -> None:
        """Put a record in force."""
        before = self._of(record.stream_id)
        threshold = record.threshold != before.record.threshold
        keeping = record.keeping != before.record.keeping
        again = not threshold and not keeping
        self._own[record.stream_id] = _Own(
            record,
            record.revision if threshold or again else before.threshold_revision,
            record.revision if keeping or again else before.keeping_revision,
        )
        self._last_revision = record.revision

    def copy(self) -> "Policies":
        """Copy what is in force."""
        copied = Policies(())
        copied._own = dict(self._own)
        copied._last_revision = self._last_revision
        return copied

    def _of(self, stream_id: int | None) -> _Own:
        return self._own.get(stream_id) or _Own(PolicyRecord(0, stream_id, None, None), 0, 0)

    def own(self, stream_id: int | None) -> PolicyRecord:
        """Give the last record of a stream alone, or of the memory; revision 0 if there is none."""
        return self._of(stream_id).record

    def in_force(self, stream_id: int | None) -> Policy:
        """Give the threshold that decides, under the latest record that has a say in it or in the policy of keeping."""
        own, memory = self._of(stream_id), self._of(None)
        threshold, threshold_revision, keeping_revision = (
            own.record.threshold,
            own.threshold_revision,
            own.keeping_revision,
        )
        if threshold is None:
            threshold = memory.record.threshold
            threshold_revision = max(threshold_revision, memory.threshold_revision)
        if own.record.keeping is None:
            keeping_revision = max(keeping_revision, memory.keeping_revision)
        if threshold is None:
            raise ValueError("expected a threshold in the record of the memory, got none")
        return Policy(max(threshold_revision, keeping_revision), threshold)

    def keeping(self, stream_id: int | None) -> Keeping:
        """Give the policy of keeping that decides."""
        return self._of(stream_id).record.keeping or self._of(None).record.keeping or Keeping()

    @property
    def next_revision(self) -> int:
        """The number of the next record."""
        return self._last_revision + 1
