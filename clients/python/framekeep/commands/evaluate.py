"""`framekeep evaluate`: what a video would become, before it is trusted to a memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from framekeep.client import Client
from framekeep.commands.parameters import json_option
from framekeep.commands.parameters import thresholds as parse_thresholds
from framekeep.commands.termination import raised_on_sigterm
from framekeep.documents import document_from
from framekeep.errors import SourceError
from framekeep.evaluation import evaluate as evaluate_video
from framekeep.held_out import MOST_HELD_OUT, Progress
from framekeep.printing import print_evaluation


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "--thresholds",
    metavar="T,T,...",
    type=parse_thresholds,
    default="0.05,0.1,0.2,0.3",
    show_default=True,
    help="Novelty thresholds to try, each in (0, 2].",
)
@click.option(
    "--hold-out",
    metavar="N",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help=f"Hold out every N-th frame; N is doubled until that makes at most {MOST_HELD_OUT}.",
)
@json_option
@click.pass_obj
def evaluate(address: str, video: Path, *, thresholds: tuple[float, ...], hold_out: int, as_json: bool) -> None:
    """Try VIDEO, a file, at several thresholds, to judge before trusting.

    Streams it once for each threshold into a memory of its own, which is deleted afterwards. Every N-th frame is held
    out: not streamed, but asked for at the end. What comes out depends on the server's encoder, which is named.
    For what is in a memory already, `framekeep tune` tells the same of many thresholds without streaming it again.

    The first table says what is kept:

    \b
      frames       frames streamed: all but those held out
      kept         frames that became an exemplar
      share        kept by frames
      on disk      bytes of the memory, everything included
      frames/s     frames by the time it took, decoding included

    The second says how good that is; novelty is cosine distance, from 0 (the same) to 2:

    \b
      mean, 99 %, largest
                   novelty of the frames that were not kept to the exemplar
                   that stands for them: the mean, what 99 in 100 are at most,
                   and the largest, which is never above the threshold
      seen         share of the held-out frames that have an exemplar within
                   the threshold, so that a query says "seen"
      within 1 s   share of the held-out frames whose most similar exemplar was
                   on screen within one second of their own time
      similarity   mean cosine similarity of the held-out frames to their most
                   similar exemplars; 1 is the same

    The frames next to a held-out one were streamed, so the last three columns tell how well the memory stands for its
    own video, not for other days.
    """  # noqa: D301 - the letter that keeps click from filling these lines is a real backspace
    with raised_on_sigterm(), Client(address) as client, _progress_bar() as progress:
        evaluation = evaluate_video(client, video, thresholds=thresholds, hold_out=hold_out, progress=progress)
    if as_json:
        click.echo(json.dumps(document_from(evaluation)))
    else:
        print_evaluation(evaluation)
    if evaluation.fault is not None:
        raise SourceError(evaluation.fault)


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda doing, done, total: bar.update(task, description=doing, completed=done, total=total)
