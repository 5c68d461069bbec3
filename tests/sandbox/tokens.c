#include "tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

struct token { char text[TOKEN_LEN + 1]; int64_t ends_ns; UT_hash_handle hh; };

void tokens_issue(struct tokens *t, double life_s, char ret_token[TOKEN_LEN + 1])
{
    static struct prng source;
    int64_t now_ns = clock_ns();
    struct token *token, *next;

    if (!source.state)
        source.state = (uint64_t)wall_ms() * 2 + 1;
    HASH_ITER(hh, t->table, token, next) {
        if (token->ends_ns > now_ns)
            continue;
        HASH_DEL(t->table, token);
        free(token);
    }
    token = memory(NULL, sizeof *token);
    memset(token, 0, sizeof *token);
    snprintf(token->text, sizeof token->text, "%016" PRIx64 "%016" PRIx64 "%08" PRIx64, prng_next(&source),
             prng_next(&source), prng_next(&source) >> 32);
    token->ends_ns = now_ns + (int64_t)(life_s * (double)NS_PER_S);
    HASH_ADD(hh, t->table, text, TOKEN_LEN, token);
    memcpy(ret_token, token->text, TOKEN_LEN + 1);
}

bool tokens_valid(const struct tokens *t, struct slice token)
{
    struct token *found;

    HASH_FIND(hh, t->table, token.at, token.len, found);
    return found && found->ends_ns > clock_ns();
}

void tokens_end(struct tokens *t, struct slice token)
{
    struct token *found;

    HASH_FIND(hh, t->table, token.at, token.len, found);
    if (found)
        HASH_DEL(t->table, found);
    free(found);
}

void tokens_revoke(struct tokens *t)
{
    struct token *token, *next;

    HASH_ITER(hh, t->table, token, next) {
        HASH_DEL(t->table, token);
        free(token);
    }
}
