#include "ops/monitor/picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WINDOW_S = 120, LATE_S = 30 };

void rates_add(struct rates *r, struct sample s)
{
    const struct sample *last = r->count ? &r->at[r->count - 1] : NULL;

    if (last && (s.read < last->read || s.end < last->end))
        r->count = 0; /* made anew, or set back by hand: what was is no measure of it */
    if (r->count == RATE_SAMPLES) {
        memmove(r->at, r->at + 1, sizeof r->at - sizeof r->at[0]);
        r->count--;
    }
    r->at[r->count++] = s;
}

bool rates_of(const struct rates *r, int window_s, double *ret_in, double *ret_out)
{
    if (r->count < 2)
        return false;
    const struct sample *last = &r->at[r->count - 1], *first = last;
    while (first > r->at && last->at_ms - first->at_ms < (int64_t)window_s * 1000)
        first--;
    double seconds = (double)(last->at_ms - first->at_ms) / 1000;
    if (seconds <= 0)
        return false;
    *ret_in = (double)(last->end - first->end) / seconds;
    *ret_out = (double)(last->read - first->read) / seconds;
    return true;
}

struct advice picture_advice(const struct stage_picture *s)
{
    struct advice a = {.kind = ADVICE_NOTHING, .in = -1, .out = -1, .drain_s = -1};
    bool known = rates_of(&s->rates, WINDOW_S, &a.in, &a.out);
    double in_of_late, of_late;
    bool moves = rates_of(&s->rates, LATE_S, &in_of_late, &of_late) && of_late > 0;

    if (s->lag <= 0)
        return a;
    if (known && a.out > a.in)
        a.drain_s = (double)s->lag / (a.out - a.in);
    if (!s->workers && !moves) {
        a.kind = ADVICE_NO_WORKER;
    } else if (s->held) {
        a.kind = ADVICE_HELD;
    } else if (!known || (a.out <= 0 && a.drain_s < 0)) {
        a.kind = ADVICE_NOT_KNOWN;
    } else {
        int now = s->workers ? s->workers : 1;
        double each = a.out / now, wanted = a.in + (double)s->lag / DRAIN_WITHIN_S;
        int more = (int)ceil(wanted / each) - now;
        int room = s->partitions - now;
        if (more <= 0 || (a.drain_s >= 0 && a.drain_s <= DRAIN_WITHIN_S)) {
            a.kind = ADVICE_KEEPS_UP;
        } else if (room <= 0) {
            a.kind = ADVICE_ALL_SHARED;
        } else {
            a.kind = ADVICE_MORE;
            a.more = more < room ? more : room;
        }
    }
    return a;
}

void say_seconds(double seconds, char ret[24])
{
    if (seconds < 0)
        ret[0] = '\0';
    else if (seconds < 120)
        snprintf(ret, 24, "%.0f s", seconds);
    else if (seconds < 7200)
        snprintf(ret, 24, "%.0f min", seconds / 60);
    else if (seconds < 172800)
        snprintf(ret, 24, "%.0f h", seconds / 3600);
    else if (seconds < 31536000)
        snprintf(ret, 24, "%.0f days", seconds / 86400);
    else
        snprintf(ret, 24, "more than a year");
}

void advice_say(const struct advice *a, const struct stage_picture *s, char *ret, size_t size)
{
    char drain[24];

    say_seconds(a->drain_s, drain);
    switch (a->kind) {
    case ADVICE_NOTHING: snprintf(ret, size, "nothing waits"); break;
    case ADVICE_KEEPS_UP:
        snprintf(ret, size, "done in %s at this rate; more workers are not needed", *drain ? drain : "a few minutes");
        break;
    case ADVICE_NO_WORKER: snprintf(ret, size, "no worker answers: start one"); break;
    case ADVICE_HELD:
        snprintf(ret, size, "more workers would not help%s%s", *s->waits_for ? ": " : "", s->waits_for);
        break;
    case ADVICE_MORE:
        snprintf(ret, size, "%s%s; %d more worker%s would help", *drain ? "done in " : "it grows faster than it is done",
                 drain, a->more, a->more == 1 ? "" : "s");
        break;
    case ADVICE_ALL_SHARED:
        snprintf(ret, size, "%s%s; each of the %d partitions has a worker: more would not help, a higher CONCURRENCY might",
                 *drain ? "done in " : "it grows faster than it is done", drain, s->partitions);
        break;
    case ADVICE_NOT_KNOWN: snprintf(ret, size, "nothing has moved yet since this was watched"); break;
    }
}
