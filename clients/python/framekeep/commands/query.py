"""`framekeep query`: has this been seen, and when?"""

import json
from datetime import datetime
from pathlib import Path

import click

from framekeep.answer_printing import print_answer
from framekeep.answers import Answer
from framekeep.attention import Explanation
from framekeep.attention_figure import draw_attention, exemplars_to_show
from framekeep.client import Client
from framekeep.commands.parameters import (
    instant,
    json_option,
    require_one_subject,
    share,
    since_option,
    subject_options,
    until_option,
)
from framekeep.documents import document_from
from framekeep.errors import InvalidRequest, ServerError
from framekeep.picture_files import png_from
from framekeep.times import shown_span


@click.command()
@click.argument("memory")
@subject_options
@since_option("Only frames captured from then on; UTC if no zone is named.")
@until_option("Only frames captured before then.")
@click.option("--stream", "streams", multiple=True, help="Only frames of this stream; may be repeated.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Only frames of sightings that carry this label; may be repeated: any of them.",
)
@click.option("--as-of", metavar="TIME", type=instant, help="Answer as if asked then.")
@click.option("--inverse-temperature", type=float, help="How sharply attention prefers the similar. [default: 20]")
@click.option(
    "--attention",
    "attention_version",
    metavar="VERSION",
    help="Attend as `framekeep fit` learned to: a version, or `latest`. [default: plain attention]",
)
@click.option("--exact", is_flag=True, help="Read every stay, however long it takes.")
@click.option(
    "--max-error",
    "max_reading_error",
    metavar="SHARE",
    type=share,
    help="Read on until what is not read is estimated to move the context vector by at most this share of its length,"
    " such as 0.01 or 1%.",
)
@click.option("--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many matches and blocks.")
@click.option("--explain", is_flag=True, help="Show the way from the top of the hierarchy down to the exemplars.")
@click.option(
    "--figure",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw when, and in which streams, what drew the attention was seen, and what it looks like.",
)
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
    labels: tuple[str, ...],
    as_of: datetime | None,
    inverse_temperature: float | None,
    attention_version: str | None,
    exact: bool,
    max_reading_error: float | None,
    top: int,
    explain: bool,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Ask MEMORY whether something has been seen, by exactly one of --image, --exemplar and --at.

    Attention reads what matters of a large memory and estimates the rest; the answer says how far that may be off.
    """
    require_one_subject(image, exemplar, at)
    with Client(address) as client:
        answer = client.query(
            memory,
            image=image,
            exemplar=exemplar,
            moment=at,
            since=since,
            until=until,
            streams=streams,
            labels=labels,
            as_of=as_of,
            inverse_temperature=inverse_temperature,
            attention_version=attention_version,
            exact=exact,
            max_reading_error=max_reading_error,
            top=top,
            explain=explain or figure is not None,
        )
        if as_json:
            click.echo(json.dumps(document_from(answer)))
        else:
            print_answer(answer, explain=explain)
        if figure is not None:
            title = f"attention of {memory} to {_named(image, exemplar, at)}"
            _write_figure(client, figure, memory, title, _explanation_of(answer))


def _named(image: Path | None, exemplar: int | None, at: tuple[str, datetime] | None) -> str:
    if image is not None:
        return image.name
    if at is not None:
        stream, time = at
        return f"{stream} at {shown_span(time, time)}"
    return f"exemplar {exemplar}"


def _explanation_of(answer: Answer) -> Explanation:
    if answer.attention is None:
        raise InvalidRequest("expected attention to draw, but nothing is within the filter")
    if answer.attention.explanation is None:
        raise ServerError("expected the explanation that was asked for from the server, got none")
    return answer.attention.explanation


def _write_figure(client: Client, figure: Path, memory: str, title: str, explanation: Explanation) -> None:
    ids = exemplars_to_show(explanation)
    exemplars = {number: client.exemplar(memory, number, thumbnail=True) for number in ids}
    figure.write_bytes(png_from(draw_attention(explanation, exemplars, title)))
    blocks = len(explanation.blocks_of_stays)
    click.echo(f"wrote {figure} with {blocks} blocks of stays, and {len(ids)} exemplars", err=True)
