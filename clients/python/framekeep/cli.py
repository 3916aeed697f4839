"""The command `framekeep`: where known errors become one clear line and an exit code."""

import errno
from typing import IO, Any

import click

from framekeep.client import DEFAULT_ADDRESS
from framekeep.commands.backup import backup, restore
from framekeep.commands.encode import encode
from framekeep.commands.evaluate import evaluate
from framekeep.commands.exemplars import exemplars
from framekeep.commands.export import export, import_
from framekeep.commands.fit import feedback, fit
from framekeep.commands.forget import compact, forget
from framekeep.commands.memories import memories
from framekeep.commands.query import query
from framekeep.commands.stream import stream
from framekeep.commands.termination import Terminated
from framekeep.commands.timeline import timeline
from framekeep.commands.tune import tune
from framekeep.errors import FramekeepError

_INTERRUPTED, _TERMINATED = 130, 143
"""What shells give to a command that ended by Ctrl-C, and by SIGTERM."""


class _Failure(click.ClickException):
    def show(self, file: IO[Any] | None = None) -> None:
        """Tell the error in one line."""
        click.echo(f"error: {self.message}", file=file, err=file is None)


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        """Run the command; exit with 1 after an error of this package or a file, 130 on Ctrl-C, 143 on SIGTERM."""
        try:
            return super().invoke(ctx)
        except FramekeepError as error:
            raise _Failure(error.message) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read the output went away; click ends quietly
                raise
            raise _Failure(f"{error.filename}: {error.strerror}") from error
        except Terminated as termination:
            raise click.exceptions.Exit(_TERMINATED) from termination
        except KeyboardInterrupt as interrupt:
            raise click.exceptions.Exit(_INTERRUPTED) from interrupt


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server",
    "address",
    metavar="HOST:PORT",
    default=DEFAULT_ADDRESS,
    show_default=True,
    envvar="FRAMEKEEP_SERVER",
    show_envvar=True,
    help="Where the server listens.",
)
@click.version_option(package_name="framekeep")
@click.pass_context
def main(ctx: click.Context, address: str) -> None:
    """Stream videos into framekeep, a visual memory, and ask it what was seen and when."""
    ctx.obj = address


for _command in (
    *(stream, query, exemplars, timeline, evaluate, tune, encode, fit, feedback),
    *(memories, forget, compact, export, import_, backup, restore),
):
    main.add_command(_command)
