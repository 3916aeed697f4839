"""What a memory answers about its past, for people who read what the command prints."""

from collections.abc import Iterable, Sequence

import click
from rich.text import Text
from rich.tree import Tree

from framekeep.answers import Answer
from framekeep.attention import AttendedBlock, AttendedStay, Attention, ExplainedBlock, Explanation, FittedAttention
from framekeep.tables import print_table, shown_bound, shown_duration, shown_share, table_of
from framekeep.times import shown_span, shown_time

_LEADERS = 5
"""Exemplars named beside the attention: more would not fit into a line."""

_BRANCHES = 8
"""Parts of a block that are shown at most; lighter ones are summed up, since nobody would read so many."""

_LEAST_REST = 0.0005
"""A smaller rest is not shown: it would be 0.0 %."""


def print_answer(answer: Answer, *, explain: bool = False) -> None:
    """When something was last seen, the matches, and where the attention went: as a tree if it is to be explained."""
    click.echo(_verdict_on(answer))
    if answer.matches:
        _print_matches(answer)
    if answer.attention is not None:
        _print_attention(answer.attention)
        if explain and answer.attention.explanation is not None:
            _print_explanation(answer.attention.explanation)
        else:
            _print_blocks(answer.blocks)


def _verdict_on(answer: Answer) -> str:
    if not answer.matches:
        return "never seen (nothing within the filter)"
    best = answer.matches[0]
    if not answer.seen:
        return (
            f"never seen (nearest exemplar {best.exemplar} at novelty {best.novelty:.4f}, "
            f"threshold {answer.novelty_threshold:g})"
        )
    times = "once" if best.sighting_count == 1 else f"{best.sighting_count:,} times"
    return f"last seen {shown_time(best.last_time)}, {times}, total {shown_duration(best.total_duration)}"


def _print_matches(answer: Answer) -> None:
    click.echo("\nMatches, most similar first")
    table = table_of("exemplar", "novelty", "first seen", "last seen", "total", "sightings", "frames")
    for match in answer.matches:
        table.add_row(
            str(match.exemplar),
            f"{match.novelty:.4f}",
            shown_time(match.first_time),
            shown_time(match.last_time),
            shown_duration(match.total_duration),
            f"{match.sighting_count:,}",
            f"{match.frame_count:,}",
        )
    print_table(table)


def _print_attention(attention: Attention) -> None:
    version = "" if attention.attention_version is None else f", fitted version {attention.attention_version}"
    click.echo(
        f"\nAttention over {attention.frame_count:,} frames in {attention.stay_count:,} stays "
        f"(in effect {attention.effective_stays:.1f}) at inverse temperature {attention.inverse_temperature:g}{version}"
    )
    if attention.unopened_share > 0:
        click.echo(
            f"Opened {attention.opened_stay_count:,} of the stays; the others have about "
            f"{shown_share(attention.unopened_share)} of the weight"
        )
    if attention.context_error is not None:
        error = attention.context_error
        click.echo(
            f"Error of the context vector: reading {_at_most(error.reading)}, storing {_at_most(error.storing)} "
            f"(estimates that hold for {100 * error.confidence:g} % of queries)"
        )
    leaders = attention.exemplars[:_LEADERS]
    shares = ", ".join(f"{leader.exemplar} ({shown_share(leader.weight)})" for leader in leaders)
    click.echo(f"Largest weights: exemplar{'' if len(leaders) == 1 else 's'} {shares}")


def _at_most(error: float) -> str:
    return f"at most {shown_bound(error)}" if error > 0 else "none"


def _print_blocks(blocks: Iterable[AttendedBlock]) -> None:
    table = table_of("level", "stream", "block", "weight", "from", "to", "frames")
    for block in blocks:
        table.add_row(
            str(block.level),
            block.stream,
            str(block.index),
            shown_share(block.weight),
            shown_time(block.start_time),
            shown_time(block.end_time),
            f"{block.frame_count:,}",
        )
    print_table(table)


def _print_explanation(explanation: Explanation) -> None:
    click.echo("\nThe way from the top down, heaviest first; times in UTC")
    tree = Tree("100.0 %", hide_root=True)
    for root in explanation.blocks[:_BRANCHES]:
        _add_block(tree, root, f"{root.block.stream}: ")
    _add_rest(tree, 1.0, [root.block for root in explanation.blocks[:_BRANCHES]])
    print_table(tree)


def _add_block(tree: Tree, explained: ExplainedBlock, stream: str = "") -> None:
    block = explained.block
    branch = tree.add(_line(block, f"{stream}level {block.level}, block {block.index}"))
    for beneath in explained.blocks[:_BRANCHES]:
        _add_block(branch, beneath)
    for stay in explained.stays[:_BRANCHES]:
        branch.add(_line(stay, f"exemplar {stay.exemplar}, similarity {stay.similarity:.4f}"))
    parts = [beneath.block for beneath in explained.blocks] or explained.stays
    _add_rest(branch, block.weight, parts[:_BRANCHES])


def _add_rest(branch: Tree, weight: float, shown: Sequence[AttendedBlock | AttendedStay]) -> None:
    """What is left of the weight of a block; nothing if nothing was opened, so that there is nothing to compare."""
    rest = weight - sum(part.weight for part in shown)
    if shown and rest >= _LEAST_REST:
        branch.add(Text(f"{shown_share(rest):>7}  others", "dim"))


def _line(part: AttendedBlock | AttendedStay, name: str) -> Text:
    frames = f"{part.frame_count:,} frame{'' if part.frame_count == 1 else 's'}"
    when = f"{shown_span(part.start_time, part.end_time)}, {frames}"
    return Text.assemble((f"{shown_share(part.weight):>7}", "bold"), f"  {name}  ", (when, "dim"))


def print_fitted(fitted: FittedAttention, memory: str) -> None:
    """What fitting gained, or that plain attention stays."""
    if not fitted.held_out_queries:
        click.echo("plain attention stays: there is too little to judge another by yet")
        return
    shares = (
        f"of {fitted.held_out_queries:,} held-out queries, the evidence was among the five heaviest exemplars in "
        f"{shown_share(fitted.fitted_top5_share)} with fitted attention, in {shown_share(fitted.plain_top5_share)} "
        "with plain"
    )
    if fitted.version is None:
        click.echo(f"plain attention stays: {shares}")
        return
    click.echo(f"fitted attention is kept as version {fitted.version}: {shares}")
    through = fitted.fitted_through
    limit = "" if through is None else f", but not --as-of a time before {shown_time(through)}"
    click.echo(f"`framekeep query {memory} --attention latest` uses it{limit}")
