"""What a memory would have kept at other thresholds, for people who read what the command prints."""

import math

import click

from framekeep.expectation import Expectation
from framekeep.policies import Budget
from framekeep.policy_printing import shown_target
from framekeep.suggestion import Suggestion
from framekeep.tables import facts_of, print_table, shown_duration, shown_share, shown_size, table_of
from framekeep.threshold_curve import ThresholdCurve, ThresholdOutcome, is_same_threshold


def print_curve(
    curve: ThresholdCurve, name: str, in_force: float, suggestion: Suggestion, *, is_of_streams: bool
) -> None:
    """What would have been kept at each threshold, with those in force and suggested marked, and why it is suggested.

    Args:
        curve: the curve.
        name: whose it is: of a memory, or of a memory and a stream.
        in_force: the threshold that is.
        suggestion: that of the curve.
        is_of_streams: it may count several streams, whose times add up.
    """
    a_day = "a day of a stream" if is_of_streams else "a day"
    print_table(facts_of([("of", name), ("frames", _shown_frames(curve)), ("counts", _shown_basis(curve))]))
    click.echo()
    table = table_of(
        *("threshold", "exemplars", "+-", "kept", a_day, f"bytes {a_day}", "mean dropped", "largest dropped", "")
    )
    for outcome in curve.outcomes:
        table.add_row(
            f"{outcome.novelty_threshold:.4g}",
            *_kept_cells(outcome),
            f"{outcome.mean_dropped_novelty:.4f}",
            f"{outcome.largest_dropped_novelty:.4f}",
            _mark(outcome.novelty_threshold, in_force, suggestion),
        )
    print_table(table)
    click.echo(f"\n{_shown_suggestion(suggestion, in_force)}")


def _shown_frames(curve: ThresholdCurve) -> str:
    missing = curve.missing_frame_count
    left_out = f"; {missing:,} more are left out, since what the server held of them was lost" if missing else ""
    return f"{curve.frame_count:,} over {shown_duration(curve.duration)}{left_out}"


def _shown_basis(curve: ThresholdCurve) -> str:
    is_estimated = any(outcome.error > 0 for outcome in curve.outcomes)
    how = "estimated by" if is_estimated else "exact, by"
    return f"{how} {curve.held_count:,} embeddings that the server holds, of at most {curve.held_limit:,}"


def _kept_cells(outcome: ThresholdOutcome) -> list[str]:
    a_day, bytes_a_day = outcome.exemplars_per_day, outcome.bytes_per_day
    return [
        f"{round(outcome.exemplars):,}",
        f"{math.ceil(outcome.error * outcome.exemplars):,}" if outcome.error else "",
        shown_share(outcome.kept_share),
        "-" if a_day is None else f"{round(a_day):,}",
        "-" if bytes_a_day is None else shown_size(round(bytes_a_day)),
    ]


def _mark(threshold: float, in_force: float, suggestion: Suggestion) -> str:
    marks = (
        ("in force", is_same_threshold(threshold, in_force)),
        ("suggested", is_same_threshold(threshold, suggestion.novelty_threshold)),
    )
    return ", ".join(mark for mark, is_marked in marks if is_marked)


def _shown_suggestion(suggestion: Suggestion, in_force: float) -> str:
    threshold = suggestion.novelty_threshold
    if threshold is None:
        return f"no threshold is suggested: {suggestion.reason}"
    also = ", and in force" if is_same_threshold(threshold, in_force) else ""
    return f"{threshold:g} is suggested{also}: {suggestion.reason}"


def print_expectation(expectation: Expectation, budget: Budget) -> None:
    """At which threshold a target is expected to be met."""
    target, threshold = shown_target(budget), f"{expectation.novelty_threshold:g}"
    if expectation.is_within:
        click.echo(f"the curve expects {target} at a threshold of about {threshold}, where the budget begins")
    else:
        click.echo(
            f"the curve expects {target} beyond the thresholds that were tried or are allowed; the budget begins at "
            f"{threshold}, the nearest"
        )
