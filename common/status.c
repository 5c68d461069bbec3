#include "common/status.h"

#include "common/log.h"
#include "common/metrics.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

struct status {
    struct loop *loop;
    struct MHD_Daemon *daemon;
    struct loop_fd watch;
    struct loop_timer timer;
    struct status_source source;
};

static enum MHD_Result send_text(struct MHD_Connection *to, unsigned code, const char *type, struct text *body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, (void *)(uintptr_t)text_str(body), MHD_RESPMEM_MUST_COPY);

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    enum MHD_Result result = MHD_queue_response(to, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *of, struct MHD_Connection *from, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct status *s = of;
    static struct text body;

    (void)version;
    (void)upload;
    (void)upload_size;
    (void)state;
    text_clear(&body);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        text_puts(&body, "only GET\n");
        return send_text(from, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &body);
    }
    if (!strcmp(url, "/metrics")) {
        if (s->source.refresh)
            s->source.refresh(s->source.of);
        metrics_write(&body);
        return send_text(from, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
    }
    if (!strcmp(url, "/healthz") || !strcmp(url, "/readyz")) {
        bool ready = s->source.ready(s->source.of, &body);
        if (!body.len)
            text_puts(&body, "ok");
        text_putc(&body, '\n');
        bool ok = ready || !strcmp(url, "/healthz");
        return send_text(from, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", &body);
    }
    text_puts(&body, "/metrics /healthz /readyz\n");
    return send_text(from, MHD_HTTP_NOT_FOUND, "text/plain", &body);
}

static void serve(void *of, uint32_t events)
{
    struct status *s = of;
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)events;
    MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES)
        loop_timer_set(s->loop, &s->timer, loop_now(s->loop) + (int64_t)(wait_ms < 60000 ? wait_ms : 60000) * 1000);
}

struct fault status_open(struct status **ret, struct loop *loop, const char *bind_address, int port,
                         const struct status_source *source)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    *ret = NULL;
    if (port < 0)
        return FAULT_OK;
    if (inet_pton(AF_INET, bind_address, &to.sin_addr) != 1)
        return FAULT(MISUSE, "METRICS_ADDRESS=%s: want an IPv4 address as 127.0.0.1 or 0.0.0.0", bind_address);
    struct status *s = calloc(1, sizeof *s);
    s->loop = loop;
    s->source = *source;
    s->timer = (struct loop_timer){.call = serve, .of = s};
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL, (uint16_t)port, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, &to,
                                 MHD_OPTION_CONNECTION_LIMIT, 32u, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
    if (!s->daemon) {
        free(s);
        return FAULT(MISUSE, "METRICS_PORT=%d: cannot listen on %s: is another program using it?", port, bind_address);
    }
    const union MHD_DaemonInfo *fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    const union MHD_DaemonInfo *bound = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    loop_watch(loop, &s->watch, fd->epoll_fd, EPOLLIN, serve, s);
    log_info("metrics and health on http://%s:%u", bind_address, bound ? bound->port : (unsigned)port);
    *ret = s;
    return FAULT_OK;
}

void status_close(struct status *s)
{
    if (!s)
        return;
    loop_timer_stop(s->loop, &s->timer);
    loop_watch(s->loop, &s->watch, -1, 0, NULL, NULL);
    MHD_stop_daemon(s->daemon);
    free(s);
}
