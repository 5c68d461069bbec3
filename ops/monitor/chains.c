#include "ops/monitor/chains.h"

#include "common/scoped.h"

#include <string.h>

const struct chain_stage chain_stages[STAGES_MAX] = {
    {"bookings-new", "bookings.new", "alma", "Alma"},
    {"users-resolve", "users.resolve", "passagepoint", "PassagePoint"},
    {"prereg-create", "prereg.create", "passagepoint", "PassagePoint"},
    {"catalog-delta", "catalog.delta", NULL, NULL},
    {"folio-requests", "folio.requests", "folio", "FOLIO"},
    {"wise-holds-prepare", "wise.holds.prepare", "wise", "Wise"},
    {"wise-holds-place", "wise.holds.place", "wise", "Wise"},
    {"oneclick-requests", "oneclick.requests", "oneclick", "OneClick"},
};

const struct chain chains[] = {
    {"Visits: from a booking to the gate", {"libcal-bookings", "webcheckout-allocations"},
     {&chain_stages[0], &chain_stages[1], &chain_stages[2]}},
    {"OneClick's catalog", {"oneclick-catalog"}, {&chain_stages[3]}},
    {"Patrons' requests to FOLIO", {"patron-requests"}, {&chain_stages[4]}},
    {"Patrons' requests to Wise", {"patron-requests"}, {&chain_stages[5], &chain_stages[6]}},
    {"Patrons' requests to OneClick", {"patron-requests"}, {&chain_stages[7]}},
};
const int chain_count = (int)COUNT(chains);

int chain_stage_of(const char *program)
{
    for (int i = 0; i < STAGES_MAX; i++)
        if (!strcmp(chain_stages[i].program, program))
            return i;
    return -1;
}
