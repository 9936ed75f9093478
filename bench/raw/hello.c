/* The ceiling: an epoll loop that answers fixed octets and parses nothing.
 *
 *     hello PORT [SPIN]
 *
 * One thread, 127.0.0.1, edge-triggered. Each read that ends in an empty line is taken
 * for one request. SPIN microseconds of work before each answer make a server of a
 * known capacity, against which two load generators can be held. What a real server
 * spends beyond this program is its own doing; the rest is the kernel's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\n"
    "Server: raw\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 13\r\n"
    "\r\n"
    "Hello, world!";

static double spin;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_on(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 2048))
        fail("listen");
    return fd;
}

static void welcome(int poll, int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void answer(int fd)
{
    char buffer[16384];
    ssize_t size;
    while ((size = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        if (size < 4 || memcmp(buffer + size - 4, "\r\n\r\n", 4))
            continue;
        if (spin > 0)
            for (double until = now() + spin; now() < until;)
                ;
        if (send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) < 0)
            break;
        if (size < (ssize_t)sizeof buffer)
            return; /* the rest, if any, rings again */
    }
    if (size == 0 || (size < 0 && errno != EAGAIN))
        close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fprintf(stderr, "usage: hello PORT [SPIN]\n"), 2;
    spin = argc > 2 ? atof(argv[2]) / 1e6 : 0;
    int listener = listen_on(atoi(argv[1])), poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ready[256], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener)
                welcome(poll, listener);
            else
                answer(ready[i].data.fd);
        }
    }
}
