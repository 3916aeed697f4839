"""`framekeep memories`: list, show, create, delete, and change the threshold, what is kept, and the retention."""

import json
from dataclasses import replace
from datetime import timedelta

import click

from framekeep.client import Client
from framekeep.commands.parameters import json_option, keeping_options, retention_options
from framekeep.documents import document_from
from framekeep.memories import Memory, Retention, Stream
from framekeep.memory_printing import print_memories, print_memory, print_retention, print_threshold
from framekeep.policies import MAX_THRESHOLD, MIN_THRESHOLD, Budget, Comparison, KeepingPolicy
from framekeep.retuning import set_keeping
from framekeep.retuning_printing import print_replaced
from framekeep.undo import Undo


@click.group()
def memories() -> None:
    """List, show, create, change and delete memories."""


@memories.command("list")
@json_option
@click.pass_obj
def list_(address: str, *, as_json: bool) -> None:
    """List all memories."""
    with Client(address) as client:
        listed, unreadable = client.memories(), client.unreadable_memories()
    if as_json:
        click.echo(json.dumps({"memories": document_from(listed), "unreadable": document_from(unreadable)}))
    else:
        print_memories(listed, unreadable)


@memories.command()
@click.argument("memory")
@json_option
@click.pass_obj
def show(address: str, memory: str, *, as_json: bool) -> None:
    """Show what MEMORY and its streams hold."""
    with Client(address) as client:
        facts, streams = client.memory(memory), client.streams(memory)
    if as_json:
        click.echo(json.dumps({"memory": document_from(facts), "streams": document_from(streams)}))
    else:
        print_memory(facts, streams)


@memories.command()
@click.argument("memory")
@click.option("--threshold", type=float, help="Novelty threshold in (0, 2]; the server's default if left out.")
@retention_options
@json_option
@click.pass_obj
def create(
    address: str,
    memory: str,
    *,
    threshold: float | None,
    max_age: timedelta | None,
    max_exemplars: int | None,
    max_bytes: int | None,
    as_json: bool,
) -> None:
    """Create MEMORY, empty. What is beyond its limits is forgotten, the oldest first; without any, nothing is."""
    with Client(address) as client:
        retention = Retention(max_age, max_exemplars, max_bytes)
        created = client.create_memory(memory, novelty_threshold=threshold, retention=retention)
    if as_json:
        click.echo(json.dumps(document_from(created)))
    else:
        print_memory(created, [])


@memories.command()
@click.argument("memory")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def delete(address: str, memory: str, *, yes: bool) -> None:
    """Delete MEMORY with all it holds, for good."""
    with Client(address) as client:
        facts = client.memory(memory)
        if not yes:
            held = f"{facts.contents.exemplars} exemplars of {facts.contents.frames} frames"
            click.confirm(f"Delete {facts.name} with {held}, for good?", abort=True, err=True)
        client.delete_memory(memory)
    click.echo(f"deleted {facts.name}", err=True)


@memories.command()
@click.argument("memory")
@click.argument("value", type=float, required=False)
@click.option("--stream", help="Change the threshold of this stream alone.")
@click.option("--inherit", is_flag=True, help="With --stream: the threshold of the memory holds for it again.")
@json_option
@click.pass_obj
def threshold(
    address: str, memory: str, value: float | None, *, stream: str | None, inherit: bool, as_json: bool
) -> None:
    """Set the novelty threshold of MEMORY, or of one stream, to VALUE in (0, 2].

    The first frame decided afterwards obeys it; what was decided before stays.
    """
    if inherit != (value is None):
        raise click.UsageError("expected either VALUE or --inherit")
    with Client(address) as client:
        changed: Memory | Stream
        if stream is not None:
            changed = client.set_threshold(memory, value, stream=stream)
        elif value is not None:
            changed = client.set_threshold(memory, value)
        else:
            raise click.UsageError("expected --inherit together with --stream")
    if as_json:
        click.echo(json.dumps(document_from(changed)))
    else:
        print_threshold(changed)


@memories.command()
@click.argument("memory")
@click.option("--stream", help="Set the policy of this stream alone.")
@keeping_options
@click.option(
    "--clear", "cleared", is_flag=True, help="Hold nothing back; of a stream: that of the memory holds again."
)
@json_option
@click.pass_obj
def keep(
    address: str,
    memory: str,
    *,
    stream: str | None,
    compare: str | None,
    horizon: timedelta | None,
    per_minute: int | None,
    min_interval: timedelta | None,
    budget: Budget | None,
    min_threshold: float | None,
    max_threshold: float | None,
    cleared: bool,
    as_json: bool,
) -> None:
    """Set what frames of MEMORY, or of one stream, are compared with, and what holds novel ones back.

    It takes the place of the whole policy in force, which is told with what takes the change back; the first frame
    decided afterwards obeys it. A budget moves the threshold of each stream so that it keeps about that much;
    `framekeep tune MEMORY --target` begins at the right one.
    """
    is_given = any(value is not None for value in (compare, horizon, per_minute, min_interval, budget))
    if cleared == is_given:
        raise click.UsageError("expected either a policy or --clear")
    if budget is None and (min_threshold, max_threshold) != (None, None):
        raise click.UsageError("expected --budget with --min-threshold and --max-threshold")
    if budget is not None:
        budget = replace(
            budget, min_threshold=min_threshold or MIN_THRESHOLD, max_threshold=max_threshold or MAX_THRESHOLD
        )
    comparison = Comparison.MEMORY if compare is None else Comparison(compare)
    policy = None if cleared else KeepingPolicy(comparison, horizon, per_minute, min_interval, budget)
    with Client(address) as client:
        replaced = set_keeping(client, memory, stream, policy, Undo(address))
    if as_json:
        click.echo(json.dumps(document_from(replaced.after)))
    else:
        print_replaced(replaced)


@memories.command()
@click.argument("memory")
@retention_options
@click.option("--none", "lifted", is_flag=True, help="Keep everything: lift all limits.")
@json_option
@click.pass_obj
def retention(
    address: str,
    memory: str,
    *,
    max_age: timedelta | None,
    max_exemplars: int | None,
    max_bytes: int | None,
    lifted: bool,
    as_json: bool,
) -> None:
    """Set how long MEMORY keeps what it saw, in place of the limits it has.

    What is beyond a limit is forgotten within a minute, the oldest first, for good.
    """
    limits = Retention(max_age, max_exemplars, max_bytes)
    if lifted != (limits == Retention()):
        raise click.UsageError("expected either limits or --none")
    with Client(address) as client:
        changed = client.set_retention(memory, limits)
    if as_json:
        click.echo(json.dumps(document_from(changed)))
    else:
        print_retention(changed)
