"""
TLS and passwords: work flows over them to Kafka, PostgreSQL and the vendor, and each wrong way round is refused with one
line that names the setting.

SCRAM with Kafka 4 takes librdkafka 2.6.1. Debian 12 has an older one, so that scenario runs the programs on the library that
PyPI's confluent-kafka brings: of the version that Debian 13 has.
"""
import contextlib
import glob
import os
import pathlib
import tempfile
import zipfile

import pytest
from certificates import Authority, TlsFront, free_port
from pypi import pip
from shelfwire import BUILD, Servers, wait_for

LIBRARY = "2.8.0"
PLAIN_PASSWORD, SCRAM_PASSWORD, KEY_PASSWORD = "scenario-plain-secret", "scenario-scram-secret", "scenario-key-secret"
TOPIC = "users.resolve"


class Keys:
    """Certificates for everybody: those that are right, and those that are wrong in one way."""

    def __init__(self, folder):
        self.ours, self.other = Authority(folder, "ours"), Authority(folder, "other")
        self.good, self.expired = self.ours.issue("good"), self.ours.issue("expired", days=-1)
        self.elsewhere = self.ours.issue("elsewhere", host="DNS:elsewhere.example.edu")
        self.client = self.ours.issue("client", password=KEY_PASSWORD)
        self.stranger = self.other.issue("stranger")


class SecureServers(Servers):
    """Beside its plain door, Kafka has one that wants our certificate and one that wants a password; PostgreSQL has TLS."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        os.chmod(folder, 0o711)
        self.keys = Keys(folder)
        self.tls_port, self.sasl_port = free_port(), free_port()
        login = "org.apache.kafka.common.security"
        settings = [
            "listeners=PLAINTEXT://127.0.0.1:@PORT@,CONTROLLER://127.0.0.1:@CONTROLLER_PORT@,"
            f"SSL://127.0.0.1:{self.tls_port},SASL_SSL://127.0.0.1:{self.sasl_port}",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
            "ssl.keystore.type=PEM", f"ssl.keystore.location={self.keys.good.both}",
            "ssl.truststore.type=PEM", f"ssl.truststore.location={self.keys.ours.certificate}",
            "listener.name.ssl.ssl.client.auth=required", "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            f"listener.name.sasl_ssl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_shelfwire=\"{PLAIN_PASSWORD}\";",
            f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;"]
        (folder / "servers").mkdir()
        super().__init__(folder / "servers", *(word for s in settings for word in ("--set", s)), lines=0)
        self.kafka.script("tool", "kafka.admin.ConfigCommand", "--alter", "--entity-type", "users", "--entity-name", "shelfwire",
                          "--add-config", f"SCRAM-SHA-512=[password={SCRAM_PASSWORD}]")
        self.certificate(self.keys.good)

    def certificate(self, it):
        self.postgres.script("certificate", str(it.certificate), str(it.key))

    @property
    def plain_port(self):
        return int(self.bootstrap.rsplit(":", 1)[1])

    def kafka_tls(self, **changed):
        return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.tls_port}", "KAFKA_SECURITY_PROTOCOL": "ssl",
                "KAFKA_SSL_CA_LOCATION": self.keys.ours.certificate, "KAFKA_SSL_CERTIFICATE_LOCATION": self.keys.client.certificate,
                "KAFKA_SSL_KEY_LOCATION": self.keys.client.key, "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD, **changed}

    def kafka_login(self, mechanism="PLAIN", password=PLAIN_PASSWORD, **changed):
        return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.sasl_port}", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_SSL_CA_LOCATION": self.keys.ours.certificate, "KAFKA_SASL_MECHANISM": mechanism,
                "KAFKA_SASL_USERNAME": "shelfwire", "KAFKA_SASL_PASSWORD": password, **changed}

    def postgres_tls(self, **changed):
        return {"PGHOST": "127.0.0.1", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": self.keys.ours.certificate, **changed}


@pytest.fixture(scope="module")
def servers():
    with tempfile.TemporaryDirectory(prefix="secure-") as folder:
        it = SecureServers(folder)
        yield it
        it.stop()


@pytest.fixture(autouse=True)
def passwords_are_secret(world):
    world.secrets |= {PLAIN_PASSWORD, SCRAM_PASSWORD, KEY_PASSWORD, "a-wrong-secret"}


@contextlib.contextmanager
def front(certificate, port):
    it = TlsFront(certificate, port)
    try:
        yield it.port
    finally:
        it.stop()


def file_of(folder, name, secret):
    path = folder / name
    path.write_text(secret + "\n")
    return path


def work_flows(world, **settings):
    """users-resolve and prereg-create carry it through, and a worker that starts says nothing of TLS."""
    windows = world.make_windows(60, 20, topic=TOPIC, send=False)
    world.start("users-resolve", **settings)
    world.start("prereg-create", **settings)
    world.send(TOPIC, windows)
    world.await_made(60)
    world.await_no_lag("users-resolve", "prereg-create")
    world.assert_exactly_once()
    world.assert_in_order()


# ---- Kafka ----

def test_kafka_by_certificate(world):
    work_flows(world, **world.servers.kafka_tls(KAFKA_SSL_KEY_PASSWORD=None,
                                                KAFKA_SSL_KEY_PASSWORD_FILE=file_of(world.folder, "key", KEY_PASSWORD)))


def test_kafka_by_password(world):
    work_flows(world, **world.servers.kafka_login(password=None,
                                                  KAFKA_SASL_PASSWORD_FILE=file_of(world.folder, "password", PLAIN_PASSWORD)))


def test_kafkas_password_is_turned_under_a_running_worker(world):
    """The broker wants another one, and is restarted: who comes back with the old one is refused, and waits for the file."""
    servers, new = world.servers, "scenario-turned-secret"
    world.secrets.add(new)
    path = file_of(world.folder, "password", PLAIN_PASSWORD)
    worker = world.start("users-resolve", **servers.kafka_login(password=None, KAFKA_SASL_PASSWORD_FILE=path))

    def turn(old, new):
        properties = servers.folder / "kafka/broker-1/server.properties"
        servers.kafka.kill()
        properties.write_text(properties.read_text().replace(old, new))
        servers.kafka.start()
    try:
        turn(PLAIN_PASSWORD, new)
        wait_for(lambda: "refuses user or password" in worker.get("/readyz").text, lambda: worker.get("/readyz").text + worker.tail(), 60)
        windows = world.make_windows(10, 5, topic=TOPIC)
        file_of(world.folder, "password", new)
        world.await_no_lag("users-resolve", timeout=60)
        assert len(world.sandbox.visitors()) == 5 and len(windows) == len(world.read_topic("prereg.create"))
        worker.stop()
    finally:
        turn(new, PLAIN_PASSWORD)


@pytest.mark.parametrize("arguments", [["--help"], ["--check"]])
def test_whatever_is_asked_a_password_is_not_told(world, arguments):
    """Not even by a librdkafka that tells everything it does: whoever runs a scenario reads its logs for it."""
    it = world.run("users-resolve", *arguments, KAFKA_DEBUG="all", **world.servers.kafka_login())
    assert it.process.returncode == 0, it.log()
    assert not world.read_log(it)


@pytest.fixture(scope="session")
def newer_library():
    """The folder with a librdkafka.so.1 of that version."""
    folder = BUILD.parent / f"librdkafka-{LIBRARY}"
    if not (folder / "librdkafka.so.1").exists():
        pip(folder, "download", "-q", "--no-deps", "--only-binary=:all:", "--dest", folder, f"confluent-kafka=={LIBRARY}")
        (wheel,) = folder.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(folder)
        (library,) = glob.glob(str(folder / "confluent_kafka.libs/librdkafka-*.so.1"))
        os.symlink(library, folder / "librdkafka.so.1")
    return folder


def test_kafka_by_scram(world, newer_library):
    work_flows(world, **world.servers.kafka_login("SCRAM-SHA-512", None, LD_LIBRARY_PATH=newer_library,
                                                  KAFKA_SASL_PASSWORD_FILE=file_of(world.folder, "password", SCRAM_PASSWORD)))


def refused(world, words, status=100, name="users-resolve", **settings):
    """By --check, which says it in a line and ends; and the same line comes of a start, which waits where waiting may help."""
    it = world.run(name, "--check", LOG_LEVEL="info", **settings)
    said = [line for line in it.log().splitlines() if not line.startswith("ok  ")]
    assert it.process.returncode == status and len(said) == 1 and words in said[0], f"{it.process.returncode}: {it.log()}"
    if status == 100:
        it = world.run(name, LOG_LEVEL="info", **settings)
        assert it.process.returncode == 100
    else:
        it = world.begin(name, LOG_LEVEL="info", **settings)
        it.await_log("waiting for it")
        wait_for(lambda: words in it.get("/readyz").text, lambda: it.get("/readyz").text)
        it.stop()
    assert words in it.log(), it.log()


def test_kafka_the_wrong_way_round(world):
    servers, keys = world.servers, world.servers.keys
    tls, login = servers.kafka_tls, servers.kafka_login
    for it, words in ((keys.expired, "its certificate has expired"), (keys.elsewhere, "its certificate is for another name")):
        with front(it, servers.plain_port) as port:
            refused(world, words, **tls(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}"))
    for settings, words in (
            (tls(KAFKA_SSL_CA_LOCATION=keys.other.certificate), "an authority we do not know: see KAFKA_SSL_CA_LOCATION"),
            (tls(KAFKA_SSL_CA_LOCATION="/nowhere/ca.pem"), "KAFKA_SSL_CA_LOCATION: there is no such file"),
            (tls(KAFKA_SSL_KEY_PASSWORD="a-wrong-secret"), "KAFKA_SSL_KEY_PASSWORD is not the key's"),
            (tls(KAFKA_SSL_CERTIFICATE_LOCATION=None, KAFKA_SSL_KEY_LOCATION=None), "it does not take our certificate: see KAFKA_SSL_C"),
            (tls(KAFKA_SSL_CERTIFICATE_LOCATION=keys.stranger.certificate, KAFKA_SSL_KEY_LOCATION=keys.stranger.key),
             "it does not take our certificate: see KAFKA_SSL_C"),
            (login(password="a-wrong-secret"), "refuses user or password: see KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
            (login("SCRAM-SHA-512", "a-wrong-secret"), "refuses user or password: see KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
            (login("SCRAM-SHA-256", SCRAM_PASSWORD), "does not take this mechanism: see KAFKA_SASL_MECHANISM"),
            (login(None), "KAFKA_SASL_MECHANISM must be set"),
            (login(KAFKA_SASL_USERNAME=None), "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD must be set")):
        refused(world, words, **settings)
    for settings, words in (
            ({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{servers.tls_port}"}, "one that wants TLS: see KAFKA_SECURITY_PROTOCOL"),
            (tls(KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap), "speaks no TLS: see KAFKA_SECURITY_PROTOCOL"),
            (tls(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{servers.sasl_port}"), "one that wants SASL: see KAFKA_SECURITY_PROTOCOL"),
            ({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}, "connection refused: see KAFKA_BOOTSTRAP_SERVERS")):
        refused(world, words, 111, **settings)
    refused(world, "refuses user or password", name="libcal-bookings", **login(password="a-wrong-secret"))


def test_scram_from_a_library_that_cannot_says_so(world):
    """The line changes where Debian's library does: then that scenario needs no other."""
    it = world.run("users-resolve", "--check", LOG_LEVEL="info", **world.servers.kafka_login("SCRAM-SHA-512", SCRAM_PASSWORD))
    assert it.process.returncode == 0 or "SCRAM with Kafka 4 takes librdkafka 2.6.1" in it.log(), it.log()


def kafka_certificate(servers, before, after):
    file = servers.folder / "kafka/broker-1/server.properties"
    file.write_text(file.read_text().replace(str(before.both), str(after.both)))
    servers.kafka.script("restart-broker", "1")


@pytest.mark.slow
def test_a_certificate_that_expires_later_is_waited_for(world):
    """The worker says so, once, and goes on when the broker has another."""
    keys, settings = world.servers.keys, world.servers.kafka_login()
    windows = world.make_windows(40, 20, topic="prereg.create", send=False)
    worker = world.start("prereg-create", LOG_LEVEL="info", **settings)
    world.send("prereg.create", windows[:20])
    world.await_made(20)
    kafka_certificate(world.servers, keys.good, keys.expired)
    try:
        worker.await_log("its certificate has expired")
        wait_for(lambda: "its certificate has expired" in worker.get("/readyz").text, lambda: worker.get("/readyz").text)
        assert worker.get("/healthz").status_code == 200
    finally:
        kafka_certificate(world.servers, keys.expired, keys.good)
    world.send("prereg.create", windows[20:])
    world.await_made(40)
    assert "certificate" not in worker.get("/readyz").text
    assert worker.log().count("its certificate has expired") == 1, worker.log()
    world.assert_exactly_once()


# ---- PostgreSQL ----

def test_postgresql_by_tls(world):
    work_flows(world, **world.servers.postgres_tls())
    encrypted = world.db.rows("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = %s"
                              " AND application_name <> 'scenario'", world.db.name)
    assert encrypted == [(True,)]


def test_postgresql_the_wrong_way_round(world):
    servers, keys = world.servers, world.servers.keys
    tls = servers.postgres_tls
    try:
        for it, words in ((keys.expired, "its certificate has expired, or is of an authority that PGSSLROOTCERT does not hold"),
                          (keys.elsewhere, "its certificate is for another name: see PGHOST")):
            servers.certificate(it)
            for name in ("users-resolve", "libcal-bookings"):
                refused(world, words, name=name, **tls())
    finally:
        servers.certificate(keys.good)
    for settings, words in ((tls(PGSSLROOTCERT=keys.other.certificate), "an authority that PGSSLROOTCERT does not hold"),
                            (tls(PGSSLROOTCERT="/nowhere/ca.pem"), "see PGSSLROOTCERT, PGSSLMODE"),
                            (tls(PGPASSWORD="a-wrong-secret"), "PostgreSQL refuses us"),
                            (tls(PGSSLMODE="verify-all"), "invalid sslmode value")):
        refused(world, words, **settings)
    refused(world, "PostgreSQL is not there", 111, **tls(PGPORT=str(free_port())))


# ---- a vendor ----

def sandbox_port(world):
    return int(world.sandbox.url.rsplit(":", 1)[1])


def gate(port, authority, scheme="https"):
    return {"PASSAGEPOINT_URL": f"{scheme}://127.0.0.1:{port}", "VENDOR_CA_FILE": authority and authority.certificate}


def test_a_vendor_with_an_authority_of_its_own(world):
    keys = world.servers.keys
    with front(keys.good, sandbox_port(world)) as port:
        work_flows(world, **gate(port, keys.ours))


def test_a_vendor_the_wrong_way_round(world):
    keys, plain = world.servers.keys, sandbox_port(world)
    with front(keys.expired, plain) as expired, front(keys.elsewhere, plain) as elsewhere, front(keys.good, plain) as good:
        for settings, words in ((gate(expired, keys.ours), "certificate has expired; it must be renewed there"),
                                (gate(elsewhere, keys.ours), "see the URL's host"),
                                (gate(good, keys.other), "See VENDOR_CA_FILE"),
                                (gate(good, None), "See VENDOR_CA_FILE"),
                                (gate(plain, keys.ours), "speaks no TLS: see the URL"),
                                (gate(good, keys.ours, "http"), "does it want https? See the URL")):
            it = world.run("users-resolve", "--check", LOG_LEVEL="info", **settings)
            assert it.process.returncode == 111 and words in it.log(), f"{words}: {it.log()}"
            it = world.begin("users-resolve", LOG_LEVEL="info", **settings)
            it.await_log(words)
            assert words in it.get("/readyz").text and it.get("/healthz").status_code == 200
            it.stop()
    for path in (keys.good.key, "/nowhere/ca.pem"):
        it = world.run("users-resolve", VENDOR_CA_FILE=path)
        assert it.process.returncode == 100 and "VENDOR_CA_FILE" in it.log()
