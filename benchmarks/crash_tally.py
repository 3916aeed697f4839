"""What came of all deaths, as figures and as tables."""

from collections import Counter
from dataclasses import dataclass, field

import click

from benchmarks.crash_endings import Power
from benchmarks.crash_run import Died


@dataclass(slots=True)
class Tally:
    """What came of all deaths so far."""

    deaths: Counter[tuple[str, Power]] = field(default_factory=Counter)
    """By place and kind."""

    steps: Counter[tuple[str, Power]] = field(default_factory=Counter)
    """By the innermost step that was going on, and kind."""

    reached: dict[str, set[tuple[int, bool]]] = field(default_factory=dict)
    """By step: places before and after its disk operations at which a death was."""

    runs: int = 0
    """Scenarios that were begun."""

    compared: int = 0
    """End states that were compared."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged and not there, once for each promise."""

    twice: list[str] = field(default_factory=list)
    """Counts that do not agree."""

    verify_failed: list[str] = field(default_factory=list)
    """Checks of `memory_store.verification` that did not hold."""

    not_erased: list[str] = field(default_factory=list)
    """What was forgotten, and still in a file."""

    left_behind: list[str] = field(default_factory=list)
    """Files that belong to no memory, after a restart or an end in good order."""

    different: list[str] = field(default_factory=list)
    """Runs that ended otherwise than the undisturbed one."""

    failed: list[str] = field(default_factory=list)
    """Servers that ended by themselves, or refused what they should do."""

    def add(self, died: Died, where: str) -> bool:
        """Count a death, which was in a run and life as `where` says; tells whether all is well."""
        self.deaths[died.place, died.power] += 1
        self.steps[died.step, died.power] += 1
        self.reached.setdefault(died.step, set()).add(died.operation)
        where = f"{where}, {died.power.value}, {died.place} in {died.step or 'no step'}"
        for kind in ("lost", "twice", "verify_failed", "not_erased", "left_behind"):
            getattr(self, kind).extend(f"{where}: {what}" for what in getattr(died.findings, kind))
        return not died.findings.all()

    def wrong(self) -> list[str]:
        """Everything that is not as it should be."""
        found = [*self.lost, *self.twice, *self.verify_failed, *self.not_erased, *self.left_behind]
        return [*found, *self.different, *self.failed]

    def document(self) -> dict[str, object]:
        """The figures."""
        kinds = {power: sum(n for (_, kind), n in self.deaths.items() if kind is power) for power in Power}
        return {
            "kills": sum(kinds.values()),
            "power_losses": kinds[Power.LOST] + kinds[Power.LOST_IN_PART],
            "acknowledged_lost": len(self.lost),
            "counted_twice": len(self.twice),
            "verify_failed": len(self.verify_failed),
            "not_erased": len(self.not_erased),
            "left_behind": len(self.left_behind),
            "end_state_differs": len(self.different),
            "failed": len(self.failed),
            "runs": self.runs,
            "end_states_compared": self.compared,
            "while_idle": sum(n for (step, _), n in self.steps.items() if not step),
        }


def print_tables(tally: Tally, operations: dict[str, list[int]]) -> None:
    """Print where deaths were: by step, and by what was done to the disk.

    Args:
        tally: the deaths.
        operations: by step: how many disk operations calls of it did.
    """
    powers = " ".join(f"{name:>12}" for name in ("SIGKILL", "power loss", "in part"))
    click.echo(f"{'innermost step':36} {powers} {'disk operations':>16} {'places reached':>16}")
    for step in sorted({step for step, _ in tally.steps}):
        figures = " ".join(f"{tally.steps[step, power]:12}" for power in Power)
        seen = sorted(operations.get(step, [0]))
        span = f"{seen[len(seen) // 2]} (to {seen[-1]})"
        reached = sum(number > 0 for number, _ in tally.reached[step])
        places = f"{span:>16} {reached:16}" if seen[-1] else ""
        click.echo(f"{step or '(none)':36} {figures} {places}".rstrip())
    click.echo(f"\n{'place of death':36} {powers}")
    for place in sorted({place for place, _ in tally.deaths}):
        click.echo(f"{place:36} " + " ".join(f"{tally.deaths[place, power]:12}" for power in Power))
    click.echo()
