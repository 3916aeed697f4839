"""`framekeep forget` and `framekeep compact`: less of a memory."""

import json
import sys
from datetime import datetime

import click

from framekeep.client import Client
from framekeep.commands.parameters import instant, json_option
from framekeep.commands.termination import raised_on_sigterm
from framekeep.documents import document_from
from framekeep.memory_printing import print_compacted, print_forgotten
from framekeep.times import shown_time


@click.command()
@click.argument("memory")
@click.option(
    "--from", "since", metavar="TIME", type=instant, help="Only frames captured from then on; UTC by default."
)
@click.option("--to", "until", metavar="TIME", type=instant, help="Only frames captured before then.")
@click.option("--stream", "streams", multiple=True, help="Only frames of this stream; may be repeated.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@click.pass_obj
def forget(
    address: str,
    memory: str,
    *,
    since: datetime | None,
    until: datetime | None,
    streams: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Forget what MEMORY saw in a time range, for good, by --from, --to or both.

    Streams go on meanwhile. Exports and backups made before still hold it. Once begun it is finished by the server,
    even if this command is interrupted.
    """
    if since is None and until is None:
        raise click.UsageError("expected --from, --to or both")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("expected --yes, since there is no terminal to ask for confirmation")
    with raised_on_sigterm(), Client(address) as client:
        if not yes:
            name = client.memory(memory).name
            click.confirm(f"Forget what {name} saw {_told(since, until, streams)}, for good?", abort=True, err=True)
        forgotten = client.forget(memory, since=since, until=until, streams=streams)
    if as_json:
        click.echo(json.dumps(document_from(forgotten)))
    else:
        print_forgotten(forgotten)


def _told(since: datetime | None, until: datetime | None, streams: tuple[str, ...]) -> str:
    parts = [] if since is None else [f"from {shown_time(since)}"]
    parts += [] if until is None else [f"before {shown_time(until)}"]
    parts += [f"by {', '.join(streams)}"] if streams else []
    return " ".join(parts)


@click.command()
@click.argument("memory")
@click.option(
    "--threshold", type=float, required=True, help="Merge exemplars within this cosine distance of an older one."
)
@json_option
@click.pass_obj
def compact(address: str, memory: str, *, threshold: float, as_json: bool) -> None:
    """Merge exemplars of MEMORY, if it was filled at too low a threshold.

    The older exemplar then stands for the frames of both, which may be beyond the memory's own threshold. Once begun
    it goes on in the server, even if this command is interrupted.
    """
    with raised_on_sigterm(), Client(address) as client:
        compacted = client.compact(memory, threshold)
    if as_json:
        click.echo(json.dumps(document_from(compacted)))
    else:
        print_compacted(compacted)
