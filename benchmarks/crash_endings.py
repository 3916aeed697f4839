"""When and how a server dies: drawn by a seed, from what lies ahead of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from benchmarks.crash_life import Death
from benchmarks.crash_profile import Ahead

_AT_EVERY_END = "close journal"
_AT_EVERY_START = ("open store", "open journal")

_LARGEST = {"decide and commit", "forget", "tidy", "compact", "erase", "train index", "delete memory", "adopt import"}
"""Steps that consist of others: the places in them are drawn with those."""

_FOCUSED = 0.7
"""Of the deaths are drawn from the steps that a scenario is about, while they lie ahead."""

_TRIES = 20
"""Draws after which a place may come again."""


class Power(Enum):
    """What becomes of what was not synced when the server died."""

    STAYS = "SIGKILL"
    LOST = "power loss"
    LOST_IN_PART = "power loss, some writes survive"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a life ends."""

    power: Power
    """What happens to the disk."""

    death: Death | None = None
    """The place where the server dies by itself."""

    kill_after_s: float | None = None
    """When it is killed from outside."""

    stop_after_s: float | None = None
    """When it is told to stop; it dies on the way."""


class Endings:
    """Draws endings: places that were drawn before come again only where others are hard to find."""

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance
        self._powers = self._drawn_powers()
        self._power = next(self._powers)
        self._drawn: set[tuple[str, int, bool]] = set()
        self.operations: dict[str, list[int]] = {}
        """By step: how many disk operations calls of it did; calls without any are left out."""

    def saw(self, step: str, operations: int) -> None:
        """Take note of how many disk operations a call of a step did."""
        if operations:
            self.operations.setdefault(step, []).append(operations)

    def took_place(self) -> None:
        """The death that was drawn has been; the next one is another kind."""
        self._power = next(self._powers)

    def ending(self, ahead: Ahead, focus: Sequence[str]) -> Ending:
        """Draw how a life ends.

        Args:
            ahead: what the server has to go through.
            focus: steps that are drawn more often.
        """
        chance, power = self._chance, self._power
        after = bool(chance.random() < 0.5)
        steps = [*ahead.calls, _AT_EVERY_END, *_AT_EVERY_START]
        if chance.random() < _FOCUSED:
            steps = [step for step in focus if step in ahead.calls] or steps
        kind = chance.choice(["disk", "disk in step", "step", "instant", "stop"], p=[0.2, 0.5, 0.15, 0.1, 0.05])
        step = str(chance.choice(steps))
        match str(kind):
            case "disk":
                # From the first operation to the last, each order of magnitude as often.
                operation = int(np.exp(chance.uniform(0, np.log(max(2, ahead.disk_operations)))))
                return Ending(power, Death(disk_operation=operation, after=after))
            case "disk in step":
                step = str(chance.choice([name for name in steps if self._has_places(name)] or [_AT_EVERY_END]))
                operation, after = self._place(step)
                return Ending(power, Death(step, self._call(step, ahead), disk_operation=operation, after=after))
            case "step":
                return Ending(power, Death(step, self._call(step, ahead), after=after))
            case "instant":
                return Ending(power, kill_after_s=float(chance.uniform(0, ahead.seconds)))
            case _:
                operation, after = self._place(_AT_EVERY_END)
                death = Death(_AT_EVERY_END, disk_operation=operation, after=after)
                return Ending(power, death, stop_after_s=float(chance.uniform(0, ahead.seconds)))

    def _call(self, step: str, ahead: Ahead) -> int:
        return int(self._chance.integers(1, ahead.calls.get(step, 1) + 1))

    def _has_places(self, step: str) -> bool:
        return step in self.operations and step not in _LARGEST

    def _place(self, step: str) -> tuple[int, bool]:
        number, after = 1, False
        for _ in range(_TRIES):
            number = int(self._chance.integers(1, self._chance.choice(self.operations.get(step, [8])) + 1))
            after = bool(self._chance.random() < 0.5)
            if (step, number, after) not in self._drawn:
                break
        self._drawn.add((step, number, after))
        return number, after

    def _drawn_powers(self) -> Iterator[Power]:
        """Every second death is a loss of power, every fourth one in part, in changing order."""
        powers = (Power.STAYS, Power.STAYS, Power.LOST, Power.LOST_IN_PART)
        while True:
            yield from (powers[place] for place in self._chance.permutation(len(powers)))
