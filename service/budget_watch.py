"""Warns when streams leave their budgets, and tells when they are back. Part of the caretaker's round."""

import logging

from memory_store.budget import Condition
from memory_store.memory import Memory

_LOG = logging.getLogger(__name__)

_OFF = (Condition.DRIFTING, Condition.AT_LIMIT)


class BudgetWatch:
    """Remembers how each budget was kept, and logs what has changed."""

    def __init__(self) -> None:
        """Begin with every stream on its budget."""
        self._conditions: dict[str, dict[str, Condition]] = {}

    def look(self, memory: Memory) -> None:
        """Look at the streams of a memory.

        Raises:
            MemoryStoreError: it was closed meanwhile.
        """
        states, known = memory.budget_states(), self._conditions.get(memory.identity.uuid, {})
        self._conditions[memory.identity.uuid] = {stream: state.condition for stream, (_, state) in states.items()}
        for stream, (threshold, state) in states.items():
            before = known.get(stream, Condition.HOLDING)
            if state.kept_of_target is None or state.condition is before:
                continue
            told = (
                f"memory {memory.name}, stream {stream}: {state.kept_of_target:.0%} of its budget was kept lately,"
                f" the threshold is {threshold:.4f}"
            )
            if state.condition is Condition.AT_LIMIT:
                _LOG.warning("%s, which is its limit: the budget cannot be held", told)
            elif state.condition is Condition.DRIFTING:
                _LOG.warning("%s: what it shows has changed", told)
            elif before in _OFF:
                _LOG.info("%s: it is back", told)
