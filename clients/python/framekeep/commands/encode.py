"""`framekeep encode`: embeddings of pictures."""

import json
from pathlib import Path

import click
import numpy as np

from framekeep.client import Client
from framekeep.commands.parameters import PICTURE_FILE, json_option
from framekeep.documents import document_from
from framekeep.printing import print_embeddings


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=PICTURE_FILE)
@click.option(
    "--output",
    metavar="FILE.npy",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the embeddings as a NumPy array, float32 [B, D], instead of printing a table.",
)
@json_option
@click.pass_obj
def encode(address: str, images: tuple[Path, ...], *, output: Path | None, as_json: bool) -> None:
    """Encode JPEG, PNG or WebP pictures as streaming would, and store nothing.

    The table shows how novel each picture would be to a memory that knows the first one only.
    """
    with Client(address) as client:
        embeddings = client.encode(images)
    if output is not None:
        with output.open("wb") as file:  # given a name, numpy would add an ending
            np.save(file, embeddings)
        click.echo(f"wrote {output}: float32 {list(embeddings.shape)}", err=True)
    if as_json:
        rows = zip(images, embeddings, strict=True)
        click.echo(json.dumps([{"image": str(image), "embedding": document_from(row)} for image, row in rows]))
    elif output is None:
        print_embeddings([str(image) for image in images], embeddings)
