"""How to take back what a command changed of thresholds and policies: as commands, to be told to people."""

from collections.abc import Sequence

from framekeep.memories import Memory, Stream
from framekeep.policies import KeepingPolicy
from framekeep.policy_printing import policy_options


def undo_of_threshold(before: Memory | Stream) -> str:
    """The command that gives a memory or stream the threshold it had."""
    match before:
        case Memory():
            return f"framekeep memories threshold {before.name} {before.novelty_threshold!r}"
        case Stream(novelty_threshold=None):
            return f"framekeep memories threshold {before.memory} --stream {before.name} --inherit"
        case Stream():
            return f"framekeep memories threshold {before.memory} {before.novelty_threshold!r} --stream {before.name}"


def undo_of_keeping(before: Memory | Stream) -> str:
    """The command that gives a memory or stream the policy it had."""
    match before:
        case Memory():
            is_own = before.keeping != KeepingPolicy()
            return f"framekeep memories keep {before.name} {policy_options(before.keeping) if is_own else '--clear'}"
        case Stream():
            options = "--clear" if before.keeping is None else policy_options(before.keeping)
            return f"framekeep memories keep {before.memory} --stream {before.name} {options}"


def undo_of_budget(before: Memory | Stream, streams: Sequence[Stream]) -> list[str]:
    """The commands that take a budget back, in order; it has moved the thresholds of those who follow it by then.

    Args:
        before: the memory or stream that was put on the budget, as it was.
        streams: those of the memory, as they were.
    """
    followers = [stream for stream in streams if stream.keeping is None] if isinstance(before, Memory) else []
    return [undo_of_keeping(before), undo_of_threshold(before), *map(undo_of_threshold, followers)]
