"""`framekeep backup` and `framekeep restore`: all memories of a server, as a folder of files."""

import json
from pathlib import Path

import click

from framekeep.backups import back_up
from framekeep.backups import restore as restored_from
from framekeep.client import Client
from framekeep.commands.byte_bar import byte_bar
from framekeep.commands.parameters import json_option
from framekeep.commands.termination import raised_on_sigterm
from framekeep.documents import document_from
from framekeep.errors import MemoryUnreadable
from framekeep.memories import Memory
from framekeep.memory_printing import print_backup, print_memories

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=_FOLDER)
@json_option
@click.pass_obj
def backup(address: str, folder: Path, *, as_json: bool) -> None:
    """Write every memory of the server to FOLDER, which must be new or empty; streams go on meanwhile.

    Each memory is saved as it is at a moment of its own, in a file that `framekeep import` takes too. `manifest.json`
    is written last: without it, FOLDER is a backup that was broken off. A memory that cannot be read is left out, and
    the command ends with exit code 1.
    """
    with raised_on_sigterm(), Client(address) as client, byte_bar() as watch:
        written = back_up(client, folder, watch)
    if as_json:
        click.echo(json.dumps(document_from(written)))
    else:
        print_backup(written)
    if written.unreadable:
        raise MemoryUnreadable(f"the server cannot read, and the backup does not have: {', '.join(written.unreadable)}")


@click.command()
@click.argument("folder", type=_FOLDER)
@click.option("--memory", "names", metavar="NAME", multiple=True, help="Restore this one only; may be repeated.")
@json_option
@click.pass_obj
def restore(address: str, folder: Path, *, names: tuple[str, ...], as_json: bool) -> None:
    """Make the memories of a backup in FOLDER again, under the names that they had.

    Before the first is restored, all files are checked against the manifest, and that no name is taken. Prints the
    memories that were restored, also if a later one could not be.
    """
    restored: list[Memory] = []
    try:
        with raised_on_sigterm(), Client(address) as client, byte_bar() as watch:
            for memory in restored_from(client, folder, names, watch):
                restored.append(memory)
                click.echo(f"restored {memory.name}", err=True)
    finally:
        if as_json:
            click.echo(json.dumps(document_from(restored)))
        elif restored:
            print_memories(restored, [])
