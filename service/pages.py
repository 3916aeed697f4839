"""Pages of listings: their size, and the tokens that lead from one to the next."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.errors import InvalidField

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for."""

    size: int
    """Items at most."""

    after: list[int | str] | None
    """Key of the last item of the page before; None for the first page."""

    query: str
    """What the listing depends on; a token is good for the same listing only."""

    def page(self, items: Sequence[Item], key: Callable[[Item], list[int | str]]) -> tuple[Sequence[Item], str]:
        """Cut a page from items, of which one more than its size were read.

        Returns:
            The items of the page, and the token of the next page, empty if there is none.
        """
        if len(items) <= self.size:
            return items, ""
        token = json.dumps([self.query, key(items[self.size - 1])])
        return items[: self.size], base64.urlsafe_b64encode(token.encode()).decode()


def page_from(size: int, token: str, query: str, key: tuple[type, ...]) -> PageRequest:
    """Read which page is asked for.

    Args:
        size: items at most, 0 for the default.
        token: from the page before.
        query: what the listing depends on.
        key: the types of the parts of an item's key.

    Raises:
        InvalidField: a negative size, or a token of another listing or of none.
    """
    if size < 0:
        raise InvalidField("page_size", f"expected at least 0, got {size}")
    size = min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    if not token:
        return PageRequest(size, None, query)
    try:
        listing, after = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise InvalidField("page_token", "expected a token from the last answer") from error
    if (
        not isinstance(after, list)
        or [type(part) for part in after] != list(key)
        or any(isinstance(part, int) and abs(part) >= 2**63 for part in after)
    ):
        raise InvalidField("page_token", "expected a token from the last answer")
    if listing != query:
        raise InvalidField("page_token", "expected a token from a listing with the same fields")
    return PageRequest(size, after, query)
