# cython: language_level=3
"""The objects a WSGI application is given: its input, its error stream, its file wrapper.

PEP 3333 and nothing else. The input is bounded by the request's own framing, so an
application may read to the end without knowing the length
(`wsgi.input_terminated`). It receives only what is asked for; a large declared body
is received straight into the bytes the application gets. When the client leaves
inside a body, reading raises `ClientDisconnected` (an OSError), never returns a
short body.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE

from canter.http._response cimport interim
from canter.stream cimport Stream

import os
import stat as stat_module

from canter.errors import CanterError

cdef enum:
    BLOCK = 65536                                # octets received at once where the caller names no size


@cython.final
cdef class Input:
    """`wsgi.input`. The first read of a request that expects it sends `100 Continue`."""

    cdef bint fill(self, Py_ssize_t want) except -1:
        """Receive more; False at the end of the body."""
        cdef bytes data
        cdef Stream stream = self.stream            # a reference: the request may end while this waits
        if self.ended:
            return False
        if self.error is not None:
            raise self.error
        if stream is None:
            raise ValueError("wsgi.input is read after its request is over")
        if self.expecting:
            self.expecting = False
            stream.send(interim(100, ()))
        try:
            data = stream.read(want)
        except CanterError as error:
            self.error = error
            raise
        if not data:
            self.ended = True
            return False
        self.rest = data                            # all of what was here is taken before more is asked for
        self.at = 0
        return True

    cdef bytes take(self, Py_ssize_t size):
        """Up to `size` octets of what is here."""
        cdef bytes data = self.rest
        if data is None:
            return b""
        if self.at == 0 and PyBytes_GET_SIZE(data) <= size:
            self.rest = None
            return data
        data = data[self.at:self.at + size]
        self.at += PyBytes_GET_SIZE(data)
        if self.at >= PyBytes_GET_SIZE(self.rest):
            self.rest = None
            self.at = 0
        return data

    cdef Py_ssize_t here(self) noexcept:
        return 0 if self.rest is None else PyBytes_GET_SIZE(self.rest) - self.at

    cdef void detach(self) noexcept:
        self.stream = None

    def read(self, size=-1):
        """`size` octets, fewer only at the end of the body; all of it with -1 or None."""
        cdef Py_ssize_t left
        cdef list parts
        cdef bytes part
        if size is None or size < 0:
            return self.read_all()
        left = size
        part = self.take(left)
        left -= PyBytes_GET_SIZE(part)
        if left == 0:
            return part
        parts = [part] if part else []
        while left > 0 and self.fill(left):
            part = self.take(left)
            left -= PyBytes_GET_SIZE(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    cdef bytes read_all(self):
        cdef list parts = []
        if self.here():
            parts.append(self.take(self.here()))
        while self.fill(1 << 30):
            parts.append(self.take(self.here()))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readline(self, size=-1):
        """One line with its LF, or `size` octets of it."""
        cdef Py_ssize_t left = -1 if size is None else size
        cdef Py_ssize_t found
        cdef list parts = []
        if left == 0:
            return b""
        while self.here() or self.fill(BLOCK):
            found = self.rest.find(b"\n", self.at)
            found = self.here() if found < 0 else found + 1 - self.at
            if 0 < left < found:
                found = left
            parts.append(self.take(found))
            if left > 0:
                left -= found
            if left == 0 or (<bytes>parts[-1]).endswith(b"\n"):
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readlines(self, hint=-1):
        """The lines that are left; with a `hint`, no more once that many octets are read."""
        cdef list lines = []
        cdef Py_ssize_t total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self):
        return self

    def __next__(self):
        cdef bytes line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self):
        """Applications close it; the body is the server's to drain."""


cdef Input EMPTY = Input.__new__(Input)
EMPTY.ended = True


cdef Input open_input(Stream stream):
    cdef Input found
    if not stream.request.has_body:
        return EMPTY
    found = Input.__new__(Input)
    found.stream = stream
    found.expecting = stream.request.expect_continue
    return found


cdef Input whole_input(bytes body):
    """An input that is received already."""
    cdef Input found = Input.__new__(Input)
    found.rest = body or None
    found.ended = True
    return found


@cython.final
cdef class FileWrapper:
    """`wsgi.file_wrapper`: iterates in blocks; the exchange sends real files with sendfile(2)."""

    def __init__(self, filelike, block_size=8192):
        self.filelike = filelike
        self.block_size = block_size
        self.left = -1

    def __iter__(self):
        return self

    def __next__(self):
        if self.left < 0:
            data = self.filelike.read(self.block_size)
        elif self.left > 0:                         # PEP 3333: to the end of the file, or of Content-Length
            data = self.filelike.read(min(self.block_size, self.left))
            self.left -= min(<long long>len(data), self.left)
        else:
            raise StopIteration
        if data:
            return data
        raise StopIteration

    def close(self):
        if hasattr(self.filelike, "close"):
            self.filelike.close()


cdef tuple file_part(FileWrapper wrapper):
    """What sendfile(2) can send of a wrapper: (descriptor, from where, octets). None: it is no regular file."""
    filelike = wrapper.filelike
    try:
        fd = filelike.fileno()
        found = os.fstat(fd)
        at = filelike.tell()
    except (AttributeError, OSError, ValueError):       # io.UnsupportedOperation is an OSError
        return None
    if not stat_module.S_ISREG(found.st_mode) or at >= found.st_size:
        return None
    return fd, at, found.st_size - at


class ErrorStream:
    """`wsgi.errors`: a text stream whose lines go to the error log."""

    def __init__(self, log):
        self._log = log
        self._line = ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log.error("%s", line)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        if self._line:
            line, self._line = self._line, ""
            self._log.error("%s", line)
