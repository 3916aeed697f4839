"""The settings of the store."""

from dataclasses import dataclass

from memory_store.errors import InvalidThreshold


@dataclass(frozen=True, slots=True)
class MemoryStoreConfig:
    """Settings of the store."""

    novelty_threshold: float = 0.10
    """Threshold of memories that are created without one, in (0, 2]."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a setting is out of range; the message names it.
        """
        try:
            check_threshold(self.novelty_threshold)
        except InvalidThreshold as error:
            raise ValueError(f"novelty_threshold: {error}") from error


def check_threshold(threshold: float) -> None:
    """Refuse thresholds that no cosine distance can be compared with.

    Raises:
        InvalidThreshold: outside (0, 2].
    """
    if not 0 < threshold <= 2:
        raise InvalidThreshold(f"expected a novelty threshold above 0 and at most 2, got {threshold}")
