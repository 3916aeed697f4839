"""The server: joins encoder and memory store behind the gRPC contract."""

__all__ = ["app", "config"]
