"""What can go wrong with a store, and what is left afterwards."""


class MemoryStoreError(Exception):
    """Base of all errors of this package. Unless it says otherwise, nothing was changed."""


class InvalidName(MemoryStoreError):
    """A memory or stream name of another form than names have."""


class InvalidThreshold(MemoryStoreError):
    """A novelty threshold outside (0, 2]."""


class InvalidRetention(MemoryStoreError):
    """A limit of what is kept that nothing could meet."""


class InvalidPolicy(MemoryStoreError):
    """A policy of keeping that nothing could follow."""


class InvalidHint(MemoryStoreError):
    """A hint with a priority or labels out of range."""


class EmbeddingError(MemoryStoreError):
    """An embedding of the wrong shape, type or length."""


class MemoryNotFound(MemoryStoreError):
    """There is no memory of this name."""


class StreamNotFound(MemoryStoreError):
    """The memory has no stream of this name."""


class ExemplarNotFound(MemoryStoreError):
    """The memory has no exemplar of this id."""


class MomentNotFound(MemoryStoreError):
    """The stream has no frame at or before this time."""


class AttentionVersionNotFound(MemoryStoreError):
    """The memory has no such version of attention, or it was fitted to what came later than is asked about."""


class MemoryExists(MemoryStoreError):
    """The name is taken."""


class StreamExists(MemoryStoreError):
    """The name is taken."""


class TooManyMemories(MemoryStoreError):
    """There are as many memories as are taken."""


class TooManyStreams(MemoryStoreError):
    """The memory has as many streams as are taken."""


class PolicyChanged(MemoryStoreError):
    """The policy is no longer the one that the caller has read."""


class SessionMismatch(MemoryStoreError):
    """The session was first opened on other terms."""


class SequenceGap(MemoryStoreError):
    """Frames are missing before these; resend from `expected`."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected seq {expected}, got {actual}")
        self.expected = expected
        self.actual = actual


class MemoryUnreadable(MemoryStoreError):
    """The file of a memory is damaged, is none, or was written by a newer version. Other memories are not affected."""


class DataFolderInUse(MemoryStoreError):
    """Another process has the data folder open."""


class StoreUnavailable(MemoryStoreError):
    """The disk refused, or the memory was closed. Nothing was written; it is safe to try again."""
