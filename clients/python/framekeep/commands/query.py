"""`framekeep query`: has this been seen, and when?"""

import json
from datetime import datetime
from pathlib import Path

import click

from framekeep.client import Client
from framekeep.commands.parameters import PICTURE_FILE, instant, json_option, since_option, until_option
from framekeep.documents import document_from
from framekeep.printing import print_answer


@click.command()
@click.argument("memory")
@click.option("--image", metavar="FILE", type=PICTURE_FILE, help="Look for what this JPEG, PNG or WebP picture shows.")
@click.option("--exemplar", metavar="ID", type=click.IntRange(min=1), help="Look for what this exemplar stands for.")
@click.option("--at", metavar="STREAM TIME", type=(str, instant), help="Look for what a stream showed at a time.")
@since_option("Only frames captured from then on; UTC if no zone is named.")
@until_option("Only frames captured before then.")
@click.option("--stream", "streams", multiple=True, help="Only frames of this stream; may be repeated.")
@click.option("--as-of", metavar="TIME", type=instant, help="Answer as if asked then.")
@click.option("--inverse-temperature", type=float, help="How sharply attention prefers the similar. [default: 20]")
@click.option("--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many matches and blocks.")
@json_option
@click.pass_obj
def query(
    address: str,
    memory: str,
    *,
    image: Path | None,
    exemplar: int | None,
    at: tuple[str, datetime] | None,
    since: datetime | None,
    until: datetime | None,
    streams: tuple[str, ...],
    as_of: datetime | None,
    inverse_temperature: float | None,
    top: int,
    as_json: bool,
) -> None:
    """Ask MEMORY whether something has been seen, by exactly one of --image, --exemplar and --at."""
    if sum(subject is not None for subject in (image, exemplar, at)) != 1:
        raise click.UsageError("expected exactly one of --image, --exemplar and --at")
    with Client(address) as client:
        answer = client.query(
            memory,
            image=image,
            exemplar=exemplar,
            moment=at,
            since=since,
            until=until,
            streams=streams,
            as_of=as_of,
            inverse_temperature=inverse_temperature,
            top=top,
        )
    if as_json:
        click.echo(json.dumps(document_from(answer)))
    else:
        print_answer(answer)
