cimport cython
from canter.stream cimport Stream


@cython.final
cdef class Input:
    cdef Stream stream                           # None once the request is over
    cdef bytes rest                              # received and not yet read, from `at` on
    cdef Py_ssize_t at
    cdef bint ended
    cdef readonly bint expecting                 # the client waits for a 100 before it sends
    cdef readonly object error                   # what reading ended in, or None

    cdef bint fill(self, Py_ssize_t want) except -1
    cdef bytes take(self, Py_ssize_t size)
    cdef Py_ssize_t here(self) noexcept
    cdef bytes read_all(self)
    cdef void detach(self) noexcept

cdef Input EMPTY
cdef Input open_input(Stream stream)
cdef Input whole_input(bytes body)


@cython.final
cdef class FileWrapper:
    cdef readonly object filelike
    cdef readonly Py_ssize_t block_size
    cdef long long left                          # octets that may still be sent; -1: all

cdef tuple file_part(FileWrapper wrapper)
