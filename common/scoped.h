/*
 * scoped.h - a scope releases what it acquired (GNU `cleanup`).
 *
 *     SCOPED(json_object_put) json_object *body = NULL;
 *
 * Set the variable on the line that declares it. To hand a value out, store it and set the local to NULL.
 * A module that wants its own release declares SCOPED_TYPE(type, release) once, in its header.
 */
#ifndef SHELFWIRE_SCOPED_H
#define SHELFWIRE_SCOPED_H

#include <curl/curl.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#define SCOPED(release) __attribute__((cleanup(scoped_##release)))
#define SCOPED_TYPE(type, release) \
    __attribute__((unused)) static inline void scoped_##release(type **p) { if (*p) release(*p); }

SCOPED_TYPE(PGresult, PQclear)
SCOPED_TYPE(struct json_object, json_object_put)
SCOPED_TYPE(FILE, fclose)
SCOPED_TYPE(char, free)
SCOPED_TYPE(CURL, curl_easy_cleanup)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
