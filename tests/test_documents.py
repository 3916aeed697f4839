"""The README names every command, and every setting with its default."""

import dataclasses
import re
import tomllib
from pathlib import Path

import click
import pytest

from encoder.config import EncoderConfig
from framekeep.cli import main as client_command
from memory_store.config import MemoryStoreConfig
from service.cli import main as server_command
from service.config import ServerConfig, ServiceConfig, load_config

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_command_is_in_the_readme_and_has_help() -> None:
    assert isinstance(client_command, click.Group)
    for name, command in client_command.commands.items():
        assert f"`framekeep {name}" in README
        assert command.help
    assert "`framekeep-server " in README
    assert server_command.help


@pytest.mark.parametrize("command", [client_command, server_command], ids=["framekeep", "framekeep-server"])
def test_every_option_has_help(command: click.Command) -> None:
    commands = [command]
    while commands:
        one = commands.pop()
        commands += one.commands.values() if isinstance(one, click.Group) else []
        undocumented = [p.name for p in one.params if isinstance(p, click.Option) and not p.help]
        assert undocumented == [], one.name


def test_the_settings_in_the_readme_are_all_there_are_and_their_defaults(tmp_path: Path) -> None:
    [shown] = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    file = tmp_path / "framekeep.toml"
    file.write_text(shown)

    assert load_config(file, {}) == ServiceConfig()
    told = {
        name
        for table in tomllib.loads(shown.replace("# weights", "weights").replace("# metrics", "metrics")).values()
        for name in table
    }
    sections = (ServerConfig, EncoderConfig, MemoryStoreConfig)
    settings = {setting.name for section in sections for setting in dataclasses.fields(section)}
    assert told | {"insecure"} == settings
