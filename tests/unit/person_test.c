#include "common/person.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char day[] = "2026-10-12";

#define I POLICY_IGNORE
#define F POLICY_FLAG
#define R POLICY_REFUSE

static const struct person well = {.barcode = "21060001", .expiry_date = "2027-06-30", .status = "ACTIVE",
                                   .email_known = true, .email_matches = true};

static void test_policies(void **state)
{
    /* the person */
    enum { EXPIRED = 1, INACTIVE = 2, BLOCKED = 4, DIFFERS = 8, NO_CARD = 16 };
    static const struct {
        const char *when;
        int is;
        enum policy email, expired, blocked;
        const char *code;  /* "may_enter", or why not */
        const char *flags; /* e, x, b */
    } visits[] = {
        {"nothing is wrong", 0, R, R, R, "may_enter", ""},
        {"expired, ignored", EXPIRED, I, I, I, "may_enter", ""},
        {"expired, flagged", EXPIRED, I, F, I, "may_enter", "x"},
        {"expired, refused", EXPIRED, I, R, I, "expired", ""},
        {"inactive, ignored", INACTIVE, I, I, I, "may_enter", ""},
        {"inactive, flagged", INACTIVE, I, F, I, "may_enter", "x"},
        {"inactive, refused", INACTIVE, I, R, I, "expired", ""},
        {"blocked, ignored", BLOCKED, I, I, I, "may_enter", ""},
        {"blocked, flagged", BLOCKED, I, I, F, "may_enter", "b"},
        {"blocked, refused", BLOCKED, I, I, R, "blocked", ""},
        {"another e-mail, ignored", DIFFERS, I, I, I, "may_enter", ""},
        {"another e-mail, flagged", DIFFERS, F, I, I, "may_enter", "e"},
        {"another e-mail, refused", DIFFERS, R, I, I, "email_differs", ""},
        {"each policy is for its own case: expired", EXPIRED, R, I, R, "may_enter", ""},
        {"each policy is for its own case: blocked", BLOCKED, R, R, I, "may_enter", ""},
        {"each policy is for its own case: e-mail", DIFFERS, I, R, R, "may_enter", ""},
        {"everything, flagged", EXPIRED | BLOCKED | DIFFERS, F, F, F, "may_enter", "exb"},
        {"everything, refused: the account first", EXPIRED | BLOCKED | DIFFERS, R, R, R, "expired", ""},
        {"refused for one, flagged for the others", EXPIRED | BLOCKED | DIFFERS, F, F, R, "blocked", "ex"},
        {"no card", NO_CARD, I, I, I, "no_card", ""},
        {"no card, and flagged for the rest", NO_CARD | BLOCKED, F, F, F, "no_card", "b"},
        {"no card, expired", NO_CARD | EXPIRED, R, R, R, "expired", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(visits); i++) {
        struct person p = well;
        struct person_flags flags;
        char got[4] = "";

        if (visits[i].is & EXPIRED)
            p.expiry_date = "2026-10-11";
        if (visits[i].is & INACTIVE)
            p.status = "INACTIVE";
        if (visits[i].is & NO_CARD)
            p.barcode = "";
        p.blocked = visits[i].is & BLOCKED;
        p.email_matches = !(visits[i].is & DIFFERS);
        struct answer a = person_may_enter(&p, day, visits[i].email, visits[i].expired, visits[i].blocked, &flags);
        snprintf(got, sizeof got, "%s%s%s", flags.email ? "e" : "", flags.expired ? "x" : "", flags.blocked ? "b" : "");
        if (strcmp(a.code, visits[i].code) || strcmp(got, visits[i].flags))
            fail_msg("%s: %s, flags %s", visits[i].when, a.code, got);
        if (a.verdict != (strcmp(a.code, "may_enter") ? REJECTED : DONE) || a.cause != CAUSE_WORK)
            fail_msg("%s: verdict %s", visits[i].when, verdict_name(a.verdict));
        if ((a.verdict == REJECTED) != (*a.reason != '\0'))
            fail_msg("%s: the reason is \"%s\"", visits[i].when, a.reason);
    }
}

static void test_expiry(void **state)
{
    static const struct {
        const char *when, *expiry, *status;
        bool expired;
    } accounts[] = {
        {"the day before the visit", "2026-10-11", "ACTIVE", true},
        {"on the day of the visit", "2026-10-12", "ACTIVE", false},
        {"the day after", "2026-10-13", "ACTIVE", false},
        {"the year before, later in the year", "2025-12-31", "ACTIVE", true},
        {"the next year, earlier in the year", "2027-01-01", "ACTIVE", false},
        {"never", "", "ACTIVE", false},
        {"Alma says no status", "", "", false},
        {"inactive, though its date lies ahead", "2027-01-01", "INACTIVE", true},
        {"a status nobody here knows", "2027-01-01", "DELETED", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(accounts); i++) {
        struct person p = well;
        struct person_flags flags;

        p.expiry_date = accounts[i].expiry;
        p.status = accounts[i].status;
        struct answer a = person_may_enter(&p, day, I, R, I, &flags);
        if ((a.verdict == REJECTED) != accounts[i].expired)
            fail_msg("%s: %s", accounts[i].when, a.code);
    }
}

/* An e-mail that one of the two does not have differs from nothing. */
static void test_unknown_email(void **state)
{
    struct person p = well;
    struct person_flags flags;
    (void)state;

    p.email_known = p.email_matches = false;
    assert_int_equal(person_may_enter(&p, day, R, R, R, &flags).verdict, DONE);
    assert_int_equal(person_may_enter(&p, day, F, R, R, &flags).verdict, DONE);
    assert_false(flags.email);
}

static void test_settings(void **state)
{
    const struct setting *const tables[] = {person_settings, NULL};
    struct person p = well;
    struct person_flags flags;
    (void)state;

    unsetenv("ALMA_ON_EMAIL");
    unsetenv("ALMA_ON_EXPIRED");
    unsetenv("ALMA_ON_BLOCKED");
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    p.blocked = true;
    p.email_matches = false;
    assert_int_equal(person_may_enter_by_settings(&p, day, &flags).verdict, DONE);
    assert_true(flags.email && flags.blocked && !flags.expired);
    p.expiry_date = "2020-01-01";
    assert_string_equal(person_may_enter_by_settings(&p, day, &flags).code, "expired");
    setenv("ALMA_ON_EXPIRED", "ignore", 1);
    setenv("ALMA_ON_BLOCKED", "refuse", 1);
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    assert_string_equal(person_may_enter_by_settings(&p, day, &flags).code, "blocked");
    setenv("ALMA_ON_EMAIL", "warn", 1);
    assert_int_equal(settings_load(tables).kind, FAULT_MISUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_unknown_email),
        cmocka_unit_test(test_settings),
    };

    return cmocka_run_group_tests_name("person", tests, NULL, NULL);
}
