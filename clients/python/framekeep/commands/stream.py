"""`framekeep stream`: a video into a memory."""

import json
from collections.abc import Iterator
from datetime import datetime

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from framekeep.client import Client
from framekeep.commands.parameters import instant, json_option
from framekeep.documents import document_from
from framekeep.ingest import StreamRun
from framekeep.printing import print_summary
from framekeep.verdicts import Verdict


@click.command()
@click.argument("source")
@click.option("--memory", required=True, help="The memory it goes into; created if it does not exist.")
@click.option("--stream", "stream_name", help="The stream it is a run of; named after the file if left out.")
@click.option("--session", metavar="UUID", help="Go on with this session: frames that it has acknowledged are skipped.")
@click.option("--start", metavar="TIME", type=instant, help="Capture time of the first frame; UTC if no zone is named.")
@click.option(
    "--jpeg", is_flag=True, help="Send JPEG files instead of raw pixels: a seventh of the bytes, not quite exact."
)
@click.option("--threshold", type=float, help="Novelty threshold in (0, 2], used only if the memory is created now.")
@json_option
@click.pass_obj
def stream(
    address: str,
    source: str,
    *,
    memory: str,
    stream_name: str | None,
    session: str | None,
    start: datetime | None,
    jpeg: bool,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Stream SOURCE, a video file or URL, into a memory.

    Prints what became of its frames; with --json a line for each frame as it is decided, and a summary.
    """
    with (
        Client(address) as client,
        client.stream(
            source,
            memory=memory,
            stream=stream_name,
            session_id=session,
            start_time=start,
            novelty_threshold=threshold,
            transport="jpeg" if jpeg else "raw",
        ) as run,
    ):
        try:
            for verdict in run if as_json else _with_progress(run):
                if as_json:
                    click.echo(json.dumps({"verdict": document_from(verdict)}))
        finally:  # what was acknowledged stays, so it is told however the run ends
            if as_json:
                click.echo(json.dumps({"summary": document_from(run.summary)}))
            else:
                print_summary(run.summary)


def _with_progress(run: StreamRun) -> Iterator[Verdict]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("frames", total=run.expected_frames)
        for verdict in run:
            progress.advance(task)
            yield verdict
