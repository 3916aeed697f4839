"""What a command changed of thresholds and policies, and how to take it back, for people who read what it prints."""

import click

from framekeep.memory_printing import print_keeping, print_threshold
from framekeep.policy_printing import shown_policy
from framekeep.retuning import Retuned, policy_of


def print_retuned(retuned: Retuned) -> None:
    """What was changed, what does not follow from it, and how to undo it."""
    print_threshold(retuned.after)
    if policy_of(retuned.after) != policy_of(retuned.before):
        print_keeping(retuned.after)
    for remark in retuned.remarks:
        click.echo(f"note: {remark}")
    _print_undo(retuned)


def print_replaced(retuned: Retuned) -> None:
    """The policy in force, and if it is another than before, which one it took the place of and how to undo it."""
    print_keeping(retuned.after)
    if retuned.after.keeping != retuned.before.keeping:
        click.echo(f"in place of: {shown_policy(policy_of(retuned.before))}")
        _print_undo(retuned)


def _print_undo(retuned: Retuned) -> None:
    click.echo("to undo it:")
    for command in retuned.undo:
        click.echo(f"  {command}")
