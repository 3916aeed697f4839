"""Names: the short ones that people use, and the resource names of the contract."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from uuid import UUID

from framekeep.errors import InvalidRequest, ServerError
from framekeep.redaction import redacted

_LONGEST = 63
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RESOURCE = re.compile(r"memories/(?P<memory>[^/]+)(/streams/(?P<stream>[^/]+)|/exemplars/(?P<exemplar>[0-9]+))?")


def checked_name(name: str, kind: str) -> str:
    """Give back `name` if a memory or stream may have it.

    Args:
        name: what to check.
        kind: `memory` or `stream`, for the message.

    Raises:
        InvalidRequest: another form.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"expected a {kind} name of 1 to {_LONGEST} letters, digits, '.', '_' or '-' that starts with a letter or "
            f"a digit, got {name!r}",
            reason="INVALID_NAME",
        )
    return name


def memory_resource(memory: str) -> str:
    """`lobby` -> `memories/lobby`.

    Raises:
        InvalidRequest: not a name.
    """
    return f"memories/{checked_name(memory, 'memory')}"


def stream_resource(memory: str, stream: str) -> str:
    """`lobby`, `door` -> `memories/lobby/streams/door`.

    Raises:
        InvalidRequest: not a name.
    """
    return f"{memory_resource(memory)}/streams/{checked_name(stream, 'stream')}"


def exemplar_resource(memory: str, exemplar: int) -> str:
    """`lobby`, 7 -> `memories/lobby/exemplars/7`.

    Raises:
        InvalidRequest: not a name, or an id below 1.
    """
    if exemplar < 1:
        raise InvalidRequest(f"expected an exemplar id of at least 1, got {exemplar}", reason="INVALID_NAME")
    return f"{memory_resource(memory)}/exemplars/{exemplar}"


def memory_name(resource: str) -> str:
    """`memories/lobby` -> `lobby`.

    Raises:
        ServerError: the server sent something else.
    """
    return _part(resource, "memory")


def stream_name(resource: str) -> str:
    """`memories/lobby/streams/door` -> `door`.

    Raises:
        ServerError: the server sent something else.
    """
    return _part(resource, "stream")


def exemplar_id(resource: str) -> int:
    """`memories/lobby/exemplars/7` -> 7.

    Raises:
        ServerError: the server sent something else.
    """
    return int(_part(resource, "exemplar"))


def _part(resource: str, part: str) -> str:
    match = _RESOURCE.fullmatch(resource)
    if match is None or match[part] is None:
        raise ServerError(f"expected the resource name of a {part} from the server, got {resource!r}")
    return match[part]


def stream_name_for(location: str) -> str | None:
    """A stream name made from the last part of a path or URL, without its extension; None if nothing is left of it.

    A URL without a path gives the name of its host.

    `/videos/Front door (2).mp4` -> `Front-door-2`
    """
    if "://" in location:
        url = urlsplit(redacted(location))
        path = url.path.rstrip("/") or f"{url.hostname or ''}."
    else:
        path = location.replace("\\", "/")
    name = re.sub(r"[^A-Za-z0-9._]+", "-", PurePosixPath(path).stem).strip("-._")
    return name[:_LONGEST] or None


def checked_session_id(session_id: str | UUID) -> str:
    """The session id in its usual form.

    Raises:
        InvalidRequest: not a UUID.
    """
    if isinstance(session_id, UUID):
        return str(session_id)
    try:
        return str(UUID(session_id))
    except ValueError as error:
        raise InvalidRequest(f"expected a UUID as session id, got {session_id!r}", reason="INVALID_FIELD") from error
