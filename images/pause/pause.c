/* Process 1 of every pod, and of every lab node: it holds the namespaces, reaps orphans, and leaves on SIGTERM or SIGINT.
 *
 *   pause                          hold what the engine made
 *   pause --unshare-network        leave the network namespace it was started in for a new one of its own, bring `lo`
 *                                  up there, and only then print "ready": a pod starts faster in the host's namespace
 *                                  than with the engine's own `none` network (needs SYS_ADMIN, and NET_ADMIN for `lo`)
 *   pause --probe                  leave at once: the health check of a lab node
 *   pause --unreachable CIDR...    first close these ranges with `unreachable` routes (needs NET_ADMIN), so that no
 *                                  packet for a pod or a Service can leave by the default route before a kubelet or a
 *                                  proxy has made a better one. The metric is the worst there is, so any other wins.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned worst_metric = 4278198272u;

static void die(const char *what) {
    fprintf(stderr, "pause: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) die("lo");
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    /* Without NET_ADMIN it is left to whoever plumbs the namespace. */
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0 && errno != EPERM) die("bring lo up");
    close(fd);
}

static void attribute(struct nlmsghdr *message, unsigned short type, const void *data, unsigned short size) {
    struct rtattr *at = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));
    at->rta_type = type;
    at->rta_len = RTA_LENGTH(size);
    memcpy(RTA_DATA(at), data, size);
    message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(at->rta_len);
}

static void close_range_of(const char *cidr) {
    char address[INET_ADDRSTRLEN] = "";
    unsigned bits = 32;
    struct in_addr destination;
    if (sscanf(cidr, "%15[0-9.]/%u", address, &bits) != 2 || bits > 32 || inet_pton(AF_INET, address, &destination) != 1) {
        errno = EINVAL;
        die(cidr);
    }
    struct { struct nlmsghdr header; struct rtmsg route; char attributes[64]; } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)), .nlmsg_type = RTM_NEWROUTE,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL},
        .route = {.rtm_family = AF_INET, .rtm_dst_len = bits, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
                  .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNREACHABLE},
    };
    attribute(&request.header, RTA_DST, &destination, sizeof destination);
    attribute(&request.header, RTA_PRIORITY, &worst_metric, sizeof worst_metric);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct { struct nlmsghdr header; struct nlmsgerr error; char rest[256]; } answer;
    if (fd < 0 || send(fd, &request, request.header.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) die(cidr);
    close(fd);
    if (answer.error.error && answer.error.error != -EEXIST) {
        errno = -answer.error.error;
        die(cidr);
    }
}

/* What was needed above is not needed to wait. */
static void drop_privileges(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &header, none) < 0) die("drop privileges");
}

int main(int count, char **arguments) {
    if (count == 2 && !strcmp(arguments[1], "--probe")) return 0;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    /* Process 1 ignores signals that it has no handler for, so they are blocked and taken one by one below. */
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--unshare-network")) {
            if (unshare(CLONE_NEWNET) < 0) die("unshare the network namespace");
            loopback_up();
        } else if (strcmp(arguments[i], "--unreachable")) {
            close_range_of(arguments[i]);
        }
    }
    drop_privileges();
    if (count > 1) {
        puts("ready");
        fflush(stdout);
    }
    for (;;) {
        int signal = 0;
        sigwait(&signals, &signal);
        if (signal != SIGCHLD) return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    }
}
