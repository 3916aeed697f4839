"""`framekeep exemplars`: what a memory has kept."""

import json
from itertools import islice
from pathlib import Path

import click

from framekeep.client import Client
from framekeep.commands.parameters import json_option
from framekeep.contact_sheet import MOST_EXEMPLARS, draw_sheet
from framekeep.documents import document_from
from framekeep.memories import Memory
from framekeep.picture_files import png_from
from framekeep.printing import print_exemplars


@click.command()
@click.argument("memory")
@click.option("--oldest-first", is_flag=True, help="In the order in which they were kept; else the newest first.")
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"At most this many. [default: 50; on a sheet {MOST_EXEMPLARS}]"
)
@click.option(
    "--sheet",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Write a contact sheet of their thumbnails, at most {MOST_EXEMPLARS}, instead of printing a table.",
)
@click.option("--elapsed", is_flag=True, help="On the sheet, show times from the memory's first frame on.")
@json_option
@click.pass_obj
def exemplars(
    address: str,
    memory: str,
    *,
    oldest_first: bool,
    limit: int | None,
    sheet: Path | None,
    elapsed: bool,
    as_json: bool,
) -> None:
    """List the exemplars of MEMORY, or write a contact sheet of them."""
    most = limit or (50 if sheet is None else MOST_EXEMPLARS)
    most = most if sheet is None else min(most, MOST_EXEMPLARS)
    with Client(address) as client:
        facts = client.memory(memory)
        kept = list(islice(client.exemplars(memory, newest_first=not oldest_first, thumbnails=sheet is not None), most))
    if sheet is not None:
        origin = facts.contents.first_time if elapsed else None
        pixels = draw_sheet(kept, _title(facts), total=facts.contents.exemplars, origin=origin)
        sheet.write_bytes(png_from(pixels))
        click.echo(f"wrote {sheet} with {len(kept)} of {facts.contents.exemplars} exemplars", err=True)
    if as_json:
        click.echo(json.dumps([document_from(exemplar) for exemplar in kept]))
    elif sheet is None:
        print_exemplars(kept, total=facts.contents.exemplars)


def _title(memory: Memory) -> str:
    contents = memory.contents
    share = 100 * contents.novel_frames / contents.frames if contents.frames else 0.0
    return f"{memory.name}: {contents.exemplars:,} exemplars of {contents.frames:,} frames, {share:.1f} % kept"
