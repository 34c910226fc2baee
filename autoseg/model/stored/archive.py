"""The archive around a file's values: every byte of it is accounted for before any value of it is believed.

torch.save writes a zip archive of stored members: the header, which has all plain values and says where the tensors
lie, and a member for each tensor's numbers. `add_digests` adds SHA-256 digests as the archive's comment, which
torch.load passes over: one of the header, so that a list of models is sure of what it shows without reading the
weights, and one of all bytes that stand before it, that is of all but itself. Files of earlier versions have none;
of them the checksums of all members are compared, which torch.load does not do.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path

import torch
from torch import Tensor

MARK = b"autoseg sha256 "
DIGEST = 64  # hexadecimal digits
COMMENT = len(MARK) + DIGEST + 1 + DIGEST
# The records that end an archive: of one without comment, of a large one, and what tells where that is.
END, END_64, LOCATOR = 22, 56, 20
# A training of 10,000 epochs has a header of some 15 MB; a model of 3,000 tensors a directory of 0.3 MB.
MOST_HEADER = MOST_DIRECTORY = 32 * 2**20


class NotOursError(ValueError):
    """It is no archive as torch.save writes it, or only a part of one."""


def add_digests(path: Path) -> None:
    """Add the digests to an archive that torch.save has just written."""
    with path.open("r+b") as file:
        header = hashlib.sha256(Archive.of(file).header()).hexdigest()
        file.seek(-2, 2)
        file.write(struct.pack("<H", COMMENT) + MARK + header.encode() + b" ")
        file.seek(0)
        whole = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, 2)
        file.write(whole.encode())


@dataclass(frozen=True)
class Archive:
    """An open file, its members in the order in which they lie, where they end, and its digests if it has them."""

    file: BufferedReader | BufferedRandom
    size: int
    members: tuple[zipfile.ZipInfo, ...]
    end: int
    header_digest: str | None
    digest: str | None

    @classmethod
    def of(cls, file: BufferedReader | BufferedRandom) -> Archive:
        """Read where the members lie; none of them is read."""
        size = file.seek(0, 2)
        file.seek(max(0, size - END_64 - LOCATOR - END - COMMENT))
        tail = file.read()
        has_digests = _is_end(tail[-END - COMMENT :], COMMENT)
        if not has_digests and not _is_end(tail[-END:], 0):
            raise NotOursError
        mark, header, digest = _split(tail[-COMMENT:]) if has_digests else (MARK, None, None)
        if mark != MARK:
            raise NotOursError
        ends = tail[:-COMMENT] if has_digests else tail
        directory, records = _directory_size(ends)
        if directory > min(MOST_DIRECTORY, size):
            raise NotOursError
        try:
            with zipfile.ZipFile(file) as archive:
                members = sorted(archive.infolist(), key=lambda member: member.header_offset)
                end = archive.start_dir
        except (zipfile.BadZipFile, EOFError, LookupError, NotImplementedError, struct.error, ValueError) as error:
            raise NotOursError from error
        # Nothing lies between the members and the directory, or between that and the end.
        if end + directory + records + (COMMENT if has_digests else 0) != size:
            raise NotOursError
        return cls(file, size, tuple(members), end, header, digest)

    def header(self) -> bytes:
        """Read the plain values' member; it is as it was written, or ValueError is raised."""
        found = [member for member in self.members if member.orig_filename.endswith("/data.pkl")]
        if len(found) != 1 or found[0].file_size > min(MOST_HEADER, self.size):
            raise NotOursError
        (member,) = found
        self.file.seek(self._start(member))
        data = self.file.read(member.file_size)
        if zlib.crc32(data) != member.CRC:
            raise ValueError("a part of its description is not as it was written")
        if self.header_digest is not None and hashlib.sha256(data).hexdigest() != self.header_digest:
            raise ValueError("its description is not the one that was written")
        return data

    def storage_sizes(self) -> dict[str, int]:
        """Give the bytes of the numbers of each storage."""
        return {
            member.orig_filename.rpartition("/")[2]: member.file_size
            for member in self.members
            if member.orig_filename.rpartition("/")[0].endswith("/data")
        }

    def read_storages(self, wanted: Collection[str]) -> dict[str, Tensor]:
        """Read the file once from its first byte to its last and give the bytes of each storage that is wanted.

        If a member is not as it was written, lies elsewhere or twice, or if any other byte of a file with digests
        is another, ValueError is raised.
        """
        storages: dict[str, Tensor] = {}
        digest = hashlib.sha256()
        self.file.seek(0)
        names = {member.orig_filename for member in self.members}
        if len(names) < len(self.members):
            raise ValueError("a part of it is there twice")
        bounds = [member.header_offset for member in self.members[1:]] + [self.end]
        position = 0
        for member, bound in zip(self.members, bounds, strict=True):
            start = self._start(member)
            stop = start + member.file_size
            # Behind the bytes their checksum is repeated.
            after = bound - stop
            stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
            if member.header_offset != position or not stored or after not in (0, 16, 24):
                raise ValueError("its parts do not lie one after the other")
            self.file.seek(position)
            digest.update(self.file.read(start - position))
            folder, _, key = member.orig_filename.rpartition("/")
            # Numbers go where they stay; all else is small.
            piece = torch.empty(member.file_size, dtype=torch.uint8)
            numbers = memoryview(piece.numpy())  # type: ignore[arg-type] # NumPy's arrays are buffers
            read = self.file.readinto(numbers)
            if self.digest is not None:
                digest.update(numbers)
            elif zlib.crc32(numbers) != member.CRC:
                raise ValueError("some of its numbers are not as they were written")
            if read != member.file_size:
                raise ValueError("it became shorter while it was read")
            digest.update(self.file.read(after))
            if folder.endswith("/data") and key in wanted:
                storages[key] = piece
            elif key == "byteorder" and numbers.tobytes() != sys.byteorder.encode():
                raise ValueError("its numbers are written the other way round, by another kind of computer")
            position = bound
        rest = self.file.read(self.size - position - (0 if self.digest is None else DIGEST))
        digest.update(rest)
        if self.digest is not None and digest.hexdigest() != self.digest:
            raise ValueError("a part of it is not as it was written")
        return storages

    def _start(self, member: zipfile.ZipInfo) -> int:
        """Give where a member's bytes begin, behind its own header."""
        self.file.seek(member.header_offset)
        local = self.file.read(30)
        if len(local) < 30 or local[:4] != b"PK\3\4":
            raise NotOursError
        name, extra = struct.unpack_from("<HH", local, 26)
        if self.file.read(name) != member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437"):
            raise ValueError("a part of it has two names")
        return int(member.header_offset + 30 + name + extra)


def _is_end(record: bytes, comment: int) -> bool:
    """Tell whether these bytes begin with an archive's end that has a comment of this length."""
    return record[:4] == b"PK\5\6" and len(record) >= END and record[20:22] == struct.pack("<H", comment)


def _split(comment: bytes) -> tuple[bytes, str, str]:
    mark, header, digest = comment[: len(MARK)], comment[len(MARK) : -DIGEST - 1], comment[-DIGEST:]
    return mark, header.decode("latin-1"), digest.decode("latin-1")


def _directory_size(ends: bytes) -> tuple[int, int]:
    """Give the bytes of the directory, and of the records behind it."""
    locator = ends[-END - LOCATOR : -END]
    if locator[:4] != b"PK\6\7":
        (size,) = struct.unpack_from("<I", ends, len(ends) - END + 12)
        return size, END
    if ends[: -END - LOCATOR][-END_64:][:4] != b"PK\6\6":
        raise NotOursError
    (size,) = struct.unpack_from("<Q", ends, len(ends) - END - LOCATOR - END_64 + 40)
    return size, END + LOCATOR + END_64
