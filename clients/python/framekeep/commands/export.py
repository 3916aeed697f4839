"""`framekeep export` and `framekeep import`: one memory as one file."""

import json
from pathlib import Path

import click

from framekeep.client import Client
from framekeep.commands.byte_bar import byte_bar
from framekeep.commands.parameters import json_option
from framekeep.commands.termination import raised_on_sigterm
from framekeep.documents import document_from
from framekeep.memory_printing import print_memory, print_memory_file

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("memory")
@click.argument("file", type=_FILE)
@click.option("--overwrite", is_flag=True, help="Replace FILE if there is one.")
@json_option
@click.pass_obj
def export(address: str, memory: str, *, file: Path, overwrite: bool, as_json: bool) -> None:
    """Write MEMORY to FILE, as it is at one moment; streams go on meanwhile.

    FILE gets its name when all of it is written and agrees with the server's sum; until then it is FILE.part.
    """
    with raised_on_sigterm(), Client(address) as client, byte_bar() as watch:
        written = client.export_memory(memory, file, overwrite=overwrite, progress=watch(memory))
    if as_json:
        click.echo(json.dumps(document_from(written)))
    else:
        print_memory_file(written)


@click.command("import")
@click.argument("file", type=_FILE)
@click.option(
    "--as", "name", metavar="NAME", help="Name of the memory; that of the file without its ending if left out."
)
@click.option("--sha256", metavar="DIGEST", help="Refuse a file with another SHA-256.")
@json_option
@click.pass_obj
def import_(address: str, file: Path, *, name: str | None, sha256: str | None, as_json: bool) -> None:
    """Make a memory of FILE, which `framekeep export` wrote, under a name that is free.

    The server shows nothing of it before it has the whole file and has checked it.
    """
    with raised_on_sigterm(), Client(address) as client, byte_bar() as watch:
        memory = client.import_memory(file, name, sha256=sha256, progress=watch(file.name))
    if as_json:
        click.echo(json.dumps(document_from(memory)))
    else:
        print_memory(memory, [])
