"""`framekeep timeline`: what a stream showed, and when."""

import json
from datetime import datetime

import click

from framekeep.client import Client
from framekeep.commands.parameters import json_option, since_option, until_option
from framekeep.documents import document_from
from framekeep.printing import print_timeline


@click.command()
@click.argument("memory")
@click.argument("stream")
@since_option("Only sightings that last until then or longer; UTC if no zone is named.")
@until_option("Only sightings that start before then.")
@json_option
@click.pass_obj
def timeline(
    address: str, memory: str, stream: str, *, since: datetime | None, until: datetime | None, as_json: bool
) -> None:
    """List the sightings of STREAM in MEMORY, in order of their start."""
    with Client(address) as client:
        sightings = list(client.timeline(memory, stream, since=since, until=until))
    if as_json:
        click.echo(json.dumps([document_from(sighting) for sighting in sightings]))
    else:
        print_timeline(sightings)
