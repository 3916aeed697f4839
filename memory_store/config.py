"""The settings of the store."""

from dataclasses import dataclass

from memory_store.errors import InvalidThreshold


@dataclass(frozen=True, slots=True)
class MemoryStoreConfig:
    """Settings of the store."""

    novelty_threshold: float = 0.10
    """Threshold of memories that are created without one, in (0, 2]."""

    max_memories: int = 256
    """Memories in the data folder, in [1, 100,000]; each that was used holds about five file descriptors."""

    max_streams: int = 1000
    """Streams of one memory, in [1, 100,000]."""

    curve_frames: int = 10_240
    """Embeddings that each memory holds for curves over thresholds, in [1,024, 1,000,000]; each takes some 650
    bytes, in memory and on disk. With more frames than that, curves are estimates."""

    record_frames: bool = True
    """Put on record what each counted frame looked like, some 290 bytes on disk at D = 256; if not, answers stand by
    the means of stays."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a setting is out of range; the message names it.
        """
        try:
            check_threshold(self.novelty_threshold)
        except InvalidThreshold as error:
            raise ValueError(f"novelty_threshold: {error}") from error
        for name, number in (("max_memories", self.max_memories), ("max_streams", self.max_streams)):
            if not 1 <= number <= 100_000:
                raise ValueError(f"{name}: expected 1 to 100000, got {number}")
        if not 1024 <= self.curve_frames <= 1_000_000:
            raise ValueError(f"curve_frames: expected 1024 to 1000000, got {self.curve_frames}")


def check_threshold(threshold: float) -> None:
    """Refuse thresholds that no cosine distance can be compared with.

    Raises:
        InvalidThreshold: outside (0, 2].
    """
    if not 0 < threshold <= 2:
        raise InvalidThreshold(f"expected a novelty threshold above 0 and at most 2, got {threshold}")
