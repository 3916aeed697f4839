"""Parameters that several commands share."""

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from framekeep.policies import MOST_PER_MINUTE, Budget
from framekeep.times import read_time

_AGES = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

_SIZES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

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


def age(text: str) -> timedelta:
    """A length of time from the command line."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)", text)
    try:
        if found:
            return float(found[1]) * _AGES[found[2]]
    except OverflowError:  # as wrong as one without a unit
        pass
    raise click.BadParameter(f"expected a length of time such as 30d, 12h, 90min or 45s, got {text!r}")


def size_bytes(text: str) -> int:
    """A number of bytes from the command line."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kB|MB|GB|TB)|(\d+)", text)
    if not found:
        raise click.BadParameter(f"expected a size such as 10GB, 500MB or 1000000 (bytes), got {text!r}")
    return int(found[3]) if found[3] else round(float(found[1]) * _SIZES[found[2]])


def share(text: str) -> float:
    """A share in (0, 1] from the command line."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text)
    if found:
        number = float(found[1]) / 100 if found[2] else float(found[1])
        if 0 < number <= 1:
            return number
    raise click.BadParameter(f"expected a share above 0 and at most 1, such as 0.01 or 1%, got {text!r}")


def thresholds(text: str) -> tuple[float, ...]:
    """Novelty thresholds from the command line, with commas between them."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"expected numbers with commas between them, got {text!r}") from error
    if not all(0 < value <= 2 for value in values):
        raise click.BadParameter(f"expected thresholds in (0, 2], got {text!r}")
    return values


def budget(text: str) -> Budget:
    """What a stream may keep, from the command line: a share, or exemplars or bytes a day."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:(%)|(kB|MB|GB|TB)?\s*/\s*day)", text)
    number = float(found[1]) if found else 0.0
    if found and found[2] and 0 < number <= 100:
        return Budget(share=number / 100)
    if found and not found[2] and 0 < number < math.inf:
        return Budget(bytes_per_day=number * _SIZES[found[3]]) if found[3] else Budget(exemplars_per_day=number)
    raise click.BadParameter(f"expected a target such as 2%, 500/day (exemplars) or 1GB/day, got {text!r}")


def subject_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--image`, `--exemplar` and `--at`, with their help; `require_one_subject` checks them."""
    for option in (
        click.option("--at", metavar="STREAM TIME", type=(str, instant), help="What a stream showed at a time."),
        click.option("--exemplar", metavar="ID", type=click.IntRange(min=1), help="What this exemplar stands for."),
        click.option("--image", metavar="FILE", type=PICTURE_FILE, help="What this JPEG, PNG or WebP picture shows."),
    ):
        command = option(command)
    return command


def require_one_subject(*subjects: object) -> None:
    """Refuse none and several of `--image`, `--exemplar` and `--at`."""
    if sum(subject is not None for subject in subjects) != 1:
        raise click.UsageError("expected exactly one of --image, --exemplar and --at")


def retention_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--max-age`, `--max-exemplars` and `--max-bytes`, with their help."""
    for option in (
        click.option(
            "--max-bytes", metavar="SIZE", type=size_bytes, help="Keep at most so much on disk, such as 10GB."
        ),
        click.option(
            "--max-exemplars", metavar="N", type=click.IntRange(min=1), help="Keep at most so many exemplars."
        ),
        click.option("--max-age", metavar="AGE", type=age, help="Keep what is younger only: 30d, 12h, 90min or 45s."),
    ):
        command = option(command)
    return command


def keeping_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--compare`, `--horizon`, the limits and `--budget`, with their help."""
    threshold = click.FloatRange(min=0, max=2, min_open=True)
    for option in (
        click.option("--max-threshold", type=threshold, help="With --budget: not above this threshold. [default: 1]"),
        click.option("--min-threshold", type=threshold, help="With --budget: not below this one. [default: 0.005]"),
        click.option(
            "--budget",
            metavar="TARGET",
            type=budget,
            help="Hold each stream to 2% of its frames, 500/day (exemplars) or 1GB/day, by moving its threshold.",
        ),
        click.option("--min-interval", metavar="AGE", type=age, help="Keep nothing sooner after another, such as 2s."),
        click.option(
            "--per-minute",
            metavar="N",
            type=click.IntRange(1, MOST_PER_MINUTE),
            help="Keep at most so many a minute.",
        ),
        click.option(
            "--horizon", metavar="AGE", type=age, help="Compare only with what was seen within it, such as 1h."
        ),
        click.option(
            "--compare",
            type=click.Choice(["memory", "stream"]),
            help="Compare frames with all of the memory, or with what their own stream has shown. [default: memory]",
        ),
    ):
        command = option(command)
    return command


def since_option(text: str) -> Decorator:
    """`--since`, with its help."""
    return click.option("--since", metavar="TIME", type=instant, help=text)


def until_option(text: str) -> Decorator:
    """`--until`, with its help."""
    return click.option("--until", metavar="TIME", type=instant, help=text)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of tables.")
