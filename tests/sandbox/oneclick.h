/*
 * oneclick.h - what the files of the OneClick digital (RBdigital) vendor share.
 *
 * oneclick.c          the vendor: settings, who is admitted, errors, dates, what the catalog's calls answer
 * oneclick_titles.c   what the vendor has, what came and went, and the test's side of it
 * oneclick_record.c   records made from a number and a seed
 * oneclick_listing.c  answers that are lists of titles, made while they are sent
 * oneclick_patrons.c  patrons, loans, holds, magazines, downloads and the search: their calls are rows of oneclick.c's table,
 *                     they are admitted and refused as the catalog's are, and find a title by its ISBN
 *
 * Units      a day is a number of days since 1970-01-01, of the vendor's own clock.
 * Ownership  a title belongs to the store and stays where it is until the next call that adds one; a removed one is
 *            kept, for the deltas. Picks are their holder's, who frees `at`.
 */
#ifndef SANDBOX_ONECLICK_H
#define SANDBOX_ONECLICK_H

#include "exchange.h"

#define ISBN_LEN 13
#define ISBN_MAX 64              /* of one that is asked for; a posted record may have any text at all */
#define RECORD_MAX 12288         /* bytes of a made record */
#define NUMBER_MAX 999999999     /* of made records: nine digits of an ISBN */

enum media { MEDIA_EBOOK, MEDIA_EAUDIO, MEDIA_OTHER };

struct title {
    char *record;                /* as posted, JSON; NULL: made from number and seed */
    char *isbn;                  /* as posted; NULL when it has none, or the record is made */
    int64_t id;                  /* titleId */
    uint32_t record_len, number, seed;
    uint32_t length;             /* of the record in bytes, once it was measured */
    uint8_t media;               /* enum media */
    bool available, gone;
};

/* Titles at one moment: position in the store * 2, + 1 when it is available then. */
struct picks { uint32_t *at; size_t count, cap; };

/* ---- oneclick.c ---- */

extern const char *const media_names[];      /* of enum media; MEDIA_OTHER has none */

/* The token and the library are right and there is no limit in the way; otherwise the answer is the vendor's refusal. */
bool oneclick_admitted(struct exchange *x);
void oneclick_message(struct exchange *x, int status, const char *message);
int64_t oneclick_today(void); /* its days are the American East's; here its winter's, as a number since 1970 */
bool oneclick_announced(void);               /* the setting content_length */
/* The title with that ISBN, or NULL and the vendor's answer to what it does not know. */
const struct title *oneclick_title_asked(struct exchange *x, struct slice isbn);
int64_t oneclick_now_ms(void);               /* since 1970, of the vendor's own clock */
const char *oneclick_day_print(int64_t day, char buf[32]);

/* ---- oneclick_titles.c ---- */

const struct title *title_at(size_t position);
/* The one that is there now, or NULL. */
const struct title *title_with(struct slice isbn);
struct slice title_isbn(const struct title *t, char buf[ISBN_LEN]);
void title_record(const struct title *t, struct text *out);
size_t title_length(size_t position);        /* of its record, in bytes */
uint32_t titles_era(void);                   /* another one when all titles were forgotten */

void title_lend(const struct title *t, bool available);

/* What is there now: of one media type, or of any (-1). */
struct picks titles_now(int media);
/* What was added and removed on the days first to last; a title stands in each list once, and may stand in both. */
void titles_between(int64_t first, int64_t last, struct picks *ret_added, struct picks *ret_removed);
/* How many there were at the end of that day, by enum media. */
void titles_held(int64_t day, int64_t ret_count[MEDIA_OTHER + 1]);

void titles_reset(void);
void titles_count(struct text *out);         /* members of /admin/counts, each with a comma in front */

void admin_generate(struct exchange *x);
void admin_post_titles(struct exchange *x);
void admin_patch_title(struct exchange *x);
void admin_delete_title(struct exchange *x);
void admin_availability(struct exchange *x);
void admin_list_titles(struct exchange *x);
void admin_one_title(struct exchange *x);
void admin_count_titles(struct exchange *x);

/* ---- oneclick_record.c ---- */

void record_isbn(uint32_t number, char ret_isbn[ISBN_LEN]);
/* What the record will say, and whether the title is available at first. */
void record_traits(uint32_t number, uint32_t seed, enum media *ret_media, bool *ret_available);
void record_write(uint32_t number, uint32_t seed, struct text *out);
static inline int64_t record_id(uint32_t number) { return 10000 + (int64_t)number; }

/* Thirteen digits whose last is the check digit of EAN-13. */
bool isbn_valid(struct slice isbn);

/* ---- oneclick_patrons.c ---- */

/* Rows of the vendor's settings, which README.md explains. */
struct oneclick_patron_settings {
    int64_t nobody_status, patron_exists_status, checkout_limit, hold_limit, loan_days, renewals_max;
    double hold_seconds, bearer_seconds;
    char *told_first, *link_root;
    bool no_user_id, empty_success, receipt_expiration, renew_from_end;
};
extern struct oneclick_patron_settings oneclick_patron_settings;

void patron_key(struct exchange *x);
void item_keys(struct exchange *x);
void create_key(struct exchange *x);
void download_key(struct exchange *x);

void patron_find(struct exchange *x);
void patron_read(struct exchange *x);
void patron_create(struct exchange *x);
void patron_bearer(struct exchange *x);
void patron_checkout(struct exchange *x);
void patron_renew(struct exchange *x);
void patron_return(struct exchange *x);
void patron_loans(struct exchange *x);
void patron_hold(struct exchange *x);
void patron_cancel(struct exchange *x);
void patron_holds(struct exchange *x);
void patron_magazine(struct exchange *x);
void patron_magazine_return(struct exchange *x);
void patron_history(struct exchange *x);
void patron_download(struct exchange *x);
void oneclick_search(struct exchange *x);
void oneclick_shelf(struct exchange *x);

void patrons_answered(int64_t effect);
void patrons_effects(struct exchange *x);
void patrons_count(struct text *out);        /* members of /admin/counts, each with a comma in front */
void patrons_reset(unsigned what);

void admin_post_patrons(struct exchange *x);
void admin_list_patrons(struct exchange *x);
void admin_forget_patron(struct exchange *x);
void admin_convert(struct exchange *x);
void admin_bookmarks(struct exchange *x);

/* ---- oneclick_listing.c ---- */

/*
 * A long answer: up to two lists of rows with text around them, made piece by piece. The rows are those of the moment
 * it was asked for, as available as they were then; a record that is changed meanwhile is answered changed (which is
 * more or less than a Content-Length said, so such an answer breaks off).
 */
struct listing {
    struct picks part[2];
    struct text lead[3];         /* in front of the first part, between, behind the last */
    size_t parts;                /* 0 to 2; lead[parts] is the end */
    const char *between;         /* rows */
    void (*row)(const struct listing *l, const struct title *t, bool available, struct text *out);
    char stamp[40];              /* for rows that have a time */
    uint32_t era;
    size_t at_part, at_row;
    bool led;                    /* the lead of at_part is out */
};

struct listing *listing_new(void (*row)(const struct listing *, const struct title *, bool, struct text *));
/* Hands it over to the answer, in the shape a fault asked for. */
void listing_answer(struct exchange *x, struct listing *l, const char *content_type);

void row_record(const struct listing *l, const struct title *t, bool available, struct text *out);

#endif
