"""`framekeep timeline`: what a stream showed, and when."""

import json
from datetime import datetime
from pathlib import Path

import click

from framekeep.answers import Sighting
from framekeep.client import Client
from framekeep.commands.parameters import json_option, since_option, until_option
from framekeep.documents import document_from
from framekeep.picture_files import png_from
from framekeep.printing import print_timeline
from framekeep.timeline_figure import MOST_ROWS, draw_timeline, exemplars_to_show, within


@click.command()
@click.argument("memory")
@click.argument("stream")
@since_option("Only sightings that last until then or longer; UTC if no zone is named.")
@until_option("Only sightings that start before then.")
@click.option(
    "--figure",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw which exemplar was on screen when, instead of printing a table: a row for each of the "
    f"{MOST_ROWS} that were on screen longest.",
)
@json_option
@click.pass_obj
def timeline(
    address: str,
    memory: str,
    stream: str,
    *,
    since: datetime | None,
    until: datetime | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """List or draw the sightings of STREAM in MEMORY, in order of their start."""
    with Client(address) as client:
        sightings = list(client.timeline(memory, stream, since=since, until=until))
        if figure is not None:
            _write_figure(client, figure, memory, f"{memory} / {stream}", within(sightings, since, until))
    if as_json:
        click.echo(json.dumps([document_from(sighting) for sighting in sightings]))
    elif figure is None:
        print_timeline(sightings)


def _write_figure(client: Client, figure: Path, memory: str, title: str, sightings: list[Sighting]) -> None:
    ids = exemplars_to_show(sightings)
    exemplars = {number: client.exemplar(memory, number, thumbnail=True) for number in ids}
    figure.write_bytes(png_from(draw_timeline(sightings, exemplars, title)))
    total = len({sighting.exemplar for sighting in sightings})
    click.echo(f"wrote {figure} with {len(sightings)} sightings, and {len(ids)} of {total} exemplars", err=True)
