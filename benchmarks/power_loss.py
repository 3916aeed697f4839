"""A disk that loses power: what of a folder is left, given the operations that were done to it.

Durable is what POSIX promises and no more: the bytes that a file had when it was last synced, and the entries that a
folder had when it was last synced. Everything since is lost, or, where chance is given, comes through in part: any
entries, and any pieces of writes up to a sector long, in any order.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from benchmarks.power_loss_trace import DiskOperation, DiskStep

SECTOR_BYTES = 512
"""Written as a whole or not at all."""

_SURVIVAL = (0.02, 0.3, 0.7, 0.98)
"""Chances of a piece to survive; one of them holds for all pieces of a file."""


_SHM_BYTES = 32768
"""SQLite's -shm file as long as a log is short."""


class TraceIncomplete(Exception):
    """The folder holds something else than the recorded operations lead to."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What was done to a file: a write at an offset, or, without data, a new size."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        end = self.offset + len(self.data or b"")
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if self.data is None:
            del content[self.offset :]
        else:
            content[self.offset : end] = self.data

    def pieces(self) -> Iterator["_Change"]:
        if self.data is None:
            yield self
            return
        start = 0
        while start < len(self.data):
            end = start + SECTOR_BYTES - (self.offset + start) % SECTOR_BYTES
            yield _Change(self.offset + start, self.data[start:end])
            start = end


@dataclass(slots=True, eq=False)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.durable)
        self.pending = []

    def now(self) -> bytearray:
        content = bytearray(self.durable)
        for change in self.pending:
            change.apply(content)
        return content

    def left(self, chance: np.random.Generator | None) -> bytearray:
        content = bytearray(self.durable)
        if chance is not None:
            pieces = [piece for change in self.pending for piece in change.pieces()]
            survival = chance.choice(_SURVIVAL)
            for place in chance.permutation(len(pieces)):
                if chance.random() < survival:
                    pieces[place].apply(content)
        return content


@dataclass(slots=True, eq=False)
class _Folder:
    durable: dict[str, "_Node"] = field(default_factory=dict)
    pending: list[dict[str, "_Node | None"]] = field(default_factory=list)
    """Entries by name, None where one was removed; those of one rename belong together."""

    def sync(self) -> None:
        self.durable = self.now()
        self.pending = []

    def now(self) -> dict[str, "_Node"]:
        return _entries(self.durable, self.pending)

    def left(self, chance: np.random.Generator | None) -> dict[str, "_Node"]:
        survivors = [] if chance is None else [change for change in self.pending if chance.random() < 0.5]
        return _entries(self.durable, survivors)


_Node = _File | _Folder


def _entries(durable: dict[str, _Node], changes: Sequence[dict[str, _Node | None]]) -> dict[str, _Node]:
    merged: dict[str, _Node | None] = {**durable}
    for change in changes:
        merged.update(change)
    return {name: node for name, node in merged.items() if node is not None}


Tree = dict[str, bytes | None]
"""Files by their paths below the folder with what they hold; None for a folder."""


class Disk:
    """The folder as it would be found after a loss of power, at any moment."""

    def __init__(self, folder: Path) -> None:
        """Begin with a folder, all that it holds being durable."""
        self._folder = folder
        self._root = _Folder()
        self._nodes: dict[int, _Node] = {folder.stat().st_ino: self._root}
        for path in sorted(folder.rglob("*")):
            if not path.name.endswith("-shm"):
                node = _Folder() if path.is_dir() else _File(bytearray(path.read_bytes()))
                self._nodes[path.stat().st_ino] = node
                self._parent(path).durable[path.name] = node

    def replay(self, operations: Sequence[DiskOperation]) -> None:
        """Follow operations that are done, in order."""
        for operation in operations:
            self._follow(operation)

    def settle(self, operations: Sequence[DiskOperation]) -> None:
        """Follow all operations of a process that was killed; of the last one, the folder tells how far it came.

        Raises:
            TraceIncomplete: the folder holds something else than they lead to.
        """
        done = [operation for operation in operations if operation.ended_ns is not None]
        self.replay(done)
        if len(done) < len(operations):
            self._follow_begun(operations[-1])
        expected, found = self._tree(None, now=True), read_tree(self._folder)
        different = [path for path in sorted(expected.keys() | found.keys()) if expected.get(path) != found.get(path)]
        if different:
            raise TraceIncomplete(f"expected {self._folder} to hold what the trace leads to, but not so {different}")

    def lose_power(self, chance: np.random.Generator | None) -> "Disk":
        """Leave in the folder what is durable, and, by chance, some of the rest.

        Returns:
            The disk with power again.
        """
        write_tree(self.left(chance), self._folder)
        if chance is not None:  # of mapped memory, anything may have reached the disk
            for journal in sorted(self._folder.rglob("*.sqlite")):
                journal.with_name(journal.name + "-shm").write_bytes(chance.bytes(_SHM_BYTES))
        return Disk(self._folder)

    def left(self, chance: np.random.Generator | None) -> Tree:
        """What is durable, and, by chance, some of the rest."""
        return self._tree(chance, now=False)

    def kind_of(self, operation: DiskOperation) -> str:
        """Say what kind of file an operation was done to: the end of its name."""
        path = operation.other or operation.path
        if not path:
            everything = (self._folder, *self._folder.rglob("*"))
            path = next((str(path) for path in everything if path.stat().st_ino == operation.inode), "")
        if not path:
            return "of a removed file"
        hidden, dash, _ = Path(path).name.partition("-")
        if dash and hidden.startswith("."):  # of transfers, each with a name of its own
            return f"{hidden}-*"
        return f"*{Path(path).suffix}" if Path(path).suffix else Path(path).name

    def _follow(self, operation: DiskOperation) -> None:
        node = self._nodes.get(operation.inode)
        match operation.step:
            case DiskStep.CREATE | DiskStep.MAKE_FOLDER:
                node = _File() if operation.step is DiskStep.CREATE else _Folder()
                self._nodes[operation.inode] = node
                self._enter(operation.path, node)
            case DiskStep.WRITE | DiskStep.TRUNCATE:
                if not isinstance(node, _File):
                    raise TraceIncomplete(f"expected a file with inode {operation.inode}, got {node}")
                data = operation.data if operation.step is DiskStep.WRITE else None
                node.pending.append(_Change(operation.offset, data))
            case DiskStep.SYNC:
                if node is None:
                    raise TraceIncomplete(f"expected a file or folder with inode {operation.inode}")
                node.sync()
            case DiskStep.RENAME:
                self._move(operation, self._node(operation.path))
            case DiskStep.LINK:
                self._enter(operation.other, self._node(operation.path))
            case DiskStep.REMOVE:
                self._enter(operation.path, None)
            case DiskStep.RESULT:
                raise TraceIncomplete("expected an operation, got a result")

    def _follow_begun(self, operation: DiskOperation) -> None:
        path = Path(operation.path)
        match operation.step:
            case DiskStep.CREATE | DiskStep.MAKE_FOLDER:
                if path.exists():
                    self._follow(replace(operation, inode=path.stat().st_ino))
            case DiskStep.WRITE | DiskStep.TRUNCATE:
                self._follow_partly(operation)
            case DiskStep.RENAME | DiskStep.REMOVE:
                if not path.exists():
                    self._follow(operation)
            case DiskStep.LINK:
                if Path(operation.other).exists():
                    self._follow(operation)
            case DiskStep.SYNC | DiskStep.RESULT:
                pass

    def _follow_partly(self, operation: DiskOperation) -> None:
        """A write that was begun may be done, in part or as a whole: what stands in the file now is what it wrote."""
        found = [path for path in self._folder.rglob("*") if path.stat().st_ino == operation.inode]
        for path in found[:1]:
            content = path.read_bytes()
            if operation.step is DiskStep.WRITE:
                data = content[operation.offset : operation.offset + len(operation.data)]
                if data:
                    self._follow(replace(operation, data=data))
            elif len(content) == operation.offset:
                self._follow(operation)

    def _move(self, operation: DiskOperation, node: _Node) -> None:
        old, new = Path(operation.path), Path(operation.other)
        if old.parent == new.parent:
            self._parent(old).pending.append({old.name: None, new.name: node})
        else:  # two folders, two syncs
            self._enter(operation.path, None)
            self._enter(operation.other, node)

    def _enter(self, path: str, node: _Node | None) -> None:
        self._parent(Path(path)).pending.append({Path(path).name: node})

    def _node(self, path: str) -> _Node:
        return self._parent(Path(path)).now()[Path(path).name]

    def _parent(self, path: Path) -> _Folder:
        node: _Node = self._root
        for name in path.parent.relative_to(self._folder).parts:
            node = node.now()[name] if isinstance(node, _Folder) else node
        if not isinstance(node, _Folder):
            raise TraceIncomplete(f"expected a folder around {path}")
        return node

    def _tree(self, chance: np.random.Generator | None, *, now: bool) -> Tree:
        tree: Tree = {}
        folders = [(PurePosixPath(), self._root)]
        for at, folder in folders:
            for name, node in sorted((folder.now() if now else folder.left(chance)).items()):
                if isinstance(node, _Folder):
                    tree[str(at / name)] = None
                    folders.append((at / name, node))
                else:
                    tree[str(at / name)] = bytes(node.now() if now else node.left(chance))
        return tree


def read_tree(folder: Path) -> Tree:
    """Read all that a folder holds, without the -shm files of SQLite, which are rebuilt."""
    paths = (path for path in folder.rglob("*") if not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}


def write_tree(tree: Tree, folder: Path) -> None:
    """Let a folder hold this and nothing else."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name, content in tree.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
