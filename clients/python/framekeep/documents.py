"""Values as JSON documents, for machines that read what the command prints."""

import base64
from dataclasses import Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePath
from typing import get_args

import numpy as np

from framekeep.times import shown_time

Document = None | bool | int | float | str | list["Document"] | dict[str, "Document"]


def document_from(value: object) -> Document:
    """A value of this package as what `json.dumps` takes.

    Dataclasses become objects and sequences arrays; times are ISO 8601 in UTC, members of enums their values, bytes
    base64, paths strings, and lengths of time seconds under a name that says so: `total_duration` becomes
    `total_duration_s`.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {_key(field): document_from(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(name): document_from(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [document_from(member) for member in value]
    return _scalar(value)


def _key(field: Field[object]) -> str:
    # By its type, so that a length of time that is not set stands under the same name.
    return f"{field.name}_s" if timedelta in (field.type, *get_args(field.type)) else field.name


def _scalar(value: object) -> Document:
    document: Document
    match value:
        case None | bool() | int() | float() | str():
            document = value
        case datetime():
            document = shown_time(value)
        case timedelta():
            document = value.total_seconds()
        case Enum():
            document = document_from(value.value)
        case bytes():
            document = base64.b64encode(value).decode("ascii")
        case PurePath():
            document = str(value)
        case np.ndarray():
            document = value.tolist()
        case _:
            raise TypeError(f"expected a value of framekeep, got {type(value).__name__}")
    return document
