"""The settings of the server, and how they are read from a TOML file."""

import dataclasses
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from encoder.config import EncoderConfig
from memory_store.config import MemoryStoreConfig


class ConfigError(Exception):
    """A setting is unknown, missing or out of range; the message names it."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of the server itself."""

    data: Path = Path("framekeep-data")
    """Folder that holds the memories; one server at a time."""

    listen: str = "127.0.0.1:50051"
    """HOST:PORT; port 0 takes a free one."""

    insecure: bool = False
    """Listen beyond this machine although nothing is encrypted and nobody is asked who they are."""

    metrics: str = ""
    """HOST:PORT where Prometheus finds the figures of the streams; empty: nowhere."""

    max_sessions: int = 64
    """Sessions connected at a time, in [1, 4096]; each may hold about 100 MB while it sends large pictures."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: a setting is out of range; the message names it.
        """
        self._check_address("listen", self.listen)
        if self.metrics:
            self._check_address("metrics", self.metrics)
        if not 1 <= self.max_sessions <= 4096:
            raise ValueError(f"max_sessions: expected 1 to 4096, got {self.max_sessions}")

    def _check_address(self, name: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{name}: expected HOST:PORT, got {address!r}")
        if not self.insecure and not _is_loopback(host):
            raise ValueError(
                f"{name}: {host} can be reached from other machines, and nothing would be encrypted:"
                " use a loopback address, or set insecure"
            )


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """All settings."""

    server: ServerConfig = field(default_factory=ServerConfig)
    """Table [server]."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Table [encoder]."""

    memory: MemoryStoreConfig = field(default_factory=MemoryStoreConfig)
    """Table [memory]."""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_config(file: Path | None, overrides: Mapping[str, Mapping[str, Any]]) -> ServiceConfig:
    """Read the settings: defaults, then the file, then `overrides` (both by table and setting).

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown, of another type or out of range.
    """
    tables: dict[str, dict[str, Any]] = {}
    if file is not None:
        try:
            tables = tomllib.loads(file.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"cannot read the settings in {file}: {error}") from error
    parts: dict[str, Any] = {}
    known = get_type_hints(ServiceConfig)
    for name in tables.keys() | overrides.keys():
        table = tables.get(name, {})
        if name not in known or not isinstance(table, dict):
            raise ConfigError(f"unknown table [{name}]: expected one of {', '.join(f'[{part}]' for part in known)}")
        parts[name] = _section(name, known[name], {**table, **overrides.get(name, {})})
    return ServiceConfig(**parts)


def _section(table: str, section: type[Any], values: Mapping[str, Any]) -> Any:
    types = get_type_hints(section)
    arguments = {}
    for name, value in values.items():
        if name not in types:
            known = ", ".join(setting.name for setting in dataclasses.fields(section))
            raise ConfigError(f"unknown setting {name} in [{table}]: expected one of {known}")
        arguments[name] = _converted(f"[{table}] {name}", types[name], value)
    try:
        return section(**arguments)
    except ValueError as error:
        raise ConfigError(f"[{table}] {error}") from error


def _converted(name: str, expected: Any, value: Any) -> Any:
    options = get_args(expected) if isinstance(expected, UnionType) else (expected,)
    if Path in options and isinstance(value, str | Path):
        return Path(value)
    if float in options and type(value) is int:
        return float(value)
    if type(value) in options:
        return value
    raise ConfigError(f"{name}: expected {expected}, got {value!r}")
