"""Bad settings: one line that names it, exit 100, and nothing half done. --check says it before anything runs."""
import json
import subprocess

import pytest
from shelfwire import BUILD, STAGES

ABSENT = None  # the setting is not there at all


def run(world, name, *arguments, **changed):
    env = world.env(name, **{"METRICS_PORT": "-1", "LOG_LEVEL": "info", **changed})
    try:
        return subprocess.run([BUILD / name, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=25, cwd=world.folder)
    except subprocess.TimeoutExpired as e:
        return subprocess.CompletedProcess(e.args, "still running", "", (e.stderr or b"").decode())


def own_line(name, done):
    """What it says to whoever started it, beside log lines."""
    return [line for line in done.stderr.splitlines() if line.startswith(f"{name}: ")]


def misuse(world, name, cases, code=100):
    """cases: (what the line must say, settings[, a text that it must not say])"""
    wrong = []
    for word, changed, *never in cases:
        done = run(world, name, **changed)
        lines = own_line(name, done)
        shown = {k: "(absent)" if v is ABSENT else v for k, v in changed.items()}
        if done.returncode != code or len(lines) != 1 or word not in lines[0] or len(done.stderr.splitlines()) > 3:
            wrong.append(f"{shown}: exit {done.returncode}, says {done.stderr[:300]!r}")
        if any(n in done.stderr + done.stdout for n in never):
            wrong.append(f"{shown}: the line holds a secret: {done.stderr!r}")
    assert not wrong, f"{name}\n" + "\n".join(wrong)
    assert world.topics() == set(), "topics were made"
    for vendor in ("alma", "passagepoint"):
        assert not any(c["requests"] for c in world.sandbox.counts(vendor)["calls"].values()), f"{vendor} was called"


REQUIRED = {"bookings-new": ["ALMA_URL", "ALMA_API_KEYS"],
            "users-resolve": ["PASSAGEPOINT_URL", "PASSAGEPOINT_USERNAME", "PASSAGEPOINT_PASSWORD", "PASSAGEPOINT_CATEGORIES"],
            "prereg-create": ["PASSAGEPOINT_URL", "PASSAGEPOINT_USERNAME", "PASSAGEPOINT_PASSWORD"]}

OWN = {
    "bookings-new": [
        ("ALMA_URL", {"ALMA_URL": "alma.example.edu"}), ("ALMA_URL", {"ALMA_URL": "ftp://alma.example.edu"}),
        ("ALMA_URL", {"ALMA_URL": "https://me:hidden-word@alma.example.edu"}, "hidden-word"),
        ("ALMA_API_KEYS", {"ALMA_API_KEYS": "hidden-word,,other"}, "hidden-word"),
        ("ALMA_CALLS_PER_SECOND", {"ALMA_CALLS_PER_SECOND": "fast"}), ("ALMA_CALLS_PER_SECOND", {"ALMA_CALLS_PER_SECOND": "0"}),
        ("ALMA_CALLS_PER_SECOND", {"ALMA_CALLS_PER_SECOND": "nan"}), ("ALMA_CALLS_LEFT_MIN", {"ALMA_CALLS_LEFT_MIN": "-1"}),
        ("ALMA_TIMEOUT_MS", {"ALMA_TIMEOUT_MS": "20s"}), ("ALMA_ON_EMAIL", {"ALMA_ON_EMAIL": "refused"}),
        ("ALMA_ON_EXPIRED", {"ALMA_ON_EXPIRED": "FLAG"}), ("ALMA_RECHECK_MINUTES", {"ALMA_RECHECK_MINUTES": "0"}),
        ("ALMA_API_KEYS", {"ALMA_API_KEYS": ",".join(f"key{i}" for i in range(17))}),
    ],
    "users-resolve": [
        ("PASSAGEPOINT_CATEGORIES", {"PASSAGEPOINT_CATEGORIES": "UGRD=Student"}),
        ("PASSAGEPOINT_CATEGORIES", {"PASSAGEPOINT_CATEGORIES": '["Student"]'}),
        ("PASSAGEPOINT_CATEGORIES", {"PASSAGEPOINT_CATEGORIES": '{"UGRD": 1}'}),
        ("PASSAGEPOINT_CATEGORIES", {"PASSAGEPOINT_CATEGORIES": '{"UGRD": ""}'}),
        ("PASSAGEPOINT_URL", {"PASSAGEPOINT_URL": "https://"}), ("PASSAGEPOINT_TIMEOUT_MS", {"PASSAGEPOINT_TIMEOUT_MS": "1"}),
        ("PASSAGEPOINT_CALLS_PER_SECOND", {"PASSAGEPOINT_CALLS_PER_SECOND": "-5"}),
    ],
    "prereg-create": [
        ("PASSAGEPOINT_ON_UNKNOWN", {"PASSAGEPOINT_ON_UNKNOWN": "guess"}), ("PASSAGEPOINT_ON_500", {"PASSAGEPOINT_ON_500": "yes"}),
        ("PASSAGEPOINT_PREREG_TIMEOUT_MS", {"PASSAGEPOINT_PREREG_TIMEOUT_MS": "0"}),
        ("PASSAGEPOINT_DESTINATIONS", {"PASSAGEPOINT_DESTINATIONS": "Gelman"}),
    ],
}


@pytest.mark.parametrize("name", STAGES)
def test_a_setting_that_is_missing_is_named(world, name):
    misuse(world, name, [(s, {s: ABSENT}) for s in [*REQUIRED[name], "KAFKA_BOOTSTRAP_SERVERS"]]
           + [(s, {s: ""}) for s in REQUIRED[name]])


@pytest.mark.parametrize("name", STAGES)
def test_a_setting_that_is_malformed_or_contradicts_another_is_named(world, name):
    secret = world.folder / "secret"
    secret.write_text("hidden-word\n")
    empty = world.folder / "empty"
    empty.write_text("\n")
    ours = REQUIRED[name][-1]
    misuse(world, name, OWN[name] + [
        ("CONCURRENCY", {"CONCURRENCY": "0"}), ("CONCURRENCY", {"CONCURRENCY": "ten"}), ("CONCURRENCY", {"CONCURRENCY": "5001"}),
        ("CONCURRENCY", {"CONCURRENCY": "4 "}), ("RETRY_MS_MAX", {"RETRY_MS_MIN": "500", "RETRY_MS_MAX": "100"}),
        ("TRIES_MAX", {"TRIES_MAX": "0"}), ("DRAIN_SECONDS", {"DRAIN_SECONDS": "soon"}), ("LOG_LEVEL", {"LOG_LEVEL": "loud"}),
        ("LOG_FORMAT", {"LOG_FORMAT": "xml"}), ("METRICS_PORT", {"METRICS_PORT": "99999"}),
        ("METRICS_ADDRESS", {"METRICS_PORT": "0", "METRICS_ADDRESS": "localhost"}), ("TOPIC_PARTITIONS", {"TOPIC_PARTITIONS": "0"}),
        ("TOPIC_REPLICAS", {"TOPIC_REPLICAS": "x"}), (ours, {ours + "_FILE": secret}, "hidden-word"),
        (ours + "_FILE", {ours: ABSENT, ours + "_FILE": "/nowhere/at/all"}),
        (ours + "_FILE", {ours: ABSENT, ours + "_FILE": empty}),
        ("CONCURRENCY", {"CONCURRENCY": "4", "CONCURRENCY_FILE": secret}),
        ("PGPASSWORD", {"PGPASSWORD_FILE": secret}, "hidden-word"),
    ])


@pytest.mark.parametrize("name", STAGES)
def test_kafka_settings_that_would_break_a_promise_are_refused(world, name):
    refused = ["GROUP_ID", "PARTITION_ASSIGNMENT_STRATEGY", "ENABLE_AUTO_COMMIT", "ENABLE_AUTO_OFFSET_STORE", "AUTO_OFFSET_RESET",
               "PARTITIONER", "ACKS", "REQUEST_REQUIRED_ACKS", "ENABLE_IDEMPOTENCE", "TRANSACTIONAL_ID", "MESSAGE_TIMEOUT_MS",
               "DELIVERY_TIMEOUT_MS", "RETRIES"]
    misuse(world, name, [(f"KAFKA_{r}", {f"KAFKA_{r}": "1"}) for r in refused] + [
        ("KAFKA_NO_SUCH_THING", {"KAFKA_NO_SUCH_THING": "1"}), ("KAFKA_SESSION_TIMEOUT_MS", {"KAFKA_SESSION_TIMEOUT_MS": "soon"}),
        ("KAFKA_SECURITY_PROTOCOL", {"KAFKA_SECURITY_PROTOCOL": "none"}),
        ("KAFKA_SSL_KEY_PASSWORD", {"KAFKA_SSL_KEY_PASSWORD": "hidden-word", "KAFKA_SSL_KEY_PASSWORD_FILE": "/dev/null"}, "hidden-word"),
    ])


@pytest.mark.parametrize("name", STAGES)
def test_a_database_that_refuses_or_is_not_of_this_version_is_named(world, name):
    world.secrets.add("hidden-word")
    misuse(world, name, [
        ("PGPASSWORD", {"PGHOST": "127.0.0.1", "PGPASSWORD": "hidden-word"}, "hidden-word"),
        ("nobody_of_ours", {"PGHOST": "127.0.0.1", "PGUSER": "nobody_of_ours"}),
        ("no_such_database", {"PGDATABASE": "no_such_database"}),
        ("migrate", {"PGDATABASE": world.servers.postgres.env["PGDATABASE"]}),
    ])
    newest = world.db.one("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations) RETURNING version")
    misuse(world, name, [(f"is version {newest - 1}, this program needs {newest}: run `migrate`", {})])
    world.db.rows("INSERT INTO schema_migrations (version, name, sha256, took_ms) VALUES (%s, 'x', 'x', 0), (%s, 'y', 'y', 0)",
                  newest, newest + 1)
    misuse(world, name, [("upgrade the program", {})])


@pytest.mark.parametrize("name", STAGES)
def test_an_argument_nobody_knows_is_misuse_and_help_names_every_setting(world, name):
    for wrong in (["--chek"], ["--once"], ["more"]):
        done = run(world, name, *wrong)
        assert done.returncode == 100 and wrong[0] in own_line(name, done)[0]
    done = run(world, name, "--help")
    assert done.returncode == 0 and not done.stderr
    for setting in [*REQUIRED[name], "KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "CONCURRENCY", "METRICS_PORT", "LOG_FORMAT",
                    "LOG_LEVEL", *(s for _, changed, *_ in OWN[name] for s in changed)]:
        assert f"  {setting}  " in done.stdout or f"  {setting}\n" in done.stdout, setting
    assert run(world, name, "--version").stdout.startswith(f"{name} ")


@pytest.mark.parametrize("name", STAGES)
def test_topics_that_cannot_be_made_are_named(world, name):
    done = run(world, name, TOPIC_REPLICAS=3)
    assert done.returncode == 100 and "TOPIC_REPLICAS" in own_line(name, done)[0], done.stderr
    assert world.topics() == set()


@pytest.mark.parametrize("name", STAGES)
def test_secrets_may_come_from_files(world, name):
    world.sandbox.settings(passagepoint={"destinations": ["LibCal Gelman"]})
    changed = {}
    for setting in [*REQUIRED[name], "PGPASSWORD", "KAFKA_BOOTSTRAP_SERVERS"]:
        path = world.folder / setting
        path.write_text(world.env(name)[setting] + "\n")
        changed.update({setting: ABSENT, setting + "_FILE": path})
    done = run(world, name, "--check", PGHOST="127.0.0.1", **changed)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- --check ----

def check(world, name, **changed):
    done = run(world, name, "--check", **changed)
    assert world.topics() == set(), "--check makes nothing"
    assert world.sandbox.visitors() == [] and world.sandbox.preregs() == []
    return done


@pytest.mark.parametrize("name", STAGES)
def test_check_passes_when_all_is_right(world, name):
    world.sandbox.settings(passagepoint={"destinations": ["LibCal Gelman"]})
    done = check(world, name)
    assert done.returncode == 0 and f"ok  {name} is ready to run" in done.stdout, done.stdout + done.stderr
    assert all(line.startswith("ok  ") for line in done.stdout.splitlines())


def test_check_names_the_key_that_alma_refuses(world):
    world.sandbox.settings(alma={"keys": {"key-of-zone-one": "1"}})
    done = check(world, "bookings-new", ALMA_API_KEYS="key-of-zone-one,wrong-key")
    assert done.returncode == 100 and "key 2 of ALMA_API_KEYS" in own_line("bookings-new", done)[0]
    assert "wrong-key" not in done.stderr + done.stdout


@pytest.mark.parametrize("name", ["users-resolve", "prereg-create"])
def test_check_names_the_password_that_the_gate_refuses(world, name):
    done = check(world, name, PASSAGEPOINT_PASSWORD="hidden-word")
    assert done.returncode == 100 and "PASSAGEPOINT_PASSWORD" in own_line(name, done)[0]
    assert "hidden-word" not in done.stderr + done.stdout


def test_check_names_the_destination_that_the_gate_has_not(world):
    world.sandbox.settings(passagepoint={"destinations": ["LibCal Gelman", "Eckles"]})
    assert check(world, "prereg-create").returncode == 0
    done = check(world, "prereg-create", PASSAGEPOINT_DESTINATIONS=json.dumps({"1": "Eckles", "2": "Gelmann"}))
    assert done.returncode == 100
    assert "PASSAGEPOINT_DESTINATIONS" in own_line("prereg-create", done)[0] and "Gelmann" in own_line("prereg-create", done)[0]
    world.sandbox.settings(passagepoint={"destinations_404": True})
    done = check(world, "prereg-create")
    assert done.returncode == 0 and "not checked" in done.stdout, "whether it can be asked is not known"


@pytest.mark.parametrize("name", STAGES)
def test_check_says_what_does_not_answer(world, name):
    vendor, url = ("alma", "ALMA_URL") if name == "bookings-new" else ("passagepoint", "PASSAGEPOINT_URL")
    world.sandbox.vendor(vendor, down=True)
    done = check(world, name)
    assert done.returncode == 111 and url in own_line(name, done)[0], done.stderr
    world.sandbox.vendor(vendor, down=False)
    done = check(world, name, PGHOST="127.0.0.1", PGPORT="1")
    assert done.returncode == 111 and "PGPORT" in own_line(name, done)[0], done.stderr


def test_check_says_that_kafka_does_not_answer(world):
    name = "prereg-create"
    done = check(world, name, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 111 and "KAFKA_BOOTSTRAP_SERVERS" in own_line(name, done)[0], done.stderr
