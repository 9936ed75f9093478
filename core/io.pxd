# The system calls of the poller and of streams (see _io.h), and the few of CPython's
# that compiled rooms share.
from libc.stdint cimport int64_t, uint16_t, uint32_t

cdef extern from "_io.h" nogil:
    ctypedef unsigned socklen_t
    ctypedef int sa_family_t
    int AF_INET, AF_INET6, AF_UNIX
    int MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SHUT_WR, SHUT_RDWR
    cdef struct sockaddr:
        sa_family_t sa_family
    cdef struct in_addr:
        pass
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in:
        sa_family_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    cdef struct sockaddr_storage:
        sa_family_t ss_family
    ctypedef struct canter_event:
        void *owner
        unsigned what
    enum:
        CANTER_READ
        CANTER_WRITE
        CANTER_FIN
        CANTER_RESET
        CANTER_BATCH
    int64_t canter_now()
    int canter_prepare(int fd)
    int canter_poll_new()
    int canter_watch_stream(int set, int fd, void *owner)
    int canter_watch_room(int set, int fd, void *owner, int on)
    int canter_watch_level(int set, int fd, void *owner, int exclusive)
    int canter_unwatch(int set, int fd)
    int canter_wait(int set, canter_event *out, int timeout_ms)
    int canter_accept(int fd, sockaddr *peer, socklen_t *size)
    ssize_t canter_sendfile(int out, int source, int64_t offset, size_t count)
    int canter_wait_one(int fd, int write, int timeout_ms)
    ssize_t canter_send_two(int fd, const char *a, size_t an, const char *b, size_t bn)
    int canter_untaken(int fd)
    int canter_close_hard(int fd)
    int canter_peer_left(int fd)
    int64_t canter_silent_ms(int fd)

    uint16_t ntohs(uint16_t value)
    const char *inet_ntop(int family, const void *source, char *out, socklen_t size)
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)
    int shutdown(int fd, int how)
    int close(int fd)
    int dup(int fd)
