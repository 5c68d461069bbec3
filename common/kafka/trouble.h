/*
 * trouble.h - what librdkafka says is wrong, in words that name the setting to look at. Pure.
 */
#ifndef SHELFWIRE_KAFKA_TROUBLE_H
#define SHELFWIRE_KAFKA_TROUBLE_H

#include <stdbool.h>

struct kafka_trouble {
    int kind;     /* of which two are the same trouble, whatever the broker's name; 0: none */
    bool refused; /* somebody is there and will not have us, or we not them: a person must mend it */
    char what[220];
};

/*
 * said: librdkafka's words, of which the broker's name is kept: "ssl://kafka:9093/bootstrap: SSL handshake failed: …".
 * certificate: why the broker's certificate was not believed (X509_V_ERR_…), where that is what they are about.
 * library: rd_kafka_version().
 */
struct kafka_trouble kafka_trouble_read(const char *said, int certificate, int library);

#endif
