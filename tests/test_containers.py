"""The container files name only what exists, and agree with the code. Checked without an engine."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from framekeep.cli import main as client_command
from service.cli import main as server_command
from service.config import ServerConfig

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PORT = ServerConfig().listen.rpartition(":")[2]


def instructions(name: str) -> list[str]:
    return [line.removeprefix(name).strip() for line in DOCKERFILE if line.startswith(name + " ")]


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_everything_that_is_copied_exists_and_is_let_through() -> None:
    copied = [path for line in instructions("COPY") if "--from" not in line for path in shlex.split(line)[:-1]]
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied
    assert all((ROOT / path).exists() for path in copied)
    assert set(copied) == let_through


def test_every_package_of_the_server_is_in_the_image() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert set(packages["packages"]) <= {path for line in instructions("COPY") for path in line.split()[:-1]}


def test_the_image_starts_a_command_that_exists_with_options_that_it_has() -> None:
    [line] = instructions("ENTRYPOINT")
    program, *arguments = json.loads(line)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert program in scripts
    assert {argument for argument in arguments if argument.startswith("--")} <= options_of(server_command)
    assert arguments[arguments.index("--listen") + 1].endswith(f":{PORT}")
    assert instructions("EXPOSE") == [PORT]
    assert arguments[arguments.index("--data") + 1] in instructions("VOLUME")


def test_the_image_does_not_run_as_root_and_checks_its_health_with_a_module_that_exists() -> None:
    [check] = instructions("HEALTHCHECK")
    module = re.findall(r'"-m", "([\w.]+)", "127\.0\.0\.1:(\d+)"', check)

    assert instructions("USER") == ["framekeep"]
    assert module == [("service.probe", PORT)]
    assert (ROOT / "service/probe.py").exists()


def test_the_image_takes_an_index_for_torch() -> None:
    assert instructions("ARG") == ["TORCH_INDEX="]
    assert COMPOSE["services"]["server"]["build"]["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}


def test_the_composed_server_is_published_on_this_machine_only_and_keeps_its_memories() -> None:
    server = COMPOSE["services"]["server"]

    assert server["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert server["volumes"] == [f"memories:{instructions('VOLUME')[0]}"]
    assert "memories" in COMPOSE["volumes"]
    assert (ROOT / server["build"]["context"] / "Dockerfile").exists()


@pytest.mark.parametrize("service", ["server", "camera"])
def test_every_service_is_bounded_and_cannot_write_its_root(service: str) -> None:
    settings = COMPOSE["services"][service]

    assert settings["read_only"] is True
    assert {"mem_limit", "cpus"} <= settings.keys()
    assert settings["cap_drop"] == ["ALL"]


def test_the_camera_runs_a_command_that_exists_with_options_that_it_has() -> None:
    camera = COMPOSE["services"]["camera"]
    program, *arguments = camera["entrypoint"]
    assert isinstance(client_command, click.Group)

    assert camera["profiles"] == ["camera"]
    assert camera["image"] == COMPOSE["services"]["server"]["image"]
    assert program in tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]["scripts"]
    assert arguments[:2] == ["--server", f"server:{PORT}"]
    assert arguments[2] in client_command.commands
    stream = client_command.commands[arguments[2]]
    assert {argument for argument in arguments[3:] if argument.startswith("--")} <= options_of(stream)
    assert camera["depends_on"]["server"]["condition"] == "service_healthy"
