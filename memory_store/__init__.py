"""What is kept: exemplars, stays and sightings, in a journal (SQLite) and an index over it (FAISS)."""

__all__ = ["config", "errors", "facts", "memory", "records", "scope", "store"]
