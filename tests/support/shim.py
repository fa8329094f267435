"""The shared library in front of the server's file calls (tests/shim/disk.c): where it is, its environment, its rules."""

import errno
import mmap
import os
import pathlib
import struct

from support.server import narthex_bin

MAGIC = 0x4E58444B
RULE_BYTES = 112
RULES_AT = 24
RULES = 4
OPEN, CREATE, WRITE, WRITE_SYNCED, SYNC, RENAME, UNLINK, MKDIR, RMDIR, TRUNCATE, READ = (1 << i for i in range(11))
FOR_EVER = 1 << 62


def library():
    path = os.environ.get("NARTHEX_SHIM") or str(pathlib.Path(narthex_bin()).parent / "tests/shim/disk.so")
    if not os.path.exists(path):
        raise RuntimeError(f"{path} is missing: cmake --build build/release --target nx_shim_disk")
    return path


class Shim:
    """One control file; as many servers, one after the other, as `env` is given to."""

    def __init__(self, root, directory, has_log=False):
        self.root = pathlib.Path(root).resolve()
        self.control_path = pathlib.Path(directory) / "shim.control"
        self.log_path = pathlib.Path(directory) / "disk.log"
        self.control_path.write_bytes(struct.pack("<IIQQ", MAGIC, 0, 0, 0) + bytes(RULE_BYTES * RULES))
        with open(self.control_path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.env = {"LD_PRELOAD": library(), "NARTHEX_SHIM_ROOT": str(self.root), "NARTHEX_SHIM_CONTROL": str(self.control_path)}
        if has_log:
            self.env["NARTHEX_SHIM_LOG"] = str(self.log_path)

    def close(self):
        self.map.close()

    @property
    def changes(self):
        return struct.unpack_from("<Q", self.map, 8)[0]

    def kill_at(self, change):
        """The process ends before its change of that number, counted over all processes; 0: never."""
        struct.pack_into("<Q", self.map, 16, change)

    def arm(self, kinds, pattern="", skip=0, count=1, error=errno.EIO, short_bytes=0, rule=0):
        at = RULES_AT + rule * RULE_BYTES
        struct.pack_into("<I", self.map, at, 0)
        struct.pack_into("<IiIQQQQ64s", self.map, at + 4, kinds, error, short_bytes, skip, count, 0, 0, pattern.encode())
        struct.pack_into("<I", self.map, at, 1)

    def disarm(self):
        for rule in range(RULES):
            struct.pack_into("<I", self.map, RULES_AT + rule * RULE_BYTES, 0)

    def seen(self, rule=0):
        return struct.unpack_from("<Q", self.map, RULES_AT + rule * RULE_BYTES + 32)[0]

    def hits(self, rule=0):
        return struct.unpack_from("<Q", self.map, RULES_AT + rule * RULE_BYTES + 40)[0]
