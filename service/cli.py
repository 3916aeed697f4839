"""The command `framekeep-server`."""

import asyncio
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import click

from encoder.errors import EncoderError
from memory_store.errors import MemoryStoreError
from memory_store.verification import Verified, verify_folder
from service.app import ListenError, configure_logging, serve
from service.config import ConfigError, ServiceConfig, load_config


@click.group(invoke_without_command=True)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the memories.  [framekeep-data]"
)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.  [127.0.0.1:50051]")
@click.option("--metrics", metavar="HOST:PORT", help="Serve figures for Prometheus there.  [nowhere]")
@click.option("--insecure", is_flag=True, default=None, help="Allow addresses that other machines can reach.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings; options go before it.")
@click.version_option(package_name="framekeep-server")
@click.pass_context
def main(
    context: click.Context,
    data: Path | None,
    listen: str | None,
    metrics: str | None,
    insecure: bool | None,  # noqa: FBT001
    config: Path | None,
) -> None:
    """Run the framekeep server until it gets SIGINT or SIGTERM."""
    given: dict[str, Any] = {"data": data, "listen": listen, "metrics": metrics, "insecure": insecure}
    overrides = {"server": {name: value for name, value in given.items() if value is not None}}
    try:
        settings = load_config(config, overrides)
        if context.invoked_subcommand is not None:
            context.obj = settings
            return
        configure_logging()
        asyncio.run(serve(settings, _announce))
    except (ConfigError, ListenError, MemoryStoreError, EncoderError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("memories", nargs=-1, metavar="[MEMORY]...")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the memories.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def verify(settings: ServiceConfig, memories: tuple[str, ...], data: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Check what is promised, from what lies on disk, while no server runs: exit status 0 if all of it holds, else 1.

    Accounting to the frame, coverage, index and trees against the journal. Nothing is changed.
    """
    try:
        verified = verify_folder(data or settings.server.data, memories)
    except MemoryStoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([document(one) for one in verified]))
    else:
        click.echo("\n".join(told(one) for one in verified) or "no memories")
    if not all(one.passed for one in verified):
        raise click.exceptions.Exit(1)


def document(verified: Verified) -> dict[str, Any]:
    """Tell what came of the checks of a memory, for machines; what is not known is null."""
    members = dataclasses.asdict(verified) | {"passed": verified.passed}
    for name in ("largest_novelty", "percentile_99_novelty"):
        if math.isnan(members[name]):
            members[name] = None
    return members


def told(verified: Verified) -> str:
    """Tell what came of the checks of a memory, for people."""
    lines = [f"{verified.memory}: {'passed' if verified.passed else 'FAILED'}"]
    lines.append(
        f"  {verified.frames} frames counted, {verified.exemplars} exemplars;"
        f" novelty at most {verified.largest_novelty:.4f}, of 99 % at most {verified.percentile_99_novelty:.4f}"
    )
    for check in verified.checks:
        lines.append(f"  {'ok    ' if not check.failures else 'FAILED'} {check.name}")
        lines += [f"           {failure}" for failure in check.told]
        if check.failures > len(check.told):
            lines.append(f"           and {check.failures - len(check.told)} more")
    return "\n".join(lines)


def _announce(address: str) -> None:
    click.echo(f"framekeep-server is listening on {address}")
