"""One scenario, over as many lives as its server needs; after each death it is checked what is left."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from benchmarks.crash_check import EndState, Findings, check, end_state
from benchmarks.crash_endings import Ending, Power
from benchmarks.crash_first_schema import OldMemory
from benchmarks.crash_ledger import Ledger
from benchmarks.crash_life import Life
from benchmarks.crash_link import Link
from benchmarks.crash_marks import StepCall, innermost, operations_in, read_marks
from benchmarks.crash_plan import Scenario, session_of
from benchmarks.crash_profile import Ahead, Profile
from benchmarks.crash_zygote import Zygote
from benchmarks.power_loss import Disk
from benchmarks.power_loss_trace import DiskOperation, read_trace

_QUICK_PACE = 16
"""Frames without a verdict in an undisturbed run: no client is quicker, so no run has fewer commits."""


_WHILE_STOPPING = (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What a call may end with, beside UNAVAILABLE, if it came just when the server began to stop: gRPC drops it then."""


class UnexpectedAnswer(Exception):
    """A server that lives refused what it should have done."""


@dataclass(frozen=True, slots=True)
class Died:
    """A death, and what was found afterwards."""

    place: str
    """Where it was, in words."""

    power: Power
    """What happened to the disk."""

    findings: Findings
    """What is wrong."""

    step: str
    """The innermost step that was going on; empty if none was."""

    operation: tuple[int, bool]
    """The last disk operation that was begun since that step began, from 1, and whether it was done; 0: none was."""


class CrashRun:
    """A scenario on its way, in a folder of its own."""

    def __init__(
        self, zygote: Zygote, folder: Path, scenario: Scenario, chance: np.random.Generator, fault: str | None = None
    ) -> None:
        """Begin with an empty folder.

        Args:
            zygote: starts the servers.
            folder: holds the data folder, the traces, and copies to look into.
            scenario: what is done.
            chance: draws what is left open.
            fault: one of `crash_steps.FAULTS`.
        """
        self.scenario = scenario
        self.ledger = Ledger()
        self.fault = fault
        self.traced = folder / "disk"
        self.data = self.traced / "data"
        self.lives = 0
        self.trace: list[DiskOperation] = []
        """What the last life did to the disk."""
        self.calls: list[StepCall] = []
        """Steps of the last life."""
        self._may_stop = False
        self._zygote = zygote
        self._folder = folder
        self._chance = chance
        self._progress = [0 for _ in scenario.lanes]
        self._begun_ns: list[list[int]] = [[] for _ in scenario.lanes]
        self._profiled: tuple[list[StepCall], list[int]] = ([], [])
        (self.traced if scenario.starts_empty else self.data / "memories").mkdir(parents=True)
        if scenario.old is not None:
            self._begin_with(scenario.old)
        self._disk = Disk(self.traced)

    @property
    def is_done(self) -> bool:
        """The server was told to stop after all was done, and it has."""
        return all(done == len(lane) for done, lane in zip(self._progress, self.scenario.lanes, strict=True))

    def _begin_with(self, old: OldMemory) -> None:
        old.write(self.data / "memories/m.sqlite")
        self.ledger.memories["m"] = True
        session = self.ledger.session("m", "cam", old.session_id)
        session.acknowledged = session.sent = old.frames

    def undisturbed(self) -> Profile:
        """Live until all is done, and tell how it went."""
        self.ledger.pace = _QUICK_PACE
        while not self.is_done:
            self.live(None)
            self._profiled[0].extend(self.calls)
            self._profiled[1].extend(operation.ended_ns for operation in self.trace if operation.ended_ns is not None)
        arrived_ns = {name: session.arrived_ns for name, session in self.ledger.sessions.items()}
        return Profile(*self._profiled, self._begun_ns, arrived_ns, time.monotonic_ns())

    def ahead(self, profile: Profile) -> Ahead:
        """Tell what lies ahead, as far as it is known from an undisturbed run."""
        lanes = zip(self.scenario.lanes, self._progress, strict=True)
        sessions = [session_of(lane[done]) if done < len(lane) else None for lane, done in lanes]
        acknowledged = {name: session.acknowledged for name, session in self.ledger.sessions.items()}
        return profile.ahead(self._progress, acknowledged, sessions)

    def live(self, ending: Ending | None) -> Died | None:
        """Start a server and go on with the scenario until its end.

        Args:
            ending: how it dies; where that place does not come before all is done, it is told to stop, and may die on
                the way. None: it is told to stop when all is done.

        Returns:
            None if the server stopped in good order.

        Raises:
            ServerFailed: it ended by itself.
            UnexpectedAnswer: it refused something.
            TraceIncomplete: something was written that was not recorded.
        """
        self.lives += 1
        self._may_stop = ending is not None and ending.stop_after_s is not None
        crashed = set(self.ledger.crashed)
        life = self._life(ending)
        address = self._zygote.start(life)
        with self._timers(ending):
            if address is not None and self._drive(address):
                self._zygote.signal(signal.SIGTERM)
            status = self._zygote.wait()
        self.trace, self.calls = read_trace(Path(life.log)), read_marks(Path(life.marks))
        for record in (life.log, life.marks):
            Path(record).unlink(missing_ok=True)
        self._disk.settle(self.trace)
        if status == 0 or ending is None:
            return None
        return self._died(ending, was_told=crashed != self.ledger.crashed)

    def _died(self, ending: Ending, *, was_told: bool) -> Died:
        place, step = ("as it was told", "as it was told") if was_told else (self._place(ending), "")
        operation = (0, False)
        call = innermost(self.calls)
        if call is not None and not was_told:
            step = call.step
            if self.trace:
                is_done = self.trace[-1].ended_ns is not None
                operation = (operations_in(call, self.trace) + (not is_done), is_done)
        if ending.power is not Power.STAYS:
            chance = self._chance if ending.power is Power.LOST_IN_PART else None
            self._disk = self._disk.lose_power(chance)
        return Died(place, ending.power, self._check(), step, operation)

    def end_state(self) -> EndState:
        """What is there once all was done and the server has stopped."""
        return end_state(self.data)

    def remove(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self._folder)

    def _life(self, ending: Ending | None) -> Life:
        return Life(
            data=str(self.data),
            traced=str(self.traced),
            log=str(self._folder / f"trace-{self.lives}"),
            marks=str(self._folder / f"marks-{self.lives}"),
            small_sizes=self.scenario.small_sizes,
            death=None if ending is None else ending.death,
            checkpoint_pages=int(self._chance.choice([20, 100, 1000])),
            fault=self.fault,
        )

    @contextmanager
    def _timers(self, ending: Ending | None) -> Iterator[None]:
        timers = []
        if ending is not None:
            for delay_s, number in ((ending.kill_after_s, signal.SIGKILL), (ending.stop_after_s, signal.SIGTERM)):
                if delay_s is not None:
                    timers.append(threading.Timer(delay_s, self._zygote.signal, [number]))
        for timer in timers:
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
                timer.join()

    def _drive(self, address: str) -> bool:
        """Go on with all lanes until they are done, or the server has gone; tells whether they are done."""
        seeds = self._chance.spawn(len(self._progress))
        with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(len(seeds)) as pool:
            link = Link(channel)
            driven = [pool.submit(self._drive_lane, lane, link, chance) for lane, chance in enumerate(seeds)]
            done = [lane.result() for lane in driven]
        return all(done)

    def _drive_lane(self, lane: int, link: Link, chance: np.random.Generator) -> bool:
        operations = self.scenario.lanes[lane]
        while self._progress[lane] < len(operations):
            operation = operations[self._progress[lane]]
            if len(self._begun_ns[lane]) == self._progress[lane]:
                self._begun_ns[lane].append(time.monotonic_ns())
            try:
                operation.do(link, self.ledger, chance)
            except grpc.RpcError as error:
                is_stopping = self._may_stop and error.code() in _WHILE_STOPPING
                if is_stopping or error.code() is grpc.StatusCode.UNAVAILABLE:
                    return False
                raise UnexpectedAnswer(f"{operation}: {error.code()}: {error.details()}") from error
            self._progress[lane] += 1
        return True

    def _check(self) -> Findings:
        copy = self._folder / "copy"
        if self.data.exists():
            shutil.copytree(self.data, copy)
        findings = check(copy, self.ledger)
        shutil.rmtree(copy)
        findings.lost += self.ledger.broken
        return findings

    def _place(self, ending: Ending) -> str:
        if ending.death is None:
            return "at a random instant"
        if not ending.death.disk_operation:
            return f"{'after' if ending.death.after else 'before'}: {ending.death.step}"
        if not self.trace:
            return "before the disk was touched"
        last = self.trace[-1]
        side = "before" if last.ended_ns is None else "after"
        return f"{side}: {last.step.name.lower().replace('_', ' ')} {self._disk.kind_of(last)}"
