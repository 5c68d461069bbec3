/*
 * memory.h - a program whose memory is out says so and ends: nobody has to ask whether an allocation came to something.
 *
 * malloc, calloc and realloc of a program are memory.c's, for itself and for its libraries, and return only with memory. When
 * there is none, the program writes "NAME: out of memory" and ends at once with 111, as if it were killed: what is in Kafka is
 * still there, and what was begun at a vendor has its intent in PostgreSQL.
 *
 * That is for the sake of the libraries. json-c 0.16 cuts a string that cannot grow and goes on, or makes null of what cannot be
 * made; libpq loses the result of a statement that was carried out; librdkafka aborts. So the outcome of work would be written
 * wrong, or a message set aside that has nothing wrong with it. What a vendor or a message may take is bounded where it is
 * read (text.h, http.h, MESSAGE_MAX), so that none of them can bring this about alone.
 *
 * Builds with a sanitizer have its allocator, which ends the program by itself.
 */
#ifndef SHELFWIRE_MEMORY_H
#define SHELFWIRE_MEMORY_H

_Noreturn void out_of_memory(void);

#endif
