/* Listens on 8080 and answers every HTTP request with one line: `test name: HOSTNAME`.
 *
 * One thread, one epoll: a pod that answers thousands of requests in parallel costs nothing to start. Keeps HTTP/1.1
 * connections open (an HTTP/1.0 one only if asked), takes pipelined requests and skips bodies that say their length.
 * Exits at once on SIGTERM and SIGINT, also as process 1, after the requests that it has already read were answered.
 * PORT overrides the port; a port that is taken ends the program with a message, so that a conflict shows as a crash.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { most_head = 16384 };

struct connection {
    int fd;
    size_t filled;
    size_t to_skip;          /* of the last request's body */
    char head[most_head];
};

static char line[300];
static size_t line_length;

static void die(const char *what) {
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void drop(struct connection *c) {
    close(c->fd);
    free(c);
}

/* The value of a header, or NULL. `head` ends with a NUL. */
static const char *header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strstr(head, "\r\n"); at; at = strstr(at + 2, "\r\n"))
        if (!strncasecmp(at + 2, name, length) && at[2 + length] == ':') return at + 3 + length + strspn(at + 3 + length, " \t");
    return NULL;
}

/* Answers are small, so a socket that does not take one whole has a reader that is gone or stuck. */
static int answer(struct connection *c, const char *head) {
    char reply[512];
    const char *wish = header(head, "Connection"), *end = strstr(head, "\r\n");
    int old = end - head >= 8 && !memcmp(end - 8, "HTTP/1.0", 8);
    int keep = wish ? !strncasecmp(wish, "keep-alive", 10) || (!old && strncasecmp(wish, "close", 5)) : !old;
    int only_head = !strncmp(head, "HEAD ", 5);
    int length = snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s",
                          line_length, keep ? "keep-alive" : "close", only_head ? "" : line);
    return send(c->fd, reply, length, MSG_NOSIGNAL) == length && keep;
}

/* Answers every whole request in the buffer; returns 0 if the connection is to be closed. */
static int serve(struct connection *c) {
    for (;;) {
        size_t skipped = c->to_skip < c->filled ? c->to_skip : c->filled;
        c->to_skip -= skipped;
        c->filled -= skipped;
        memmove(c->head, c->head + skipped, c->filled + 1);
        c->head[c->filled] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) return c->filled < most_head - 1;
        end[2] = 0;
        const char *length = header(c->head, "Content-Length");
        c->to_skip = length ? strtoul(length, NULL, 10) : 0;
        int keep = answer(c, c->head);
        if (!keep) return 0;
        size_t used = end + 4 - c->head;
        c->filled -= used;
        memmove(c->head, c->head + used, c->filled);
        c->head[c->filled] = 0;
    }
}

static void readable(struct connection *c) {
    for (;;) {
        ssize_t got = recv(c->fd, c->head + c->filled, most_head - 1 - c->filled, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return drop(c);
        c->filled += got;
        c->head[c->filled] = 0;
        if (!serve(c)) return drop(c);
    }
}

int main(void) {
    char hostname[256] = "";
    gethostname(hostname, sizeof hostname - 1);
    line_length = snprintf(line, sizeof line, "test name: %s\n", hostname);

    sigset_t leaving;
    sigemptyset(&leaving);
    sigaddset(&leaving, SIGTERM);
    sigaddset(&leaving, SIGINT);
    sigprocmask(SIG_BLOCK, &leaving, NULL);
    int signals = signalfd(-1, &leaving, SFD_CLOEXEC);

    int on = 1, off = 0, port = getenv("PORT") ? atoi(getenv("PORT")) : 8080;
    int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr *address = (struct sockaddr *)&six;
    socklen_t size = sizeof six;
    if (listener >= 0) {
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    } else { /* a kernel without IPv6 */
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        address = (struct sockaddr *)&four;
        size = sizeof four;
    }
    if (listener < 0) die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, address, size) < 0) die("cannot listen on the port");
    if (listen(listener, 1024) < 0) die("listen");

    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &signals;
    epoll_ctl(poll, EPOLL_CTL_ADD, signals, &event);
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(poll, ready, 64, -1), leave = 0;
        for (int i = 0; i < count; i++) {
            void *what = ready[i].data.ptr;
            if (what == &signals) {
                leave = 1;
            } else if (what == &listener) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) continue;
                struct connection *c = calloc(1, sizeof *c);
                if (!c) {
                    close(fd);
                    continue;
                }
                c->fd = fd;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
            } else {
                readable(what);
            }
        }
        if (leave) return 0;
    }
}
