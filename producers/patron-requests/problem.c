#include "producers/patron-requests/problem.h"

#include "common/scoped.h"

const char problem_type[] = "application/problem+json";

const char *problem_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"}, {401, "Unauthorized"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"},
        {409, "Conflict"}, {413, "Content Too Large"}, {415, "Unsupported Media Type"}, {422, "Unprocessable Content"},
        {429, "Too Many Requests"}, {500, "Internal Server Error"}, {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < COUNT(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void problem_write(struct text *to, int status, const char *detail, const struct mistakes *errors)
{
    text_puts(to, "{\"title\":");
    text_json(to, problem_title(status));
    text_printf(to, ",\"status\":%d,\"detail\":", status);
    text_json(to, detail);
    if (errors && errors->count) {
        text_puts(to, ",\"errors\":[");
        text_add(to, text_str(&errors->json), errors->json.len);
        text_putc(to, ']');
        if (errors->count > FORMS_MISTAKES_MAX)
            text_printf(to, ",\"more_errors\":%d", errors->count - FORMS_MISTAKES_MAX);
    }
    text_putc(to, '}');
}
