"""`framekeep tune`: what other thresholds would have kept, and the change to one of them, or to a budget."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from framekeep.client import Client
from framekeep.commands.parameters import budget as parse_budget
from framekeep.commands.parameters import instant, json_option
from framekeep.commands.parameters import thresholds as parse_thresholds
from framekeep.documents import document_from
from framekeep.errors import ExemplarNotFound
from framekeep.expectation import expectation_of
from framekeep.picture_files import png_from
from framekeep.policies import Budget
from framekeep.retuning import budget_for, facts_of, set_budget, set_threshold, threshold_of
from framekeep.retuning_printing import print_retuned
from framekeep.suggestion import Suggestion, suggestion_of
from framekeep.threshold_curve import ThresholdCurve, is_same_threshold
from framekeep.threshold_figure import EXAMPLES_ASKED, draw_thresholds, exemplars_to_show, outcomes_to_show
from framekeep.threshold_printing import print_curve, print_expectation
from framekeep.undo import Undo

_MOST_THRESHOLDS = 64
"""What the contract allows in a call."""


@click.command()
@click.argument("memory")
@click.option("--stream", help="Count the frames of this stream, and change this stream alone.")
@click.option(
    "--from", "since", metavar="TIME", type=instant, help="Count only frames captured from then on; UTC by default."
)
@click.option("--to", "until", metavar="TIME", type=instant, help="Count only frames captured before then.")
@click.option(
    "--thresholds",
    metavar="T,T,...",
    type=parse_thresholds,
    help="Novelty thresholds to try, each in (0, 2].  [default: 0.02 to 0.6]",
)
@click.option(
    "--figure",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the curve, and the frames that thresholds around those in force and suggested only just tell apart.",
)
@click.option(
    "--apply",
    "chosen",
    metavar="T",
    type=click.FloatRange(min=0, max=2, min_open=True),
    help="Set the threshold of MEMORY, or of --stream, to this.",
)
@click.option(
    "--target",
    metavar="TARGET",
    type=parse_budget,
    help="Hold each stream of MEMORY, or --stream, to 2% of its frames, 500/day (exemplars) or 1GB/day from now on.",
)
@json_option
@click.pass_obj
def tune(
    address: str,
    memory: str,
    *,
    stream: str | None,
    since: datetime | None,
    until: datetime | None,
    thresholds: tuple[float, ...] | None,
    figure: Path | None,
    chosen: float | None,
    target: Budget | None,
    as_json: bool,
) -> None:
    """Show what MEMORY would have kept at other thresholds, and change to one of them.

    Nothing is streamed or encoded again: the server judges by embeddings that it holds of what it was shown, of frames
    that were not kept too. For each threshold:

    \b
      exemplars    what would have been kept, and +- how many that may be off;
                   limits and hints are left out of account
      kept         exemplars by frames
      a day, bytes a day
                   the same by capture time, and what it takes on disk;
                   of all streams, by the sum of their times
      mean dropped, largest dropped
                   novelty of the frames not kept to what would stand for them

    A threshold is suggested where the curve bends: a lower one costs much more, a higher one saves less and less.
    """  # noqa: D301 - the letter that keeps click from filling these lines is a real backspace
    if chosen is not None and target is not None:
        raise click.UsageError("expected at most one of --apply and --target")
    scope = _Scope(memory, stream, since, until)
    with Client(address) as client:
        before = facts_of(client, memory, stream)
        in_force = threshold_of(before)
        curve = scope.curve_with(client, thresholds or (), in_force)
        suggestion = suggestion_of(curve)
        if not as_json:
            print_curve(curve, scope.name, in_force, suggestion, is_of_streams=stream is None)
        if figure is not None:
            _write_figure(client, figure, scope, curve, in_force, suggestion)
        expectation = retuned = None
        if chosen is not None:
            retuned = set_threshold(client, memory, stream, chosen, Undo(address))
        elif target is not None:
            budget = budget_for(before, target)
            expectation = expectation_of(curve, budget)
            if not as_json:
                print_expectation(expectation, budget)
            retuned = set_budget(client, memory, stream, budget, expectation, Undo(address))
    if as_json:
        told: dict[str, object] = {"memory": memory, "stream": stream, "novelty_threshold": in_force, "curve": curve}
        told |= {"suggestion": suggestion, "expectation": expectation, "retuned": retuned}
        click.echo(json.dumps(document_from(told)))
    elif retuned is not None:
        click.echo()
        print_retuned(retuned)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which frames are counted."""

    memory: str
    stream: str | None
    since: datetime | None
    until: datetime | None

    @property
    def name(self) -> str:
        return self.memory if self.stream is None else f"{self.memory} / {self.stream}"

    def curve(self, client: Client, thresholds: Sequence[float], examples: int = 0) -> ThresholdCurve:
        return client.evaluate_thresholds(
            self.memory,
            thresholds,
            stream=self.stream,
            start_time=self.since,
            end_time=self.until,
            examples=examples,
        )

    def curve_with(self, client: Client, thresholds: Sequence[float], in_force: float) -> ThresholdCurve:
        """The curve at these thresholds, or the standard ones, and at the one that is in force."""
        curve = self.curve(client, thresholds)
        tried = [outcome.novelty_threshold for outcome in curve.outcomes]
        has_it = any(is_same_threshold(one, in_force) for one in tried)
        return curve if has_it or len(tried) == _MOST_THRESHOLDS else self.curve(client, [*tried, in_force])


def _write_figure(
    client: Client, figure: Path, scope: _Scope, curve: ThresholdCurve, in_force: float, suggestion: Suggestion
) -> None:
    shown = [outcome.novelty_threshold for outcome in outcomes_to_show(curve, in_force, suggestion)]
    rows = scope.curve(client, shown, EXAMPLES_ASKED).outcomes
    exemplars = {}
    for number in exemplars_to_show(rows):
        with suppress(ExemplarNotFound):  # it was forgotten or merged since
            exemplars[number] = client.exemplar(scope.memory, number, thumbnail=True)
    title = f"what {scope.name} would keep at other thresholds"
    pixels = draw_thresholds(curve, rows, exemplars, title=title, in_force=in_force, suggestion=suggestion)
    figure.write_bytes(png_from(pixels))
    click.echo(f"wrote {figure} with {len(curve.outcomes)} thresholds, and examples around {len(rows)}", err=True)
