/*
 * pages.h - what monitor shows, as HTML and as JSON, and what its forms do.
 *
 *   /                    everything at a glance: alerts, each chain from left to right, vendors, programs
 *   /desk                what wants a person, soonest visit first, with what can be done about each
 *   /find?q=             the timeline of a booking, request or title, by its id, a person's, or a trace id
 *   /dead-letters        by topic and reason; one: /dead-letters/ID
 *   /log                 who did and looked up what
 *   /do/VERB             POST: a verb (verbs.h); it answers with the page the form came from
 *
 * Each GET also as path.json; what is found there is what the page shows.
 */
#ifndef SHELFWIRE_MONITOR_PAGES_H
#define SHELFWIRE_MONITOR_PAGES_H

#include "ops/monitor/web.h"

void pages_answer(struct web_request *r); /* routes.c */

/* ---- the pages, each in a file of its own ---- */

void page_overview(struct web_request *r);
void page_desk(struct web_request *r);
void page_find(struct web_request *r);
void page_dead_letters(struct web_request *r);
void page_dead_letter(struct web_request *r, const char *id);
void page_log(struct web_request *r);
void page_do(struct web_request *r, const char *verb);

/* The events of whatever $1 is an id of, for the command line too. */
extern const char page_find_sql[];

/* ---- what they share ---- */

/* The head of a page and its end; current: the path of the place in the navigation that it is. */
void page_begin(struct web_request *r, const char *title, const char *current);
void page_end(struct web_request *r);

/* A page that says what is wrong, with a status. */
void page_trouble(struct web_request *r, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A statement's rows; NULL: the page (or JSON) says why there are none, and is finished when `alone`. */
PGresult *page_rows(struct web_request *r, bool alone, const char *sql, int params, const char *const *values);

/* The rows of a statement as JSON: {"name":[{…},…]}. */
void page_json(struct web_request *r, const char *name, const char *sql, int params, const char *const *values);

/* The button of a verb, as verbs.h calls it. */
void page_button(struct web_request *r, const char *verb);

/* A form of one verb, with its token and where to go back to, of which nobody need know who asks: a question follows. */
void page_question(struct web_request *r, const char *verb, const char *back);

/* A form of one verb up to its own fields: hidden token, where to go back to, and who acts where that is not known. */
void page_form(struct web_request *r, const char *verb, const char *back);

/* A table's cell with a value of the rows; class: of the style; of: what the column is, for a narrow screen. */
void page_column(struct web_request *r, const char *class, const char *of, const PGresult *rows, int row, int column);

/* A value of the rows, escaped. */
void page_cell(struct web_request *r, const PGresult *rows, int row, int column);

#endif
