"""The commands of `framekeep`: each parses, makes one call, and prints."""

__all__ = [
    "backup",
    "encode",
    "evaluate",
    "exemplars",
    "export",
    "fit",
    "forget",
    "memories",
    "parameters",
    "query",
    "stream",
    "timeline",
]
