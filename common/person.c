#include "common/person.h"

#include <string.h>

static int on_email, on_expired, on_blocked;

const struct setting person_settings[] = {
    {"ALMA_ON_EMAIL", SET_CHOICE, "flag", .choices = "ignore|flag|refuse", .to = &on_email,
     .help = "the booking's e-mail is none of the person's in Alma: anybody can type another person's id into a form"},
    {"ALMA_ON_EXPIRED", SET_CHOICE, "refuse", .choices = "ignore|flag|refuse", .to = &on_expired,
     .help = "the account has expired by the day of the visit, or is not active"},
    {"ALMA_ON_BLOCKED", SET_CHOICE, "flag", .choices = "ignore|flag|refuse", .to = &on_blocked,
     .help = "the account has an active block"},
    {0}};

struct answer person_may_enter(const struct person *p, const char *day, enum policy email, enum policy expired,
                               enum policy blocked, struct person_flags *ret_flags)
{
    bool is_expired = (*p->expiry_date && strcmp(p->expiry_date, day) < 0) || (*p->status && strcmp(p->status, "ACTIVE") != 0);
    bool differs = p->email_known && !p->email_matches;

    *ret_flags = (struct person_flags){.email = differs && email == POLICY_FLAG,
                                       .expired = is_expired && expired == POLICY_FLAG,
                                       .blocked = p->blocked && blocked == POLICY_FLAG};
    if (is_expired && expired == POLICY_REFUSE)
        return answer_make(REJECTED, CAUSE_WORK, "expired", "the account in Alma has expired by the day of the visit, or is not active");
    if (p->blocked && blocked == POLICY_REFUSE)
        return answer_make(REJECTED, CAUSE_WORK, "blocked", "the account in Alma has an active block");
    if (differs && email == POLICY_REFUSE)
        return answer_make(REJECTED, CAUSE_WORK, "email_differs", "the booking's e-mail is none of this person's in Alma");
    if (!*p->barcode)
        return answer_make(REJECTED, CAUSE_WORK, "no_card", "no active card in Alma; asked again later");
    return answer_make(DONE, CAUSE_WORK, "may_enter", "%s", "");
}

struct answer person_may_enter_by_settings(const struct person *p, const char *day, struct person_flags *ret_flags)
{
    return person_may_enter(p, day, (enum policy)on_email, (enum policy)on_expired, (enum policy)on_blocked, ret_flags);
}
