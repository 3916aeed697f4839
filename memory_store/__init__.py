"""What is kept: exemplars, stays and sightings, in a journal (SQLite) and an index over it (FAISS)."""

__all__ = [
    "config",
    "errors",
    "forest",
    "group",
    "index",
    "journal",
    "memory",
    "migrations",
    "novelty",
    "reading",
    "records",
    "scope",
    "store",
]
