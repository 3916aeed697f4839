"""Files beside a journal that are written whole, with a checksum at the end, or not at all."""

import os
import zlib
from pathlib import Path

_CHECKSUM_BYTES = 4


def write_checked(path: Path, content: bytes) -> None:
    """Put a file in the place of the one before.

    Raises:
        OSError: the disk refused; the one before is still there.
    """
    draft = path.with_name(path.name + ".draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.write(zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little"))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_checked(path: Path) -> bytes:
    """Read the content of a file.

    Raises:
        ValueError: it is not what was written.
        OSError: it cannot be read at present.
    """
    whole = path.read_bytes()
    content, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
    if len(whole) < _CHECKSUM_BYTES or zlib.crc32(content) != int.from_bytes(checksum, "little"):
        raise ValueError("got other bytes than were written")
    return content
