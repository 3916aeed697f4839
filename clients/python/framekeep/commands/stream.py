"""`framekeep stream`: a video, a folder of pictures, a camera or a live stream into a memory."""

import json
from contextlib import nullcontext, suppress
from datetime import datetime

import click

from framekeep.client import Client
from framekeep.commands.parameters import instant, json_option
from framekeep.commands.termination import raised_on_sigterm
from framekeep.containers import STALL_S
from framekeep.documents import document_from
from framekeep.forever import ForeverRun
from framekeep.ingest import StreamRun
from framekeep.locations import Location
from framekeep.printing import print_summary
from framekeep.progress import progress_of
from framekeep.questions import ContextQuery
from framekeep.session import Transport


@click.command()
@click.argument("source")
@click.option("--memory", required=True, help="The memory it goes into; created if it does not exist.")
@click.option("--stream", "stream_name", help="The stream it is a run of; named after the source if left out.")
@click.option(
    "--forever",
    is_flag=True,
    help="Connect again and again to a camera or live URL that was lost, and wait for the server, until Ctrl-C or"
    " SIGTERM; then exit with 0.",
)
@click.option(
    "--stall",
    "stall_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=STALL_S,
    show_default=True,
    help="After how long without a frame a camera or URL counts as lost.",
)
@click.option("--session", metavar="UUID", help="Go on with this session: frames that it has acknowledged are skipped.")
@click.option("--start", metavar="TIME", type=instant, help="Capture time of the first frame; UTC if no zone is named.")
@click.option(
    "--fps",
    "frames_per_second",
    metavar="NUMBER",
    type=click.FloatRange(min=0, min_open=True),
    help="For a folder: pictures a second.  [default: 1]",
)
@click.option("--file-times", is_flag=True, help="For a folder: take when a file was last changed as its capture time.")
@click.option(
    "--jpeg", is_flag=True, help="Send JPEG files instead of raw pixels: a seventh of the bytes, not quite exact."
)
@click.option("--threshold", type=float, help="Novelty threshold in (0, 2], used only if the memory is created now.")
@click.option("--label", "labels", multiple=True, help="What every frame is to carry, for queries; may be repeated.")
@click.option(
    "--context", is_flag=True, help="With --json: print with each frame what attention gives for it, as a vector."
)
@json_option
@click.pass_obj
def stream(
    address: str,
    source: str,
    *,
    memory: str,
    stream_name: str | None,
    forever: bool,
    stall_s: float,
    session: str | None,
    start: datetime | None,
    frames_per_second: float | None,
    file_times: bool,
    jpeg: bool,
    threshold: float | None,
    labels: tuple[str, ...],
    context: bool,
    as_json: bool,
) -> None:
    """Stream SOURCE into a memory.

    SOURCE is a video file; a folder of JPEG, PNG or WebP files, streamed in the order of their names; a URL, such as
    rtsp://camera/live; or a camera of this machine, by its number or device: 0 or /dev/video0.

    Prints what became of its frames; with --json a line for each frame as it is decided, and a summary.
    """
    if context and not as_json:
        raise click.UsageError("expected --json with --context, since a summary has no vectors")
    location: Location = int(source) if source.isdecimal() else source
    transport: Transport = "jpeg" if jpeg else "raw"
    with raised_on_sigterm(), Client(address) as client:
        begin = client.stream_forever if forever else client.stream
        run = begin(
            location,
            memory=memory,
            stream=stream_name,
            session_id=session,
            start_time=start,
            frames_per_second=frames_per_second,
            file_times=file_times,
            stall_s=stall_s,
            novelty_threshold=threshold,
            labels=labels,
            context=ContextQuery() if context else None,
            transport=transport,
        )
        # Ending by a signal is how a run for ever is meant to end.
        with suppress(KeyboardInterrupt) if forever else nullcontext():
            _follow(run, as_json=as_json)


def _follow(run: StreamRun | ForeverRun, *, as_json: bool) -> None:
    try:
        with run, nullcontext() if as_json else progress_of(run):
            for verdict in run:
                if as_json:
                    click.echo(json.dumps({"verdict": document_from(verdict)}))
    finally:  # what was acknowledged stays, so it is told however the run ends
        if as_json:
            click.echo(json.dumps({"summary": document_from(run.summary)}))
        else:
            print_summary(run.summary)
