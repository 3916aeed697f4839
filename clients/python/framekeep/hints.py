"""What an application knows of a frame that it sends: whether to keep it, how much it matters, and what it shows."""

import unicodedata
from collections.abc import Sequence
from enum import Enum

from framekeep.errors import InvalidRequest

HIGHEST_PRIORITY = 100
"""What the contract allows."""

MOST_LABELS, LONGEST_LABEL = 16, 63
"""Labels of a frame, and characters of each, as the contract has it."""


_NO_TEXT = ("Cc", "Cs")
"""Categories of characters that no label has: control characters, and the surrogates that stand for broken UTF-8."""


class Keep(Enum):
    """What an application wants of a frame; it outranks gate and policy."""

    AUTO = "auto"
    """Gate and policy decide."""

    ALWAYS = "always"
    """Keep it, even if it is within the threshold of an exemplar, and whatever the policy's limits."""

    NEVER = "never"
    """Do not make it an exemplar; if it is novel, it is WITHHELD."""


def checked_priority(priority: int) -> int:
    """Give back a priority if a frame may have it.

    Raises:
        InvalidRequest: out of range.
    """
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise InvalidRequest(
            f"expected a priority from 0 to {HIGHEST_PRIORITY}, got {priority}", reason="INVALID_FIELD"
        )
    return priority


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Give back labels if a frame may have them, each once.

    Raises:
        InvalidRequest: too many, or one of another form.
    """
    unique = labels_of_form(labels)
    if len(unique) > MOST_LABELS:
        raise InvalidRequest(f"expected at most {MOST_LABELS} labels, got {len(unique)}", reason="INVALID_FIELD")
    return unique


def labels_of_form(labels: Sequence[str]) -> tuple[str, ...]:
    """Give back labels, each once, if each has the form of one; however many there are, as questions may name them.

    Raises:
        InvalidRequest: one of another form.
    """
    if isinstance(labels, str):
        raise InvalidRequest(f"expected a sequence of labels, got the string {labels!r}", reason="INVALID_FIELD")
    for label in labels:
        if not 1 <= len(label) <= LONGEST_LABEL or any(unicodedata.category(letter) in _NO_TEXT for letter in label):
            raise InvalidRequest(
                f"expected a label of 1 to {LONGEST_LABEL} characters in UTF-8 without control characters, got "
                f"{label!r}",
                reason="INVALID_FIELD",
            )
    return tuple(dict.fromkeys(labels))
