/*
 * tokens.h - the tokens a vendor has given out: 40 hexadecimal characters, each with an end.
 */
#ifndef SANDBOX_TOKENS_H
#define SANDBOX_TOKENS_H

#include "text.h"

#define TOKEN_LEN 40

struct tokens { struct token *table; };

void tokens_issue(struct tokens *t, double life_s, char ret_token[TOKEN_LEN + 1]);
bool tokens_valid(const struct tokens *t, struct slice token);
void tokens_end(struct tokens *t, struct slice token);    /* that one */
void tokens_revoke(struct tokens *t);        /* all of them */

#endif
