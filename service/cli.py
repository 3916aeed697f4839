"""The command `framekeep-server`."""

import asyncio
from pathlib import Path
from typing import Any

import click

from encoder.errors import EncoderError
from memory_store.errors import MemoryStoreError
from service.app import ListenError, configure_logging, serve
from service.config import ConfigError, load_config


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the memories.  [framekeep-data]"
)
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.  [127.0.0.1:50051]")
@click.option("--insecure", is_flag=True, default=None, help="Allow addresses that other machines can reach.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings; options go before it.")
@click.version_option(package_name="framekeep-server")
def main(data: Path | None, listen: str | None, insecure: bool | None, config: Path | None) -> None:  # noqa: FBT001
    """Run the framekeep server until it gets SIGINT or SIGTERM."""
    given: dict[str, Any] = {"data": data, "listen": listen, "insecure": insecure}
    overrides = {"server": {name: value for name, value in given.items() if value is not None}}
    configure_logging()
    try:
        asyncio.run(serve(load_config(config, overrides), _announce))
    except (ConfigError, ListenError, MemoryStoreError, EncoderError) as error:
        raise click.ClickException(str(error)) from error


def _announce(address: str) -> None:
    click.echo(f"framekeep-server is listening on {address}")
