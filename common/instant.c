#include "common/instant.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const int64_t INSTANT_LAST = 253402300799; /* 9999-12-31T23:59:59Z */

/* Howard Hinnant's days_from_civil: exact for the proleptic Gregorian calendar. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool digits(const char **at, int count, int *ret)
{
    int n = 0;

    for (int i = 0; i < count; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return false;
        n = n * 10 + (**at - '0');
    }
    *ret = n;
    return true;
}

static bool is(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

bool instant_read(const char *written, int64_t *ret, int *ret_offset_seconds)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at = written;
    int year, month, day, hour, minute, second, offset = 0, offset_hours, offset_minutes;

    if (!digits(&at, 4, &year) || !is(&at, '-') || !digits(&at, 2, &month) || !is(&at, '-') || !digits(&at, 2, &day))
        return false;
    if (!is(&at, 'T') && !is(&at, 't') && !is(&at, ' '))
        return false;
    if (!digits(&at, 2, &hour) || !is(&at, ':') || !digits(&at, 2, &minute) || !is(&at, ':') || !digits(&at, 2, &second))
        return false;
    if (is(&at, '.')) {
        if (!isdigit((unsigned char)*at))
            return false;
        while (isdigit((unsigned char)*at))
            at++;
    }
    if (*at == '+' || *at == '-') {
        int sign = *at++ == '-' ? -1 : 1;
        if (!digits(&at, 2, &offset_hours))
            return false;
        is(&at, ':');
        if (!digits(&at, 2, &offset_minutes) || offset_hours > 23 || offset_minutes > 59)
            return false;
        offset = sign * (offset_hours * 3600 + offset_minutes * 60);
    } else if (!is(&at, 'Z') && !is(&at, 'z')) {
        return false;
    }
    if (*at || year < 1970 || month < 1 || month > 12 || day < 1 || day > month_days[month - 1] || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (month == 2 && day == 29 && !leap)
        return false;
    int64_t instant = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    if (instant < 0 || instant > INSTANT_LAST)
        return false;
    *ret = instant;
    if (ret_offset_seconds)
        *ret_offset_seconds = offset;
    return true;
}

void instant_write(int64_t instant, char ret[INSTANT_SIZE])
{
    int64_t days = instant / 86400, rest = instant % 86400;

    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t z = days + 719468, era = z / 146097, day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t mp = (5 * day_of_year + 2) / 153;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    unsigned parts[] = {(unsigned)(year % 10000), (unsigned)month,       (unsigned)(day_of_year - (153 * mp + 2) / 5 + 1),
                        (unsigned)(rest / 3600),  (unsigned)(rest / 60 % 60), (unsigned)(rest % 60)};

    /* by hand: this runs for every message, and snprintf is most of it otherwise */
    memcpy(ret, "0000-00-00T00:00:00Z", INSTANT_SIZE);
    for (int i = 3; i >= 0; i--, parts[0] /= 10)
        ret[i] = (char)('0' + parts[0] % 10);
    for (unsigned p = 1; p < 6; p++) {
        ret[3 * p + 2] = (char)('0' + parts[p] / 10 % 10);
        ret[3 * p + 3] = (char)('0' + parts[p] % 10);
    }
}

int64_t instant_local_day(int64_t instant, int offset_seconds)
{
    int64_t local = instant + offset_seconds;

    return local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
}
