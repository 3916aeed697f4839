"""URLs without their secrets: whatever may be shown, logged, or sent as a name goes through here first."""

import re

_USER_INFO = re.compile(r"(?<=://)[^\s/?#]*@")
"""`user:password@`, up to the last `@` before the path."""

_LOOSE_USER_INFO = re.compile(r"(?<=://)[^\s/?#@:]*:(?!\d*(?:[/?#\s'\",;)]|$))\S*@")
"""The same where the password holds a `/`, `?` or `#` that should have been escaped: a colon that no port follows."""

_QUERY = re.compile(r"(://[^\s?#'\"]*)\?([^\s#'\"]*)")
_QUERY_VALUE = re.compile(r"=[^&;]*")
_FRAGMENT = re.compile(r"(://[^\s#'\"]*)#[^\s'\"]*")

_HIDDEN = "***"


def redacted(text: str) -> str:
    """Any text, with the URLs in it freed of user names, passwords, fragments and the values of all query parameters.

    All values, since cameras and services name their secrets as they like (`token`, `sig`, `pwd`, `k`). A query that
    is no list of parameters is hidden as a whole.

    `rtsp://admin:pw@cam:554/live?channel=1&token=abc` -> `rtsp://cam:554/live?channel=***&token=***`
    """
    text = _USER_INFO.sub("", _LOOSE_USER_INFO.sub("", text))
    return _FRAGMENT.sub(r"\1", _QUERY.sub(_hidden_query, text))


def _hidden_query(match: re.Match[str]) -> str:
    address, query = match[1], match[2]
    shown = "&".join(_QUERY_VALUE.sub(f"={_HIDDEN}", part) if "=" in part else _HIDDEN for part in query.split("&"))
    return f"{address}?{shown}"
