"""What an application says of a frame: whether to keep it, how much it matters, and what it shows."""

from dataclasses import dataclass
from enum import IntEnum
from unicodedata import category

from memory_store.errors import InvalidHint


class Keep(IntEnum):
    """What an application wants of a frame."""

    AUTO = 0
    """Gate and policy decide."""

    ALWAYS = 1
    """It becomes an exemplar whatever they say."""

    NEVER = 2
    """It does not become an exemplar."""


MAX_PRIORITY = 100

MAX_LABELS = 16
"""Of one frame."""

MAX_LABEL_LENGTH = 63
"""In characters."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What an application says of a frame."""

    keep: Keep = Keep.AUTO
    """Whether it is to be kept."""

    priority: int = 0
    """Limits hold it back only for the sake of exemplars of this priority or a higher one; in [0, MAX_PRIORITY]."""

    labels: tuple[str, ...] = ()
    """What it shows; in order, each once."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InvalidHint: something is out of range.
        """
        if not 0 <= self.priority <= MAX_PRIORITY:
            raise InvalidHint(f"priority: expected 0 to {MAX_PRIORITY}, got {self.priority}")
        if len(self.labels) > MAX_LABELS:
            raise InvalidHint(f"labels: expected at most {MAX_LABELS}, got {len(self.labels)}")
        for label in self.labels:
            check_label(label)
        if list(self.labels) != sorted(set(self.labels)):
            raise InvalidHint(f"labels: expected each once and in order, got {list(self.labels)}")


def check_label(label: str) -> str:
    """Let a label through.

    Raises:
        InvalidHint: it is empty, too long, or has control characters.
    """
    if not 0 < len(label) <= MAX_LABEL_LENGTH or any(category(letter) == "Cc" for letter in label):
        raise InvalidHint(
            f"labels: expected 1 to {MAX_LABEL_LENGTH} characters without control characters, got {label[:100]!r}"
        )
    return label


NO_HINT = Hint()
"""The application says nothing."""
