/* The system calls of the poller and of streams, one name each for every system.
 *
 * Linux has epoll; macOS and the BSDs have kqueue. Both are used in the same way:
 * a stream is watched once, edge-triggered; a listener is level-triggered; each
 * event carries the pointer it was registered with. Sockets are non-blocking, and
 * recv and send ask for that again with MSG_DONTWAIT, because an application that
 * was handed the socket may have made it blocking.
 */
#ifndef CANTER_IO_H
#define CANTER_IO_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>

#ifdef __linux__
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#else
#include <sys/event.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum {
    CANTER_READ = 1,   /* octets (or the end) can be read */
    CANTER_WRITE = 2,  /* the send buffer has room again */
    CANTER_FIN = 4,    /* the peer has finished sending */
    CANTER_RESET = 8   /* the connection is gone */
};

typedef struct {
    void *owner;
    unsigned what;
} canter_event;

#define CANTER_BATCH 256

/* The clock of Python's time.monotonic_ns(): on macOS that is one that stops while the machine sleeps. */
static inline int64_t canter_now(void) {
#ifdef __APPLE__
    return (int64_t)clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
#else
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
#endif
}

static inline int canter_prepare(int fd) {
    int flags = fcntl(fd, F_GETFL, 0);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

#ifdef __linux__

static inline int canter_poll_new(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int canter_watch_stream(int set, int fd, void *owner) {
    struct epoll_event ev;
    ev.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    ev.data.ptr = owner;
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev);
}

/* Also tell when the send buffer has room (on), or no longer (off). */
static inline int canter_watch_room(int set, int fd, void *owner, int on) {
    struct epoll_event ev;
    ev.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (on ? EPOLLOUT : 0);
    ev.data.ptr = owner;
    return epoll_ctl(set, EPOLL_CTL_MOD, fd, &ev);
}

/* A descriptor that stays ready until it is served; one waiter of several wakes. */
static inline int canter_watch_level(int set, int fd, void *owner, int exclusive) {
    struct epoll_event ev;
    ev.events = EPOLLIN;
#ifdef EPOLLEXCLUSIVE
    if (exclusive) ev.events |= EPOLLEXCLUSIVE;
#endif
    ev.data.ptr = owner;
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev);
}

static inline int canter_unwatch(int set, int fd) {
    struct epoll_event ev = {0};
    return epoll_ctl(set, EPOLL_CTL_DEL, fd, &ev);
}

static inline int canter_wait(int set, canter_event *out, int timeout_ms) {
    struct epoll_event events[CANTER_BATCH];
    int n = epoll_wait(set, events, CANTER_BATCH, timeout_ms);
    for (int i = 0; i < n; i++) {
        unsigned what = 0;
        if (events[i].events & EPOLLIN) what |= CANTER_READ;
        if (events[i].events & EPOLLOUT) what |= CANTER_WRITE;
        if (events[i].events & EPOLLRDHUP) what |= CANTER_FIN;
        if (events[i].events & (EPOLLERR | EPOLLHUP)) what |= CANTER_RESET;
        out[i].owner = events[i].data.ptr;
        out[i].what = what;
    }
    return n;
}

static inline int canter_accept(int fd, struct sockaddr *peer, socklen_t *size) {
    return accept4(fd, peer, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline ssize_t canter_sendfile(int out, int in, int64_t offset, size_t count) {
    off_t at = offset;
    return sendfile(out, in, &at, count);
}

#else

static inline int canter_poll_new(void) {
    int set = kqueue();
    if (set >= 0) fcntl(set, F_SETFD, FD_CLOEXEC);
    return set;
}

static inline int canter_watch_stream(int set, int fd, void *owner) {
    struct kevent ev;
    EV_SET(&ev, fd, EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, owner);
    return kevent(set, &ev, 1, NULL, 0, NULL);
}

static inline int canter_watch_room(int set, int fd, void *owner, int on) {
    struct kevent ev;
    EV_SET(&ev, fd, EVFILT_WRITE, on ? (EV_ADD | EV_CLEAR) : EV_DELETE, 0, 0, owner);
    return kevent(set, &ev, 1, NULL, 0, NULL);
}

static inline int canter_watch_level(int set, int fd, void *owner, int exclusive) {
    struct kevent ev;
    (void)exclusive;
    EV_SET(&ev, fd, EVFILT_READ, EV_ADD, 0, 0, owner);
    return kevent(set, &ev, 1, NULL, 0, NULL);
}

static inline int canter_unwatch(int set, int fd) {
    struct kevent ev[2];
    EV_SET(&ev[0], fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    EV_SET(&ev[1], fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
    kevent(set, &ev[1], 1, NULL, 0, NULL);
    return kevent(set, &ev[0], 1, NULL, 0, NULL);
}

static inline int canter_wait(int set, canter_event *out, int timeout_ms) {
    struct kevent events[CANTER_BATCH];
    struct timespec limit = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000L};
    int n = kevent(set, NULL, 0, events, CANTER_BATCH, timeout_ms < 0 ? NULL : &limit);
    for (int i = 0; i < n; i++) {
        unsigned what = events[i].filter == EVFILT_WRITE ? CANTER_WRITE : CANTER_READ;
        if (events[i].flags & EV_EOF) what |= CANTER_FIN;
        if ((events[i].flags & EV_EOF) && events[i].fflags) what |= CANTER_RESET;
        out[i].owner = events[i].udata;
        out[i].what = what;
    }
    return n;
}

static inline int canter_accept(int fd, struct sockaddr *peer, socklen_t *size) {
    int client = accept(fd, peer, size);
    if (client >= 0 && canter_prepare(client) < 0) {
        close(client);
        return -1;
    }
#ifdef SO_NOSIGPIPE
    if (client >= 0) {
        int one = 1;
        setsockopt(client, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
    }
#endif
    return client;
}

/* sendfile differs from system to system; a copy through a buffer does not. */
static inline ssize_t canter_sendfile(int out, int in, int64_t offset, size_t count) {
    char copy[65536];
    ssize_t got = pread(in, copy, count < sizeof copy ? count : sizeof copy, offset);
    if (got <= 0) return got;
    return send(out, copy, got, MSG_DONTWAIT | MSG_NOSIGNAL);
}

#endif

/* Wait until fd can be read (or written). 1: it can, 0: the time is over, -1: errno. */
static inline int canter_wait_one(int fd, int write, int timeout_ms) {
    struct pollfd one = {fd, write ? POLLOUT : POLLIN, 0};
    return poll(&one, 1, timeout_ms);
}

/* Send two blocks with one system call, never raising SIGPIPE. */
static inline ssize_t canter_send_two(int fd, const char *a, size_t an, const char *b, size_t bn) {
    struct iovec parts[2] = {{(void *)a, an}, {(void *)b, bn}};
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Octets that were sent and that the peer's system has not taken yet; 0 where nobody knows. */
static inline int canter_untaken(int fd) {
    int n = 0;
#if defined(SIOCOUTQ)
    if (ioctl(fd, SIOCOUTQ, &n) < 0) n = 0;
#elif defined(SO_NWRITE)
    socklen_t size = sizeof n;
    if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &size) < 0) n = 0;
#elif defined(FIONWRITE)
    if (ioctl(fd, FIONWRITE, &n) < 0) n = 0;
#else
    (void)fd;
#endif
    return n;
}

/* Close so that the peer sees a reset: what it has is not the whole answer. */
static inline int canter_close_hard(int fd) {
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return close(fd);
}

/* Milliseconds since the peer's last data came in, where the system tells (tcpi_last_data_recv); else 0. */
static inline int64_t canter_silent_ms(int fd) {
#if defined(__linux__) && defined(TCP_INFO)
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) return info.tcpi_last_data_recv;
#else
    (void)fd;
#endif
    return 0;
}

/* Has the peer closed or reset? 2: reset, 1: finished sending, 0: no. */
static inline int canter_peer_left(int fd) {
    char one;
    ssize_t n = recv(fd, &one, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0) return 1;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) return 2;
    return 0;
}

#endif
