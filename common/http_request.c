#include "common/http.h"

#include <string.h>

void http_request_reset(struct http_request *req, const char *method, const char *path)
{
    req->method = method;
    text_clear(&req->target);
    text_puts(&req->target, path);
    text_clear(&req->body);
    req->header_count = 0;
    req->timeout_ms = 0;
    req->watch = NULL;
    req->take = NULL;
    req->may_leave = NULL;
}

void http_request_header(struct http_request *req, const char *name, const char *value)
{
    if (req->header_count == HTTP_HEADERS_MAX) {
        req->target.failed = true;
        return;
    }
    struct text *header = &req->headers[req->header_count++];

    text_clear(header);
    text_puts(header, name);
    text_puts(header, ": ");
    text_puts(header, value);
}

void http_request_query(struct http_request *req, const char *name, const char *value)
{
    text_putc(&req->target, strchr(text_str(&req->target), '?') ? '&' : '?');
    text_percent(&req->target, name);
    text_putc(&req->target, '=');
    text_percent(&req->target, value);
}

void http_request_free(struct http_request *req)
{
    text_free(&req->target);
    text_free(&req->body);
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        text_free(&req->headers[i]);
}
