"""Values as JSON documents, for machines that read what the command prints."""

import base64
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum

import numpy as np

from framekeep.times import shown_time

Document = None | bool | int | float | str | list["Document"] | dict[str, "Document"]


def document_from(value: object) -> Document:
    """A value of this package as what `json.dumps` takes.

    Dataclasses become objects and sequences arrays; times are ISO 8601 in UTC, members of enums their values, bytes
    base64, and lengths of time seconds under a name that says so: `total_duration` becomes `total_duration_s`.
    """
    if is_dataclass(value) and not isinstance(value, type):
        members = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {_key(name, member): document_from(member) for name, member in members}
    if isinstance(value, dict):
        return {str(name): document_from(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [document_from(member) for member in value]
    return _scalar(value)


def _key(name: str, member: object) -> str:
    return f"{name}_s" if isinstance(member, timedelta) else name


def _scalar(value: object) -> Document:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return shown_time(value)
        case timedelta():
            return value.total_seconds()
        case Enum():
            return document_from(value.value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case np.ndarray():
            numbers: Document = value.tolist()
            return numbers
    raise TypeError(f"expected a value of framekeep, got {type(value).__name__}")
