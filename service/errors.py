"""What can go wrong in the service itself, beside what the encoder and the store report."""


class ServiceError(Exception):
    """Base of all errors of this package. Nothing was changed."""


class InvalidField(ServiceError):
    """A field of a request is missing or out of range."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ProtocolViolation(ServiceError):
    """Messages of an Ingest or ImportMemory call came out of order."""


class EncoderMismatch(ServiceError):
    """The memory, or an embedding, belongs to another encoder version."""


class EtagMismatch(ServiceError):
    """The resource is no longer the one that the caller has read."""


class SessionTakenOver(ServiceError):
    """The same session was opened by another call. Frames with a verdict are on disk; the new call goes on."""


class ShuttingDown(ServiceError):
    """The server is stopping. Frames with a verdict are on disk; send the others again later."""


class TooManySessions(ServiceError):
    """As many sessions are connected as the server takes."""
