"""The commands of `framekeep`: each parses, makes one call, and prints."""

__all__ = ["encode", "exemplars", "memories", "parameters", "query", "stream", "timeline"]
