"""Servers that die at any moment, by SIGKILL and by loss of power: `python -m benchmarks.crash --kills 1000 --seed 1`.

A real server is fed by a client, ends at a place drawn by the seed, and is started again; the client goes on. After
each death the data folder must hold all that was acknowledged, once; after the last life, the same rows as that of an
undisturbed run. A loss of power takes with it what was not synced, all of it or any part (see `power_loss.py`).
"""

import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
import numpy as np

from benchmarks.crash_check import EndState, differences, left_behind
from benchmarks.crash_endings import Endings
from benchmarks.crash_marks import operations_in
from benchmarks.crash_plan import Scenario, scenarios
from benchmarks.crash_profile import Profile
from benchmarks.crash_run import CrashRun, UnexpectedAnswer
from benchmarks.crash_tally import Tally, print_tables
from benchmarks.crash_zygote import ServerFailed, Zygote
from benchmarks.power_loss import TraceIncomplete
from benchmarks.power_loss_trace import NoCompiler, build

_DEATHS_A_RUN = (3, 12)
"""At least, and fewer than; then the scenario is brought to its end."""

_IN_MEMORY = Path("/dev/shm")  # noqa: S108
"""Where the disk is a recording anyway, a folder in memory does, and spares a real disk some 100,000 syncs."""

_FOOTAGES = 2
"""Different footages; each scenario is run undisturbed once with each, to compare with."""


class Crashing:
    """Runs scenarios, one after the other, until there were enough deaths."""

    def __init__(self, zygote: Zygote, folder: Path, seed: int, only: str = "") -> None:
        """Begin without deaths.

        Args:
            zygote: starts the servers.
            folder: what went wrong is left in it.
            seed: decides what is drawn.
            only: scenarios whose names begin so; empty: all.
        """
        self.tally = Tally()
        self._zygote = zygote
        self._folder = folder
        self._only = only
        self._chance = np.random.default_rng(seed)
        self._endings = Endings(self._chance)
        self._undisturbed: dict[tuple[str, int], tuple[EndState, Profile]] = {}

    @property
    def operations(self) -> dict[str, list[int]]:
        """By step: how many disk operations calls of it did."""
        return self._endings.operations

    def crash(self, kills: int) -> None:
        """Let servers die so many times."""
        while (left := kills - self.tally.deaths.total() - len(self.tally.failed)) > 0:
            footage = self.tally.runs % _FOOTAGES
            chosen = [scenario for scenario in scenarios(footage) if scenario.name.startswith(self._only)]
            scenario = chosen[self.tally.runs // _FOOTAGES % len(chosen)]
            self.tally.runs += 1
            try:
                expected, profile = self._expected(scenario, footage)
                run = self._run(scenario)
                self._die(run, min(left, int(self._chance.integers(*_DEATHS_A_RUN))), expected, profile)
            except (ServerFailed, UnexpectedAnswer, TraceIncomplete) as error:
                self.tally.failed.append(f"run {self.tally.runs} ({scenario.name}): {error}")
                self._zygote.kill()

    def _run(self, scenario: Scenario) -> CrashRun:
        return CrashRun(self._zygote, Path(tempfile.mkdtemp(dir=self._folder)), scenario, self._chance)

    def _expected(self, scenario: Scenario, footage: int) -> tuple[EndState, Profile]:
        if (scenario.name, footage) not in self._undisturbed:
            run = self._run(scenario)
            profile = run.undisturbed()
            self._look_at_steps(run)
            self._undisturbed[scenario.name, footage] = run.end_state(), profile
            self.tally.left_behind += left_behind(run.data)
            run.remove()
        return self._undisturbed[scenario.name, footage]

    def _look_at_steps(self, run: CrashRun) -> None:
        """Learn from the last life how many disk operations steps have."""
        for call in run.calls:
            if call.ended_ns is not None:
                self._endings.saw(call.step, operations_in(call, run.trace))

    def _die(self, run: CrashRun, deaths: int, expected: EndState, profile: Profile) -> None:
        """Let one run die so many times, and come to its end."""
        focus = run.scenario.focus
        while deaths and not run.is_done:
            ahead = run.ahead(profile)
            if focus and not ahead.calls.keys() & set(focus):
                break
            died = run.live(self._endings.ending(ahead, focus))
            self._look_at_steps(run)
            if died is not None:
                deaths -= 1
                self._endings.took_place()
                if not self.tally.add(died, f"run {self.tally.runs} ({run.scenario.name}), life {run.lives}"):
                    return
        while not run.is_done:
            run.live(None)
        different = differences(expected, run.end_state())
        self.tally.compared += 1
        if different:
            self.tally.different.append(f"run {self.tally.runs} ({run.scenario.name}): {'; '.join(different)}")
        else:
            run.remove()


@click.command()
@click.option("--kills", default=200, show_default=True, help="How many times a server dies.")
@click.option("--seed", default=1, show_default=True, help="Decides what is drawn.")
@click.option("--only", default="", help="Only scenarios whose names begin with this.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where runs that went wrong are left.")
def main(kills: int, seed: int, only: str, folder: Path | None) -> None:
    """Let servers die, and look at what they leave."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as temporary:
        place = (folder or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        try:
            recorder = build(Path(temporary))  # where no blank is: the loader takes one for the end of the name
        except NoCompiler as error:
            raise click.ClickException(str(error)) from error
        with closing(Zygote(recorder, place)) as zygote:
            crashing = Crashing(zygote, place, seed, only)
            crashing.crash(kills)
    tally = crashing.tally
    print_tables(tally, crashing.operations)
    wrong = tally.wrong()
    for what in wrong[:20]:
        click.echo(what)
    seconds = round(time.monotonic() - started, 1)
    click.echo(json.dumps({**tally.document(), "seed": seed, "seconds": seconds}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
