"""Servers that are killed, and lose power: what was acknowledged is there, once, and no verdict runs ahead of its sync.

The servers are real, with a small encoder, in processes of their own; `benchmarks/crash.py` lets many more die.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.crash import Crashing
from benchmarks.crash_check import EndState, check, differences, left_behind
from benchmarks.crash_endings import Ending, Power
from benchmarks.crash_life import Death
from benchmarks.crash_operations import CreateMemory, Operation, StreamFrames
from benchmarks.crash_plan import Scenario, scenarios
from benchmarks.crash_removals import Compact, Crash, Forget
from benchmarks.crash_run import CrashRun
from benchmarks.crash_scenes import Footage
from benchmarks.crash_zygote import Zygote
from benchmarks.power_loss import Disk, write_tree
from benchmarks.power_loss_trace import DiskStep, NoCompiler, build

SESSION = "5e550000-0000-4000-8000-000000000001"
FRAMES = 60
JOURNAL = "data/memories/m.sqlite"

StartRun = Callable[..., CrashRun]


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("zygote")
    try:
        recorder = build(folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    with closing(Zygote(recorder, folder)) as started:
        yield started


@pytest.fixture
def start_run(zygote: Zygote, tmp_path: Path) -> StartRun:
    """Begin a run of one stream; each frame waits for the verdict on the one before, and has a commit of its own."""

    def start(
        fault: str | None = None,
        *,
        starts_empty: bool = False,
        streams: bool = True,
        afterwards: tuple[Operation, ...] = (),
        seed: int = 0,
    ) -> CrashRun:
        stream = (StreamFrames("m", SESSION, Footage(0, FRAMES), FRAMES, pace=1),) if streams else ()
        scenario = Scenario("a short stream", ((CreateMemory("m"), *stream, *afterwards),), starts_empty)
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        return CrashRun(zygote, folder, scenario, np.random.default_rng(seed), fault)

    return start


def frames_in(journal: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM frames").fetchone()
            return int(count)
    except sqlite3.Error:
        return 0


def told_too_early(run: CrashRun, disk: Disk, then: Path) -> list[int]:
    """Give the frames that a loss of power at the arrival of their verdict would have taken.

    Args:
        run: has lived once.
        disk: as it was before.
        then: an empty folder, for the disk as it would be found.
    """
    early = []
    waiting = list(run.trace)
    for seq, arrived_ns in sorted(run.ledger.sessions[SESSION].arrived_ns.items()):
        while waiting and waiting[0].ended_ns is not None and waiting[0].ended_ns <= arrived_ns:
            disk.replay([waiting.pop(0)])
        write_tree(disk.left(None), then)
        if frames_in(then / JOURNAL) <= seq:
            early.append(seq)
    return early


@pytest.mark.parametrize(("fault", "early"), [(None, []), ("synchronous off", list(range(FRAMES)))])
def test_no_verdict_leaves_before_the_sync_that_holds_its_frame(
    start_run: StartRun, tmp_path: Path, fault: str | None, early: list[int]
) -> None:
    run = start_run(fault)
    disk = Disk(run.traced)
    (tmp_path / "then").mkdir()

    run.live(None)

    assert list(run.ledger.sessions[SESSION].told) == list(range(FRAMES))
    assert told_too_early(run, disk, tmp_path / "then") == early


def test_servers_that_die_at_any_place_lose_nothing_and_count_nothing_twice(zygote: Zygote, tmp_path: Path) -> None:
    crashing = Crashing(zygote, tmp_path, seed=1)

    crashing.crash(8)

    tally = crashing.tally
    assert tally.wrong() == []
    assert tally.deaths.total() == 8
    assert tally.document()["power_losses"] == 4
    assert tally.compared == tally.runs


@pytest.mark.parametrize(
    ("fault", "power"),
    [("synchronous off", Power.LOST), ("synchronous off", Power.LOST_IN_PART), ("verdicts first", Power.STAYS)],
)
def test_a_server_that_acknowledges_too_early_is_found_out(start_run: StartRun, fault: str, power: Power) -> None:
    # Where any part may survive, all of it may.
    seeds = range(5 if power is Power.LOST_IN_PART else 1)

    deaths = [start_run(fault, seed=seed).live(Ending(power, Death("commit", call=6))) for seed in seeds]

    assert any(died is not None and died.findings.lost for died in deaths)


def test_the_same_death_without_a_fault_loses_nothing(start_run: StartRun) -> None:
    run = start_run()

    died = run.live(Ending(Power.LOST, Death("commit", call=6)))

    assert died is not None
    assert (died.findings.lost, died.findings.twice) == ([], [])
    assert len(run.ledger.sessions[SESSION].told) == 5


def test_what_a_killed_server_had_not_synced_is_not_acknowledged_by_the_next_one_before_it_is(
    start_run: StartRun,
) -> None:
    run = start_run()
    run.live(Ending(Power.STAYS, Death("commit", call=3)))
    run.fault = "synchronous off"
    run.live(Ending(Power.STAYS, Death("commit", call=6)))
    run.fault = None

    died = run.live(Ending(Power.LOST, Death("commit", call=1)))  # it has told from where on it has no verdicts

    assert run.ledger.sessions[SESSION].acknowledged == 7
    assert died is not None
    assert died.findings.lost == []


def test_a_memory_that_was_created_in_a_new_data_folder_is_there_after_a_loss_of_power(start_run: StartRun) -> None:
    died = start_run(starts_empty=True).live(Ending(Power.LOST, Death("commit", call=2)))

    assert died is not None
    assert died.findings.lost == []


@pytest.mark.parametrize("operation", [1, 3])
def test_a_data_folder_that_a_killed_server_has_half_made_is_there_after_a_loss_of_power(
    start_run: StartRun, operation: int
) -> None:
    run = start_run(starts_empty=True)
    first = run.live(Ending(Power.STAYS, Death(disk_operation=operation, after=True)))

    died = run.live(Ending(Power.LOST, Death("commit", call=2)))

    assert first is not None
    assert first.place.startswith("after: make folder")
    assert died is not None
    assert died.findings.lost == []


def test_a_memory_that_a_killed_server_has_half_created_is_not_told_of_before_it_is_durable(
    start_run: StartRun,
) -> None:
    whole = start_run(streams=False)
    whole.live(None)
    renaming = [operation.step for operation in whole.trace].index(DiskStep.RENAME) + 1
    run = start_run(streams=False, afterwards=(Crash("m", "once told"),))
    first = run.live(Ending(Power.STAYS, Death(disk_operation=renaming, after=True)))

    died = run.live(Ending(Power.LOST))  # creating it once more, the client is told that it is there already

    assert first is not None
    assert first.place == "after: rename *.sqlite"
    assert run.ledger.memories == {"m": True}
    assert died is not None
    assert died.findings.lost == []


@pytest.mark.parametrize(
    ("damage", "lost", "twice"),
    [
        ("UPDATE sessions SET repeat_frames = repeat_frames + 1", 0, 1),
        ("UPDATE sightings SET frames = frames + 1 WHERE id = 3", 0, 2),
        ("UPDATE frames SET novelty = 0.5 WHERE seq = 7", 1, 0),
        ("DELETE FROM frames WHERE seq = 7", 1, 2),
        ("UPDATE policies SET threshold = 0.2", 1, 0),
    ],
)
def test_what_is_wrong_in_a_journal_is_found(start_run: StartRun, damage: str, lost: int, twice: int) -> None:
    run = start_run()
    run.live(None)
    run.ledger.thresholds["m"] = {0.1}
    whole = run.end_state()
    before = check(run.data, run.ledger)
    with closing(sqlite3.connect(run.traced / JOURNAL)) as connection:
        connection.execute(damage)
        connection.commit()

    found = check(run.data, run.ledger)

    assert (before.lost, before.twice) == ([], [])
    assert (len(found.lost), len(found.twice)) == (lost, twice)
    assert before.verify_failed == []
    assert found.verify_failed != []
    assert len(differences(whole, run.end_state())) == 1


class Undisturbed:
    """Runs scenarios to their ends, each once."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self._zygote = zygote
        self._folder = folder
        self._ends: dict[str, EndState] = {}

    def start(self, name: str) -> CrashRun:
        """Begin a run of a scenario."""
        [scenario] = [scenario for scenario in scenarios(0) if scenario.name == name]
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        return CrashRun(self._zygote, folder, scenario, np.random.default_rng(0))

    def end(self, name: str) -> EndState:
        """How a scenario ends."""
        if name not in self._ends:
            run = self.start(name)
            run.undisturbed()
            self._ends[name] = run.end_state()
        return self._ends[name]


@pytest.fixture(scope="module")
def undisturbed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(zygote, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("scenario", "step", "call", "disk_operation", "power"),
    [
        ("an old memory", "migrate", 1, 12, Power.STAYS),
        ("an old memory", "migrate", 1, 40, Power.LOST),
        ("an old memory", "migrate", 1, 75, Power.LOST_IN_PART),
        ("a trained index", "write copy of index", 1, 3, Power.STAYS),
        ("a trained index", "write copy of index", 1, 2, Power.LOST_IN_PART),
        ("a trained index", "take over from old index", 1, 0, Power.LOST),
        ("forgetting", "put forgetting on record", 1, 2, Power.LOST_IN_PART),
        ("forgetting", "forget some", 3, 0, Power.STAYS),
        ("forgetting", "give room back", 2, 2, Power.LOST),
        ("forgetting", "empty log", 1, 2, Power.LOST_IN_PART),
        ("forgetting", "end forgetting", 1, 0, Power.LOST),
        ("compacting", "merge some", 2, 0, Power.LOST),
        ("compacting", "empty log", 1, 1, Power.LOST_IN_PART),
        ("retaining", "put retention on record", 1, 2, Power.LOST),
        ("retaining", "forget some", 2, 0, Power.STAYS),
        ("deleting", "delete journal", 1, 2, Power.LOST_IN_PART),
        ("deleting", "delete journal", 2, 1, Power.STAYS),
        ("giving out and taking in", "take export", 1, 30, Power.STAYS),
        ("giving out and taking in", "write import", 2, 1, Power.LOST_IN_PART),
        ("giving out and taking in", "move import", 2, 1, Power.LOST),
        ("giving out and taking in", "adopt import", 1, 0, Power.LOST),
    ],
)
def test_a_server_that_dies_in_the_middle_comes_to_the_same_end(
    undisturbed: Undisturbed, scenario: str, step: str, call: int, disk_operation: int, power: Power
) -> None:
    run = undisturbed.start(scenario)

    # Those told to die on the way come first, and lose power as well.
    died = run.live(Ending(power, Death(step, call, disk_operation, after=True)))
    while died is not None and died.step == "as it was told":
        assert died.findings.all() == []
        died = run.live(Ending(power, Death(step, 1, disk_operation, after=True)))

    assert died is not None
    assert died.findings.all() == []
    while not run.is_done:
        run.live(None)
    assert differences(undisturbed.end(scenario), run.end_state()) == []


@pytest.mark.parametrize(
    ("removal", "power", "fault", "is_found"),
    [
        (Forget("m", 10, 40), Power.STAYS, None, False),
        (Forget("m", 10, 40), Power.STAYS, "keeps the log", True),
        (Compact("m", 1.5), Power.LOST, None, False),
        (Compact("m", 1.5), Power.LOST, "cuts the log without syncing", True),
    ],
)
def test_what_was_taken_out_and_is_still_in_a_file_is_found(
    start_run: StartRun, removal: Operation, power: Power, fault: str | None, *, is_found: bool
) -> None:
    run = start_run(fault, afterwards=(removal, Crash("m", "once told")))

    died = run.live(Ending(power))

    assert died is not None
    assert run.ledger.memories == {"m": True}
    assert bool(died.findings.not_erased) == is_found
    assert died.findings.lost == []


@pytest.mark.parametrize("name", ["m.draft", "m.index.draft", ".import-1", "gone.index", "gone.sqlite-wal"])
def test_files_that_belong_to_no_memory_are_found_and_gone_after_a_restart(start_run: StartRun, name: str) -> None:
    run = start_run(streams=False)
    run.live(None)
    (run.data / "memories" / name).touch()

    before = left_behind(run.data)

    assert before == [name]
    assert check(run.data, run.ledger).left_behind == []
