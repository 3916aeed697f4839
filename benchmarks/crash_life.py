"""One life of a server that is going to die: what it serves, and where its death lies."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Death:
    """A place on the write path. Both parts set: that operation, counted from when that step begins."""

    step: str | None = None
    """One of `crash_steps.STEPS`."""

    call: int = 1
    """Which call of the step, from 1."""

    disk_operation: int = 0
    """Which operation on the disk, from 1; 0: the step itself is the place."""

    after: bool = False
    """When it has been done, not before."""

    def __str__(self) -> str:
        """The place in words."""
        side = "after" if self.after else "before"
        operation = f"{side} disk operation {self.disk_operation}" if self.disk_operation else ""
        if self.step is None:
            return operation
        step = f"{self.step} (call {self.call})"
        return f"{operation} of {step}" if operation else f"{side} {step}"


@dataclass(frozen=True, slots=True)
class Life:
    """What a server is started with."""

    data: str
    """Its data folder."""

    traced: str
    """The folder whose operations are recorded; holds the data folder."""

    log: str
    """Where they are recorded."""

    marks: str
    """Where the beginnings and ends of steps are recorded."""

    death: Death | None = None
    """Where it ends by itself; None: it is killed from outside, or told to stop."""

    checkpoint_pages: int = 1000
    """Pages in the write-ahead log from which on SQLite folds it into the file; few make that happen often."""

    small_sizes: bool = False
    """What a server does in large pieces is done in small ones, see `crash_steps.SMALL_SIZES`."""

    fault: str | None = None
    """One of `crash_steps.FAULTS`, to see that it is found."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> "Life":
        """Read what `to_json` wrote."""
        fields = json.loads(line)
        death = fields.pop("death")
        return Life(**fields, death=None if death is None else Death(**death))
