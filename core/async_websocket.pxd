cimport cython

from canter.async_asgi cimport AsgiDriver, AsgiExchange
from canter.stream cimport Stream


@cython.final
cdef class SocketDriver(AsgiDriver):
    cdef object library                          # websockets' modules, or None where it is not installed
    cdef bint warned, told
    cdef dict sockets                            # open ones -> when they were pinged last
    cdef dict pinged                             # those whose pong is awaited -> since when
    cdef Py_ssize_t max_queue

    cdef bint wants_socket(self, Stream stream) except -1
    cdef int expire_sockets(self) except -1


@cython.final
cdef class SocketExchange(AsgiExchange):
    cdef object protocol                         # websockets' ServerProtocol
    cdef object messages                         # received, for the application
    cdef list parts                              # of a message whose end is still to come
    cdef bint is_text, connect_told, open, denying, pumping
    cdef int code                                # of the close, once there was one; 0: none yet
    cdef str reason

    cdef int accept(self, dict message) except -1
    cdef int refuse_handshake(self) except -1
    cdef int send_message(self, dict message) except -1
    cdef int close_socket(self, int code, str reason) except -1
    cdef int ended(self, int code, str reason) except -1
    cdef int pump(self) except -1
    cdef int digest(self) except -1
    cdef int collect(self, object frame, bint first) except -1
    cdef int flush(self) except -1
    cdef int ping(self) except -1
