/*
 * rows.h - a row of `requests` as its caller is told of it, made by PostgreSQL: JSON, the same in every answer and callback.
 *
 *   request_id, ref, service, action, patron   as they were asked
 *   state        accepted, waiting, asks, done, refused, set_aside
 *   code, words, outcome                       null until there is an answer
 *   waits_for, waits_since                     null unless it waits for the service
 *   accepted_at, answered_at                   instants
 *   timeline     what was tried, oldest first, the last hundred: {"at","stage","call","verdict","code"}
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_ROWS_H
#define SHELFWIRE_PATRON_REQUESTS_ROWS_H

#define ROW_INSTANT(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

#define ROW_TIMELINE                                                                                                           \
    "(SELECT coalesce(json_agg(json_build_object('at', " ROW_INSTANT("a.at") ", 'stage', a.stage, 'call', a.call,"             \
    " 'verdict', a.verdict, 'code', a.code) ORDER BY a.at), '[]') FROM (SELECT * FROM attempts t"                              \
    " WHERE t.subject = r.request_id::text ORDER BY t.at DESC LIMIT 100) AS a)"

/* Of the row `r`. */
#define ROW_JSON                                                                                                               \
    "json_build_object('request_id', r.request_id, 'ref', r.ref, 'service', r.service, 'action', r.action,"                    \
    " 'patron', r.patron, 'state', r.state, 'code', r.code, 'words', r.words, 'outcome', r.outcome,"                           \
    " 'waits_for', r.waits_for, 'waits_since', " ROW_INSTANT("r.waits_since") ","                                              \
    " 'accepted_at', " ROW_INSTANT("r.accepted_at") ", 'answered_at', " ROW_INSTANT("r.answered_at") ","                       \
    " 'timeline', " ROW_TIMELINE ")"

#endif
