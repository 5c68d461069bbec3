#include "common/kafka/trouble.h"

#include "common/answer.h"
#include "common/scoped.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#define OUR_CERTIFICATE "it does not take our certificate: see KAFKA_SSL_CERTIFICATE_LOCATION, KAFKA_SSL_KEY_LOCATION"
#define TLS_WANTED "it hangs up at once, as one that wants TLS: see KAFKA_SECURITY_PROTOCOL"
#define NO_TLS "it speaks no TLS: see KAFKA_SECURITY_PROTOCOL, KAFKA_BOOTSTRAP_SERVERS"
#define PASSWORD "it refuses user or password: see KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"
/* librdkafka's issue 4895: it sends its nonce twice, which Kafka 3.9 still let pass */
#define SCRAM_IN_VAIN PASSWORD "; but SCRAM with Kafka 4 takes librdkafka 2.6.1, and this is an older one"

enum { SCRAM_MENDED = 0x020601ff };

/* The first whose words are in what librdkafka says, in this order. */
static const struct {
    const char *said;
    bool refused;
    const char *what; /* NULL: what it says */
} troubles[] = {
    {"credentials with SASL mechanism SCRAM", true, SCRAM_IN_VAIN}, /* this one of an older library only */
    {"invalid credentials", true, PASSWORD},
    {"Unsupported SASL mechanism", true, "it does not take this mechanism: see KAFKA_SASL_MECHANISM"},
    {"SASL authentication error", true, PASSWORD},
    {"alert bad certificate", true, OUR_CERTIFICATE},
    {"alert certificate unknown", true, OUR_CERTIFICATE},
    {"alert certificate expired", true, OUR_CERTIFICATE},
    {"alert unknown ca", true, OUR_CERTIFICATE},
    {"alert certificate required", true, OUR_CERTIFICATE},
    {"connecting to a SSL listener", false, TLS_WANTED},
    {"Invalid response size 3525", false, TLS_WANTED}, /* the first bytes of TLS's alert, read as a length */
    {"Invalid response size", false, "what answers there is no Kafka broker: see KAFKA_BOOTSTRAP_SERVERS"},
    {"might require SASL", false, "it hangs up at once, as one that wants SASL: see KAFKA_SECURITY_PROTOCOL"},
    {"connecting to a PLAINTEXT", false, NO_TLS},
    {"wrong version number", false, NO_TLS},
    {"unexpected eof while reading", false, NO_TLS},
    {"Failed to resolve", false, "nobody knows that name: see KAFKA_BOOTSTRAP_SERVERS"},
    {"Connection refused", false, "connection refused: see KAFKA_BOOTSTRAP_SERVERS"},
    /* what it says before it begins to connect, of the settings alone */
    {"ssl.ca.location", true, "KAFKA_SSL_CA_LOCATION: there is no such file, or no certificate in it (PEM)"},
    {"ssl.certificate.location", true, "KAFKA_SSL_CERTIFICATE_LOCATION: there is no such file, or no certificate in it (PEM)"},
    {"ssl.key.location", true,
     "KAFKA_SSL_KEY_LOCATION: there is no such file, no key in it (PEM), or KAFKA_SSL_KEY_PASSWORD is not the key's"},
    {"Private key check failed", true, "KAFKA_SSL_KEY_LOCATION is not the key of KAFKA_SSL_CERTIFICATE_LOCATION"},
    {"sasl.username and sasl.password", true, "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set"},
    {"sasl.kerberos", true, "KAFKA_SASL_MECHANISM must be set: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
    {"", false, NULL},
};
enum { CERTIFICATE = 1000 }; /* and X509_V_ERR_…: the kinds behind those of the table */

/* "ssl://kafka:9093/bootstrap: …" → "kafka:9093"; false where no broker is named. */
static bool broker_of(const char *said, char *ret, size_t size)
{
    const char *scheme = strstr(said, "://");
    size_t word = strcspn(said, " ");

    if (scheme && scheme < said + word)
        said = scheme + 3;
    word = strcspn(said, " ");
    size_t len = strcspn(said, "/");
    if (!word || said[word - 1] != ':' || len >= word)
        return false;
    snprintf(ret, size, "%.*s", (int)(len < size ? len : size - 1), said);
    return true;
}

static void read_certificate(int why, char *ret, size_t size)
{
    switch (why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(ret, size, "its certificate has expired: it must be renewed there, or this computer's clock is wrong");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(ret, size, "its certificate is for another name: see KAFKA_BOOTSTRAP_SERVERS, and its advertised.listeners");
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        snprintf(ret, size, "its certificate is of an authority we do not know: see KAFKA_SSL_CA_LOCATION");
        break;
    default:
        snprintf(ret, size, "its certificate is not believed (%s): see KAFKA_SSL_CA_LOCATION",
                 why ? X509_verify_cert_error_string(why) : "nobody says why");
        break;
    }
}

/* In its own words, without how long it took, which is another time each time. */
static void quote(const char *said, bool has_broker, char *ret, size_t size)
{
    const char *rest = has_broker ? strstr(said, ": ") : NULL;

    said = rest ? rest + 2 : said;
    const char *state = strstr(said, " (after ");
    answer_quote(ret, size, said, state ? (size_t)(state - said) : strlen(said));
}

struct kafka_trouble kafka_trouble_read(const char *said, int certificate, int library)
{
    char broker[80], words[180];
    bool has_broker = broker_of(said, broker, sizeof broker);
    size_t at = library < SCRAM_MENDED ? 0 : 1;

    while (!strstr(said, troubles[at].said))
        at++;
    struct kafka_trouble t = {.kind = (int)at + 1, .refused = troubles[at].refused};
    if (strstr(said, "certificate verify failed")) {
        t = (struct kafka_trouble){.kind = CERTIFICATE + certificate, .refused = true};
        read_certificate(certificate, words, sizeof words);
    } else if (troubles[at].what) {
        snprintf(words, sizeof words, "%s", troubles[at].what);
    } else {
        quote(said, has_broker, words, sizeof words);
    }
    if (has_broker)
        snprintf(t.what, sizeof t.what, "Kafka's broker %s: %s", broker, words);
    else
        snprintf(t.what, sizeof t.what, "Kafka: %s", words);
    return t;
}
