#include "common/kafka/trouble.h"

#include "common/scoped.h"

#include <openssl/x509_vfy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOT_VERIFIED                                                                                             \
    "ssl://127.0.0.1:28336/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker " \
    "certificate could not be verified, verify that ssl.ca.location is correctly configured (after 6ms in state SSL_HANDSHAKE)"
#define NO_CREDENTIALS                                                                                                     \
    "sasl_ssl://127.0.0.1:26973/bootstrap: SASL authentication error: Authentication failed during authentication due to " \
    "invalid credentials with SASL mechanism SCRAM-SHA-512 (after 578ms in state AUTH_REQ)"

enum { OLD = 0x020002ff, NEW = 0x020801ff };

/* librdkafka's words as 2.0.2 says them of Apache Kafka 4.1.1 */
static const struct {
    const char *when, *said;
    int certificate, library;
    bool refused;
    const char *what;
} situations[] = {
    {"expired", NOT_VERIFIED, X509_V_ERR_CERT_HAS_EXPIRED, OLD, true,
     "Kafka's broker 127.0.0.1:28336: its certificate has expired: it must be renewed there, or this computer's clock is wrong"},
    {"another name", NOT_VERIFIED, X509_V_ERR_IP_ADDRESS_MISMATCH, OLD, true,
     "Kafka's broker 127.0.0.1:28336: its certificate is for another name: see KAFKA_BOOTSTRAP_SERVERS, and its advertised.listeners"},
    {"an authority nobody knows", NOT_VERIFIED, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, OLD, true,
     "Kafka's broker 127.0.0.1:28336: its certificate is of an authority we do not know: see KAFKA_SSL_CA_LOCATION"},
    {"something rare", NOT_VERIFIED, X509_V_ERR_CERT_REVOKED, OLD, true,
     "Kafka's broker 127.0.0.1:28336: its certificate is not believed (certificate revoked): see KAFKA_SSL_CA_LOCATION"},
    {"a wrong password", NO_CREDENTIALS, 0, NEW, true,
     "Kafka's broker 127.0.0.1:26973: it refuses user or password: see KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"},
    {"a password, and a library that cannot", NO_CREDENTIALS, 0, OLD, true,
     "Kafka's broker 127.0.0.1:26973: it refuses user or password: see KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD; but SCRAM with "
     "Kafka 4 takes librdkafka 2.6.1, and this is an older one"},
    {"an unknown mechanism",
     "sasl_ssl://k:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported "
     "mechanisms: SCRAM-SHA-512 (after 303ms in state AUTH_HANDSHAKE)", 0, OLD, true,
     "Kafka's broker k:1: it does not take this mechanism: see KAFKA_SASL_MECHANISM"},
    {"no certificate of ours",
     "ssl://k:1/bootstrap: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42 (after 0ms"
     " in state APIVERSION_QUERY)", 0, OLD, true,
     "Kafka's broker k:1: it does not take our certificate: see KAFKA_SSL_CERTIFICATE_LOCATION, KAFKA_SSL_KEY_LOCATION"},
    {"plain to TLS",
     "127.0.0.1:25954/bootstrap: Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol "
     "configuration (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request) (after 2ms in state "
     "APIVERSION_QUERY)", 0, OLD, false,
     "Kafka's broker 127.0.0.1:25954: it hangs up at once, as one that wants TLS: see KAFKA_SECURITY_PROTOCOL"},
    {"plain to TLS that answers in TLS",
     "k:1/1: Receive failed: Invalid response size 352518912 (0..100000000): increase receive.message.max.bytes (after 3ms in state"
     " APIVERSION_QUERY)", 0, OLD, false,
     "Kafka's broker k:1: it hangs up at once, as one that wants TLS: see KAFKA_SECURITY_PROTOCOL"},
    {"no Kafka at all",
     "127.0.0.1:37423/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase receive.message.max.bytes"
     " (after 3ms in state APIVERSION_QUERY)", 0, OLD, false,
     "Kafka's broker 127.0.0.1:37423: what answers there is no Kafka broker: see KAFKA_BOOTSTRAP_SERVERS"},
    {"TLS to plain",
     "ssl://k:1/bootstrap: SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading (after 8ms in state "
     "SSL_HANDSHAKE)", 0, OLD, false,
     "Kafka's broker k:1: it speaks no TLS: see KAFKA_SECURITY_PROTOCOL, KAFKA_BOOTSTRAP_SERVERS"},
    {"no log-in where one is wanted",
     "ssl://k:1/bootstrap: Disconnected: verify that security.protocol is correctly configured, broker might require SASL "
     "authentication (after 1ms in state UP)", 0, OLD, false,
     "Kafka's broker k:1: it hangs up at once, as one that wants SASL: see KAFKA_SECURITY_PROTOCOL"},
    {"no such name", "kafka.invalid:9092/bootstrap: Failed to resolve 'kafka.invalid:9092': Name or service not known (after 1ms in "
                     "state CONNECT)", 0, OLD, false,
     "Kafka's broker kafka.invalid:9092: nobody knows that name: see KAFKA_BOOTSTRAP_SERVERS"},
    {"nobody there", "127.0.0.1:28701/bootstrap: Connect to ipv4#127.0.0.1:28701 failed: Connection refused (after 0ms in state "
                     "CONNECT)", 0, OLD, false,
     "Kafka's broker 127.0.0.1:28701: connection refused: see KAFKA_BOOTSTRAP_SERVERS"},
    {"what we have no words for", "k:9092/3: 2 request(s) timed out: disconnect (after 901ms in state UP)", 0, OLD, false,
     "Kafka's broker k:9092: 2 request(s) timed out: disconnect"},
    {"all are away", "3/3 brokers are down", 0, OLD, false, "Kafka: 3/3 brokers are down"},
    {"nothing", "", 0, OLD, false, "Kafka: "},
    /* of the settings */
    {"the key's password", "ssl.key.location failed: error:0A080009:SSL routines::PEM lib", 0, OLD, true,
     "Kafka: KAFKA_SSL_KEY_LOCATION: there is no such file, no key in it (PEM), or KAFKA_SSL_KEY_PASSWORD is not the key's"},
    {"no authority's file", "ssl.ca.location failed: error:05880002:x509 certificate routines::system lib", 0, OLD, true,
     "Kafka: KAFKA_SSL_CA_LOCATION: there is no such file, or no certificate in it (PEM)"},
    {"no mechanism", "Invalid sasl.kerberos.kinit.cmd value: Property not available: \"sasl.kerberos.keytab\"", 0, OLD, true,
     "Kafka: KAFKA_SASL_MECHANISM must be set: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
    {"no user", "sasl.username and sasl.password must be set", 0, OLD, true,
     "Kafka: KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set"},
};

static void test_situations(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(situations); i++) {
        struct kafka_trouble t = kafka_trouble_read(situations[i].said, situations[i].certificate, situations[i].library);
        if (strcmp(t.what, situations[i].what) != 0 || t.refused != situations[i].refused || !t.kind)
            fail_msg("%s: %d \"%s\"", situations[i].when, t.refused, t.what);
    }
}

static void test_the_same_trouble_elsewhere_is_the_same(void **state)
{
    static const char *const refused[] = {"k1:1/1: Connect failed: Connection refused (after 1ms)", "k2:1/2: Connect failed: Connection refused"};

    (void)state;
    assert_int_equal(kafka_trouble_read(refused[0], 0, OLD).kind, kafka_trouble_read(refused[1], 0, OLD).kind);
    assert_int_not_equal(kafka_trouble_read(NOT_VERIFIED, X509_V_ERR_CERT_HAS_EXPIRED, OLD).kind,
                         kafka_trouble_read(NOT_VERIFIED, X509_V_ERR_IP_ADDRESS_MISMATCH, OLD).kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_situations), cmocka_unit_test(test_the_same_trouble_elsewhere_is_the_same)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
