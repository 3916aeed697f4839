"""`framekeep fit` and `framekeep feedback`: attention that learns what the answers are."""

import json
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from framekeep.answer_printing import print_fitted
from framekeep.client import Client
from framekeep.commands.parameters import instant, json_option, require_one_subject, subject_options
from framekeep.commands.termination import raised_on_sigterm
from framekeep.documents import document_from


@click.command()
@click.argument("memory")
@json_option
@click.pass_obj
def fit(address: str, memory: str, *, as_json: bool) -> None:
    """Fit attention to MEMORY: to what is seen again in it, and to what `framekeep feedback` named.

    Trains on the earlier part of what MEMORY holds. A version is kept only if on the later part it puts the evidence
    among the five heaviest exemplars more often than plain attention does; else nothing changes. It may take minutes,
    and streams go on meanwhile. Queries use it with --attention.
    """
    with (
        raised_on_sigterm(),
        Client(address) as client,
        _status(f"Fitting attention to {memory}; this may take minutes"),
    ):
        fitted = client.fit(memory)
    if as_json:
        click.echo(json.dumps(document_from(fitted)))
    else:
        print_fitted(fitted, memory)


def _status(text: str) -> AbstractContextManager[object]:
    console = Console(stderr=True)
    return console.status(text) if console.is_terminal else nullcontext()


@click.command()
@click.argument("memory")
@subject_options
@click.option(
    "--evidence",
    metavar="ID",
    type=click.IntRange(min=1),
    multiple=True,
    required=True,
    help="An exemplar that was the answer; may be repeated.",
)
@click.option(
    "--as-of", metavar="TIME", type=instant, help="When it was asked, in capture time; UTC by default. [default: now]"
)
@click.pass_obj
def feedback(
    address: str,
    memory: str,
    *,
    image: Path | None,
    exemplar: int | None,
    at: tuple[str, datetime] | None,
    evidence: tuple[int, ...],
    as_of: datetime | None,
) -> None:
    """Say what answered a question to MEMORY, for `framekeep fit` to learn from.

    The question is exactly one of --image, --exemplar and --at, as for `framekeep query`.
    """
    require_one_subject(image, exemplar, at)
    with Client(address) as client:
        client.send_feedback(memory, evidence=evidence, image=image, exemplar=exemplar, moment=at, as_of=as_of)
    click.echo(f"recorded; `framekeep fit {memory}` learns from it", err=True)
