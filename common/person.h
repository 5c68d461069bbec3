/*
 * person.h - may this person enter on that day? Decided from what Alma said, purely, in one place.
 *
 * The settings that decide are here too, because every answer about a person depends on them:
 * ALMA_ON_EMAIL, ALMA_ON_EXPIRED, ALMA_ON_BLOCKED: ignore, flag (let in, tell the desk), refuse (tell the desk only).
 */
#ifndef SHELFWIRE_PERSON_H
#define SHELFWIRE_PERSON_H

#include "common/answer.h"
#include "common/settings.h"

enum policy { POLICY_IGNORE, POLICY_FLAG, POLICY_REFUSE };

extern const struct setting person_settings[];

struct person {
    const char *barcode;      /* "" when there is no active card */
    const char *expiry_date;  /* "2027-06-30", "" when Alma has none */
    const char *status;       /* "ACTIVE", "INACTIVE", … */
    bool blocked;
    bool email_known;         /* Alma has an e-mail and so has the booking */
    bool email_matches;
};

/* What flags are up beside the answer: for the desk. */
struct person_flags {
    bool email, expired, blocked;
};

/*
 * day: of the visit, "2026-10-12", local. DONE; or REJECTED with the code the desk and the rows know:
 * "no_card", "expired", "blocked", "email_differs".
 */
struct answer person_may_enter(const struct person *p, const char *day, enum policy on_email, enum policy on_expired,
                               enum policy on_blocked, struct person_flags *ret_flags);

struct answer person_may_enter_by_settings(const struct person *p, const char *day, struct person_flags *ret_flags);

#endif
