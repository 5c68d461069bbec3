/* What monitor shows of others' bytes: programs' metrics, contents of dead letters, whatever is put into a page. */
#include "ops/monitor/dead_letters.h"
#include "ops/monitor/html.h"
#include "ops/monitor/programs.h"

#include "tests/fuzz/fuzz.h"

static void escaped(const struct text *t)
{
    for (const char *at = text_str(t); *at; at++)
        want(*at != '<' && *at != '>' && *at != '"' && *at != '\'' && (*at != '&' || strchr(at, ';')));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct picture picture;
    static struct text page;
    struct instance it = {0};
    struct dead_letter letter;
    const char *bytes = (const char *)data;

    picture.answer_count = 0;
    programs_read(bytes, size, &it, &picture);
    want(strlen(it.program) < sizeof it.program && picture.answer_count <= ANSWERS_MAX);
    text_clear(&page);
    html_bytes(&page, bytes, size);
    escaped(&page);

    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    rd_kafka_header_add(headers, "kafka_dlt-exception-message", -1, data, (ssize_t)size);
    rd_kafka_header_add(headers, "kafka_dlt-exception-fqcn", -1, data, (ssize_t)size);
    dead_letter_read("topic.dlq", headers, bytes, size, &letter);
    rd_kafka_headers_destroy(headers);
    text_clear(&page);
    html_text(&page, letter.reason);
    escaped(&page);
    return 0;
}
