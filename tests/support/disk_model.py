"""What a volume may hold after a loss of power, from the record of every call that changed it (tests/shim/disk.c).

Rules of the model, at least as hostile as ext4 and XFS, and no more than POSIX allows:

  data       is kept in pages of 4096 bytes. What a sync that ended covered is there. Of a page written since, the disk has the page as
             it was after any of the writes, or before them, whatever it has of other pages; each sector of 512 bytes for
             itself, so pages are torn too.
  size       is any that the file had since its last sync. What lies inside it and was never written back is zeros.
  names      creations, renames and removals in one directory reach the disk in order; a sync of the directory makes all up to then
             durable, and so what they depend on in other directories. A sync of the file does not make its name durable.
  O_DSYNC    makes the pages of that write durable, and nothing else.
  errors     pages that a failed sync should have written count as clean: a later sync does not write them. They may be lost, or
             be there.
"""

import os
import pathlib
import struct

HEADER = struct.Struct("<IiQQQII")
PAGE = 4096
SECTOR = 512
(START, OPEN, CLOSE, WRITE, TRUNCATE, ALLOCATE, SYNC_BEGIN, SYNC_END, SYNC_FAILED, WRITE_SYNCED, RENAME, UNLINK, MKDIR, RMDIR, LINK,
 UNKNOWN) = range(1, 17)


class Entry:
    """One record of the log."""

    __slots__ = ("kind", "fd", "time_ns", "offset", "path", "second", "data_at", "data_bytes")

    def __init__(self, header, path, second, data_at):
        self.kind, self.fd, self.time_ns, self.offset, self.data_bytes = header[:5]
        self.path, self.second, self.data_at = path, second, data_at


class Log:
    def __init__(self, path):
        self.bytes = pathlib.Path(path).read_bytes()
        self.entries = []
        at = 0
        while at + HEADER.size <= len(self.bytes):
            header = HEADER.unpack_from(self.bytes, at)
            path_at = at + HEADER.size
            second_at = path_at + header[5]
            data_at = second_at + header[6]
            at = data_at + header[4]
            if at > len(self.bytes):
                break  # the process was killed while it wrote the record: the call had not been made
            path = os.path.normpath(self.bytes[path_at:second_at].decode()) if header[5] else ""
            second = os.path.normpath(self.bytes[second_at:data_at].decode()) if header[6] else ""
            self.entries.append(Entry(header, path, second, data_at))

    def data(self, entry):
        return self.bytes[entry.data_at:entry.data_at + entry.data_bytes]


class File:
    def __init__(self):
        self.mem = bytearray()       # as the process sees it
        self.disk = {}               # page -> bytes, durable
        self.disk_size = 0
        self.pages = {}              # page -> [(sequence, bytes)] since it was last made durable
        self.dirty = {}              # page -> sequence of its newest write that no failed sync tried to write back
        self.sizes = []              # [(sequence, size)] since the last sync

    def page(self, number):
        return bytes(self.mem[number * PAGE:(number + 1) * PAGE]).ljust(PAGE, b"\0")

    def note(self, sequence, begin, end):
        for number in range(begin // PAGE, (end + PAGE - 1) // PAGE):
            self.pages.setdefault(number, []).append((sequence, self.page(number)))
            self.dirty[number] = sequence

    def resize(self, sequence, size):
        if size < len(self.mem):
            del self.mem[size:]
            self.note(sequence, size, size + 1)
            for number in list(self.pages) + list(self.disk):
                if number > size // PAGE and self.pages.get(number, [(0, b"")])[-1][0] != sequence:
                    self.note(sequence, number * PAGE, number * PAGE + 1)
        elif size > len(self.mem):
            self.mem += bytes(size - len(self.mem))
        else:
            return
        self.sizes.append((sequence, size))

    def write(self, sequence, offset, data):
        if offset + len(data) > len(self.mem):
            self.resize(sequence, offset + len(data))
        self.mem[offset:offset + len(data)] = data
        self.note(sequence, offset, offset + len(data))

    def settle_page(self, number, sequence):
        """The page as it was at `sequence` is durable."""
        versions = self.pages[number]
        kept = [v for v in versions if v[0] > sequence]
        done = [v for v in versions if v[0] <= sequence]
        if done:
            self.disk[number] = done[-1][1]
        if kept:
            self.pages[number] = kept
        else:
            del self.pages[number]
            self.dirty.pop(number, None)

    def settle_size(self, sequence):
        for at, size in self.sizes:
            if at <= sequence:
                self.disk_size = size
        self.sizes = [s for s in self.sizes if s[0] > sequence]

    def synced(self, sequence):
        for number in [n for n in self.pages if n in self.dirty]:
            self.settle_page(number, sequence)
        self.settle_size(sequence)

    def sync_failed(self, sequence):
        """Pages without a newer write are clean now: the kernel forgets that they differ from the disk."""
        for number in [n for n, newest in self.dirty.items() if newest <= sequence]:
            del self.dirty[number]

    def write_synced(self, sequence, offset, size):
        for number in range(offset // PAGE, (offset + size + PAGE - 1) // PAGE):
            if number in self.pages:
                self.settle_page(number, sequence)
        if offset + size > self.disk_size:
            self.settle_size(sequence)

    def crashed(self, random, mode):
        """Bytes that the disk may hold. mode: none, all, page, sector."""
        sizes = [self.disk_size] + [s for _, s in self.sizes]
        size = {"none": sizes[0], "all": sizes[-1]}.get(mode) if mode in ("none", "all") else random.choice(sizes)
        out = bytearray(size)
        for number in set(self.disk) | set(self.pages):
            if number * PAGE >= size:
                continue
            versions = [self.disk.get(number, bytes(PAGE))] + [v for _, v in self.pages.get(number, ())]
            if mode == "none" or len(versions) == 1:
                page = versions[0]
            elif mode == "all":
                page = versions[-1]
            elif mode == "page" or random.random() < 0.5:
                page = random.choice(versions)
            else:
                page = b"".join(random.choice(versions)[at:at + SECTOR] for at in range(0, PAGE, SECTOR))
            part = page[:size - number * PAGE]
            out[number * PAGE:number * PAGE + len(part)] = part
        return bytes(out)


class Directory:
    def __init__(self):
        self.mem = {}
        self.disk = {}


class Edit:
    """One change of names: [(directory, name, what is there afterwards or None)]."""

    __slots__ = ("sequence", "rows", "directories")

    def __init__(self, sequence, rows):
        self.sequence, self.rows = sequence, rows
        self.directories = [row[0] for row in rows]


class Disk:
    """Follows the log entry by entry; crash() at any time."""

    def __init__(self, root):
        self.root = pathlib.PurePath(root)
        self.top = Directory()  # holds the root's name
        self.edits = []
        self.fds = {}
        self.begun = {}         # fd -> sequence of the sync that began
        self.last = None        # the last write: (file, sequence, offset, bytes)
        self.sequence = 0

    def find(self, path):
        """(directory, name) of a path; the root is the one name in self.top."""
        path = pathlib.PurePath(path)
        if path == self.root.parent:
            return None, ""
        directory = self.top
        parts = (self.root.name,) + path.relative_to(self.root).parts
        for part in parts[:-1]:
            directory = directory.mem[part]
        return directory, parts[-1]

    def node(self, path):
        directory, name = self.find(path)
        return self.top if directory is None else directory.mem.get(name)

    def edit(self, *rows):
        for directory, name, node in rows:
            if node is None:
                directory.mem.pop(name, None)
            else:
                directory.mem[name] = node
        self.edits.append(Edit(self.sequence, rows))

    def apply(self, entry, data):
        self.sequence += 1
        kind = entry.kind
        if kind == START:
            self.fds.clear()
            self.begun.clear()
        elif kind == OPEN:
            self.open(entry)
        elif kind == CLOSE:
            self.fds.pop(entry.fd, None)
        elif kind == WRITE:
            file = self.fds[entry.fd]
            file.write(self.sequence, entry.offset, data)
            self.last = (file, self.sequence, entry.offset, len(data))
        elif kind == WRITE_SYNCED:
            file, sequence, offset, size = self.last
            assert file is self.fds[entry.fd]
            file.write_synced(sequence, offset, size)
        elif kind == TRUNCATE:
            self.fds[entry.fd].resize(self.sequence, entry.offset)
        elif kind == ALLOCATE:
            file = self.fds[entry.fd]
            file.resize(self.sequence, max(entry.offset, len(file.mem)))
        elif kind == SYNC_BEGIN:
            self.begun.setdefault(entry.fd, []).append(self.sequence)
        elif kind in (SYNC_END, SYNC_FAILED):
            self.sync_end(self.fds[entry.fd], self.begun[entry.fd].pop(0), kind == SYNC_END)
        elif kind == RENAME:
            (a, old), (b, new) = self.find(entry.path), self.find(entry.second)
            self.edit((a, old, None), (b, new, a.mem[old]))
        elif kind == LINK:
            (a, old), (b, new) = self.find(entry.path), self.find(entry.second)
            self.edit((b, new, a.mem[old]))
        elif kind in (UNLINK, RMDIR):
            self.edit((*self.find(entry.path), None))
        elif kind == MKDIR:
            self.edit((*self.find(entry.path), Directory()))
        else:
            raise AssertionError(f"the model does not know this call: {entry.path}")

    def open(self, entry):
        node = self.node(entry.path)
        if node is None:
            assert entry.offset & os.O_CREAT, f"{entry.path} is unknown"
            node = File()
            self.edit((*self.find(entry.path), node))
        elif entry.offset & os.O_TRUNC:
            node.resize(self.sequence, 0)
        self.fds[entry.fd] = node

    def sync_end(self, node, sequence, is_done):
        if isinstance(node, File):
            if is_done:
                node.synced(sequence)
            else:
                node.sync_failed(sequence)
        elif is_done:
            self.pin(node, sequence)

    def pin(self, directory, sequence):
        """All edits in it up to `sequence` are durable, with those in other directories that came before them."""
        limits = {id(directory): sequence}
        pinned = set()
        for edit in reversed(self.edits):
            if any(limits.get(id(d), -1) >= edit.sequence for d in edit.directories):
                pinned.add(id(edit))
                for d in edit.directories:
                    limits[id(d)] = max(limits.get(id(d), -1), edit.sequence)
        for edit in self.edits:
            if id(edit) in pinned:
                for d, name, node in edit.rows:
                    if node is None:
                        d.disk.pop(name, None)
                    else:
                        d.disk[name] = node
        self.edits = [e for e in self.edits if id(e) not in pinned]

    def kept_edits(self, random, mode):
        """mode: none, all, order (the first so many), directory (of each directory the first so many)."""
        if mode == "none":
            return []
        if mode == "all":
            return self.edits
        if mode == "order":
            return self.edits[:random.randrange(len(self.edits) + 1)]
        cut, kept = set(), []
        odds = random.random() / 2
        for edit in self.edits:
            if any(id(d) in cut for d in edit.directories) or random.random() < odds:
                cut.update(id(d) for d in edit.directories)
            else:
                kept.append(edit)
        return kept

    def crash(self, random, out):
        """Writes what the disk may hold to the directory `out`, which takes the root's place. Returns the modes, for the report."""
        names = random.choice(("none", "all", "order", "directory", "directory"))
        data = random.choice(("none", "all", "page", "sector", "sector"))
        changed = {}
        for edit in self.kept_edits(random, names):
            for d, name, node in edit.rows:
                entries = changed.setdefault(id(d), dict(d.disk))
                if node is None:
                    entries.pop(name, None)
                else:
                    entries[name] = node
        top = changed.get(id(self.top), self.top.disk)
        if self.root.name in top:
            self.put(top[self.root.name], pathlib.Path(out), changed, random, data)
        return f"names={names} data={data}"

    def put(self, directory, out, changed, random, mode):
        out.mkdir()
        for name, node in sorted(changed.get(id(directory), directory.disk).items()):
            if isinstance(node, Directory):
                self.put(node, out / name, changed, random, mode)
            else:
                (out / name).write_bytes(node.crashed(random, mode))

    def differences(self, real):
        """Where the directory `real`, as the system shows it, is not what the log says. LMDB's lock file is a map, and left out."""
        node = self.top.mem.get(self.root.name)
        return [] if node is None and not os.path.exists(real) else self.compare(node, pathlib.Path(real))

    def compare(self, directory, real):
        names = {p.name for p in real.iterdir()}
        out = [str(real / name) for name in names ^ set(directory.mem)]
        for name in names & set(directory.mem):
            node = directory.mem[name]
            if isinstance(node, Directory):
                out += self.compare(node, real / name)
            elif not name.endswith("-lock") and (real / name).read_bytes() != bytes(node.mem):
                out.append(str(real / name))
        return out
