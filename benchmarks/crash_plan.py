"""What is going on when a server dies: the scenarios."""

from dataclasses import dataclass

from benchmarks.crash_first_schema import OldMemory
from benchmarks.crash_operations import CreateMemory, DeleteMemory, Operation, SetThreshold, StreamFrames
from benchmarks.crash_removals import Compact, Crash, Forget, Retain
from benchmarks.crash_scenes import Footage
from benchmarks.crash_transfers import ExportMemory, FileOfFirstSchema, ImportMemory

LANE = tuple[Operation, ...]

_SESSION = "5e550000-0000-4000-8000-{:012d}"

_FRAMES = 280
"""Enough for the first block of 100 stays to be closed."""

_OLD_FRAMES = 40
"""Frames of a memory of the first schema version."""


_ERASING = ("take some out", "give room back", "empty log", "write copy of index", "write copy for curves")
_FORGETTING = ("put forgetting on record", *_ERASING, "end forgetting")
_INDEX = ("train index", "take over from old index", "write copy of index")
_FILES = ("take export", "write import", "check import", "move import", "adopt import")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done to one server, over all its lives."""

    name: str
    """For tables."""

    lanes: tuple[LANE, ...]
    """Each is done in order, all at the same time, each to memories of its own."""

    starts_empty: bool = False
    """The first life finds no data folder, and creates it."""

    small_sizes: bool = False
    """See `Life.small_sizes`."""

    focus: tuple[str, ...] = ()
    """Steps that it is about."""

    old: OldMemory | None = None
    """The memory "m" as it is there before the first life."""


def scenarios(seed: int) -> list[Scenario]:
    """All of them, with footage of this seed."""
    return [*_of_streams(seed), *_of_removals(seed), *_of_files(seed)]


def _frames(footage: Footage, until: int, memory: str = "m", number: int = 1) -> StreamFrames:
    return StreamFrames(memory, _SESSION.format(number), footage, until)


def _of_streams(seed: int) -> list[Scenario]:
    footage = Footage(seed, _FRAMES)
    plain = (CreateMemory("m"), _frames(footage, _FRAMES))
    thresholds = (
        *(CreateMemory("m"), _frames(footage, 90), SetThreshold("m", 0.03)),
        *(_frames(footage, 130), SetThreshold("m", 0.1), _frames(footage, 240)),
    )
    others: list[Operation] = []
    for number in range(2, 8):
        name = f"passing-{number}"
        others += [CreateMemory(name), _frames(footage, 30, name, number), DeleteMemory(name)]
        others += [CreateMemory(f"staying-{number}")]
    old = OldMemory(_SESSION.format(1), footage, _OLD_FRAMES)
    return [
        Scenario("a stream", (plain,)),
        Scenario("a changing threshold", (thresholds,)),
        Scenario("memories come and go", (plain, tuple(others))),
        Scenario("two streams", (plain, (CreateMemory("n"), _frames(footage, 200, "n", 8)))),
        Scenario("a first start", (plain,), starts_empty=True),
        Scenario("an old memory", ((_frames(footage, _OLD_FRAMES + 80),),), focus=("migrate",), old=old),
        Scenario("a trained index", (plain,), small_sizes=True, focus=_INDEX),
    ]


def _of_removals(seed: int) -> list[Scenario]:
    footage = Footage(seed, _FRAMES)
    # The second range ends with the last frame so far, and cuts what is on screen.
    forgetting = (
        *(CreateMemory("m"), _frames(footage, 120), Forget("m", 21, 80)),
        *(_frames(footage, 150), Forget("m", 100, 149), Crash("m", "once told"), _frames(footage, 170)),
    )
    # At so low a threshold nearly every frame is novel, and those of one scene can be merged.
    compacting = (
        *(CreateMemory("m"), SetThreshold("m", 0.001), _frames(footage, 110)),
        *(Compact("m", 0.1), Crash("m", "once told"), _frames(footage, 130)),
    )
    retaining = (
        *(CreateMemory("m"), _frames(footage, 130), Retain("m", 40)),
        *(Crash("m", "once told"), _frames(footage, 160)),
    )
    deleting = (
        *(CreateMemory("m"), _frames(footage, 130), Crash("m", "with a log"), DeleteMemory("m")),
        *(CreateMemory("m"), _frames(footage, 110, number=9), DeleteMemory("m"), CreateMemory("m")),
        _frames(footage, 20, number=10),
    )
    return [
        Scenario("forgetting", (forgetting,), small_sizes=True, focus=_FORGETTING),
        Scenario("compacting", (compacting,), small_sizes=True, focus=_ERASING),
        Scenario("retaining", (retaining,), small_sizes=True, focus=("put retention on record", *_FORGETTING)),
        Scenario("deleting", (deleting,), small_sizes=True, focus=("delete memory", "delete journal")),
    ]


def _of_files(seed: int) -> list[Scenario]:
    footage = Footage(seed, _FRAMES)
    old = OldMemory(_SESSION.format(10), footage, _OLD_FRAMES)
    lane = (
        *(CreateMemory("m"), _frames(footage, 110), ExportMemory("m"), ExportMemory("m", breaks_off=True)),
        *(ImportMemory("broken", "m", 110, breaks_off=True), ImportMemory("copy", "m", 110)),
        *(_frames(footage, 130), _frames(footage, 30, "copy", 9), FileOfFirstSchema("old", old)),
        *(ImportMemory("older", "old", _OLD_FRAMES), DeleteMemory("copy")),
    )
    return [Scenario("giving out and taking in", (lane,), small_sizes=True, focus=_FILES)]


def session_of(operation: Operation) -> str | None:
    """Give the session that an operation streams; None if it does something else."""
    return operation.session_id if isinstance(operation, StreamFrames) else None
