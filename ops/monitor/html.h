/*
 * html.h - texts put into a page. Everything from Kafka, PostgreSQL, a vendor or a form goes through html_text or html_bytes; pure.
 */
#ifndef SHELFWIRE_MONITOR_HTML_H
#define SHELFWIRE_MONITOR_HTML_H

#include "common/text.h"

/* Escaped, for an element or a quoted attribute. What is no valid UTF-8, or a control character, is shown as \xNN. */
void html_text(struct text *to, const char *string);
void html_bytes(struct text *to, const char *bytes, size_t len);

/* A query's value: percent-encoded, then fit for an attribute. */
void html_query(struct text *to, const char *string);

/*
 * A line over `count` points, the last at the right, as an SVG of its own; -1: not known, a gap. `label` is for those who cannot see
 * it. The height is that of the most, which it says.
 */
void html_line(struct text *to, const int32_t *points, int count, const char *label);

#endif
