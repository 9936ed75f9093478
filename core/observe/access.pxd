cimport cython
from cpython.object cimport PyObject
from libc.time cimport time_t

from canter.http._http1 cimport Request


cdef struct Text:                       # octets that grow
    char *at
    Py_ssize_t size
    Py_ssize_t room
    bint raw                            # values are not escaped


cdef struct Op:                         # one part of the format; see access.pyx
    int kind
    int which                           # a place in AccessLog.operands


cdef struct Record:                     # one request, as add() was told of it
    PyObject *request                   # a Request or None; all of them borrowed from add()'s caller
    PyObject *peer
    PyObject *environ
    PyObject *headers
    int status
    long long body_octets
    long long duration_ns


@cython.final
cdef class AccessLog:
    cdef readonly bint needs_environ    # the format has an environ variable: add() wants the environ
    cdef readonly bint needs_headers    # the format has a response field: add() wants them
    cdef readonly str path              # "-": standard output
    cdef readonly long long lost        # lines lost since the log could last be written

    # One line. `request` is None where the head was refused; the clock is read here.
    # Never raises, never blocks.
    cdef int add(self, Request request, object peer, int status, long long body_octets,
                 long long duration_ns, object environ, object response_headers) except -1
    cpdef int flush(self) except -1     # one write of all lines; never raises, never blocks

    cdef int fd
    cdef bint may_block                 # a pipe, a socket or a terminal: asked before each write
    cdef bint failing                   # the last write failed, which was said once
    cdef object complain
    cdef list operands                  # of the ops: literals and names (bytes), environ keys, conversions
    cdef Op *ops
    cdef Py_ssize_t op_count
    cdef Text buffer                    # whole lines
    cdef bint torn                      # what was written last did not end a line
    cdef time_t second                  # of the stamp
    cdef char[32] stamp                 # "[01/Jan/2024:00:00:00 +0000]"
    cdef Py_ssize_t stamp_size

    cdef int compile(self, str format) except -1
    cdef int append_literal(self, str format, Py_ssize_t start, Py_ssize_t stop) except -1
    cdef int append_atom(self, str name, str flags, str conversion) except -1
    cdef int append(self, int kind, object operand) except -1
    cdef int compose(self, Text *line, Record *record) except -1
    cdef int put_op(self, Text *line, Op op, Record *record) except -1
    cdef int put_stamp(self, Text *line) except -1
    cdef int put_converted(self, Text *line, tuple operand, Record *record) except -1
    cdef Py_ssize_t write_some(self, Py_ssize_t done) noexcept
    cdef int lose(self, int error) except -1
    cdef int trim(self) except -1
    cdef int say_once(self, str reason) except -1
    cdef int say(self, str text) except -1
