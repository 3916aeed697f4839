"""How to take back what a command changed of thresholds and policies: as commands, to be told to people."""

import shlex
from collections.abc import Sequence

from framekeep.client import DEFAULT_ADDRESS
from framekeep.memories import Memory, Stream
from framekeep.policies import KeepingPolicy
from framekeep.policy_printing import policy_options


class Undo:
    """Words commands for the server at an address, which they name unless it is the default one."""

    def __init__(self, address: str) -> None:
        is_default = address == DEFAULT_ADDRESS
        self._memories = f"framekeep{'' if is_default else f' --server {shlex.quote(address)}'} memories"

    def of_threshold(self, before: Memory | Stream) -> str:
        """The command that gives a memory or stream the threshold it had."""
        command = f"{self._memories} threshold"
        match before:
            case Memory():
                return f"{command} {before.name} {before.novelty_threshold!r}"
            case Stream(novelty_threshold=None):
                return f"{command} {before.memory} --stream {before.name} --inherit"
            case Stream():
                return f"{command} {before.memory} {before.novelty_threshold!r} --stream {before.name}"

    def of_keeping(self, before: Memory | Stream) -> str:
        """The command that gives a memory or stream the policy it had."""
        command = f"{self._memories} keep"
        match before:
            case Memory():
                is_own = before.keeping != KeepingPolicy()
                return f"{command} {before.name} {policy_options(before.keeping) if is_own else '--clear'}"
            case Stream():
                options = "--clear" if before.keeping is None else policy_options(before.keeping)
                return f"{command} {before.memory} --stream {before.name} {options}"

    def of_budget(self, before: Memory | Stream, streams: Sequence[Stream]) -> list[str]:
        """The commands that take a budget back, in order; it has moved the thresholds of those who follow it by then.

        Args:
            before: the memory or stream that was put on the budget, as it was.
            streams: those of the memory, as they were.
        """
        followers = [stream for stream in streams if stream.keeping is None] if isinstance(before, Memory) else []
        return [self.of_keeping(before), self.of_threshold(before), *map(self.of_threshold, followers)]
