"""Parameters that several commands share."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from framekeep.times import read_time

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PICTURE_FILE = click.Path(path_type=Path)
"""A file; whether it can be read is for the client to say, in one way everywhere."""


def instant(text: str) -> datetime:
    """An instant from the command line."""
    try:
        return read_time(text)
    except ValueError as error:
        example = "2026-01-31T05:06:07.5 (UTC) or 2026-01-31T05:06:07+01:00"
        raise click.BadParameter(f"expected a time such as {example}, got {text!r}") from error


def since_option(text: str) -> Decorator:
    """`--since`, with its help."""
    return click.option("--since", metavar="TIME", type=instant, help=text)


def until_option(text: str) -> Decorator:
    """`--until`, with its help."""
    return click.option("--until", metavar="TIME", type=instant, help=text)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of tables.")
