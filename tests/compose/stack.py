#!/usr/bin/python3
"""
stack.py CHECKOUT FOLDER [--keep] - what tests/compose.sh starts once there are an engine and images.

The try-out of docker-compose.yml, untouched: without a .env, from nothing. Then its sandbox of vendors is given much to do,
prereg-create is scaled 1 → 4 → 2, containers crash, Kafka and PostgreSQL crash and are restarted; and in the end every booking
is compared with what the gate was made to do. FOLDER is for what Compose reads besides.
"""
import collections
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import requests

ROOT, WORK = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
KEEP = "--keep" in sys.argv
BEGAN = time.monotonic()
booked = 0
PROJECT = "shelfwire-test"
OF_PROJECT = ("--filter", f"label=com.docker.compose.project={PROJECT}")
LOAD, PEOPLE = 300, 50  # bookings and who makes them, each time
TOMORROW = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT00:00:00+00:00")


def say(what):
    print(f"{time.monotonic() - BEGAN:6.1f} s  {what}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


PORTS = {name: free_port() for name in ("SANDBOX_PORT", "MONITOR_PORT", "REQUESTS_PORT", "PROMETHEUS_PORT")}
# nobody's own settings: neither those of the shell, nor a .env
ENV = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ} | PORTS
(WORK / "no.env").touch()


def run(*command, ok=True, timeout=240):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=ENV,
                          cwd=ROOT, timeout=timeout)
    if ok and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done


def docker(*words, **how):
    return run("docker", *words, **how).stdout.strip()


class Compose:
    """One of the two commands there are."""

    def __init__(self, *command):
        self.command = [*command, "--project-name", PROJECT, "--env-file", str(WORK / "no.env")]
        self.version = run(*command, "version", "--short").stdout.strip()

    def __call__(self, *words, profiles=("sandbox",), **how):
        return run(*self.command, *(w for p in profiles for w in ("--profile", p)), *words, **how).stdout

    def up(self, *words, **how):
        """One service that is named, or all of which there is a program."""
        left_out = [w for s in MISSING for w in ("--scale", f"{s}=0")]
        return self("up", "-d", "--no-build", *(words or left_out), **how)


def v2():
    """Debian 13's, which reaches the engine and the checkout and nothing else."""
    ports = [word for name, port in PORTS.items() for word in ("-e", f"{name}={port}")]
    return Compose("docker", "run", "--rm", "--network", "none", "-v", f"{ENV['DOCKER_HOST'][7:]}:/var/run/docker.sock",
                   "-v", f"{ROOT}:{ROOT}:ro", "-v", f"{WORK}/no.env:{WORK}/no.env:ro", "-w", str(ROOT), *ports, "compose-v2")


def wait_for(true, what, timeout=90):
    deadline = time.monotonic() + timeout
    while True:
        try:
            if true():
                return
            last = ""
        except (requests.ConnectionError, requests.Timeout, AssertionError, IndexError, subprocess.TimeoutExpired) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what() if callable(what) else what} {last}")
        time.sleep(0.3)


# ---- what is there ----

def containers(service, all=False):
    """Their ids, oldest first."""
    found = docker("ps", *(["-a"] if all else []), "-q", "--no-trunc", *OF_PROJECT,
                   "--filter", f"label=com.docker.compose.service={service}").split()
    return sorted(found, key=lambda c: inspect(c)["Created"])


def inspect(container):
    return json.loads(docker("inspect", container))[0]


def health(service):
    return [inspect(c)["State"]["Health"]["Status"] for c in containers(service)]


def metrics(container):
    (network,) = inspect(container)["NetworkSettings"]["Networks"].values()
    return requests.get(f"http://{network['IPAddress']}:9464/metrics", timeout=5).text


def shares():
    """The partitions that each prereg-create has."""
    partition = re.compile(r'kafka_consumergroup_lag\{[^}]*partition="([0-9]+)"')
    return [set(partition.findall(metrics(c))) for c in containers("prereg-create")]


def shared_by(count):
    have = shares()
    return len(have) == count and all(have) and sum(map(len, have)) == 12 == len(set().union(*have))


def crash(container):
    """As the kernel ends who takes too much memory: Docker starts it again, which it does not do after `docker kill`."""
    was = inspect(container)
    os.kill(was["State"]["Pid"], signal.SIGKILL)
    wait_for(lambda: inspect(container)["State"]["Running"] and inspect(container)["State"]["Pid"] != was["State"]["Pid"],
             f"{was['Name']} to be started again")
    assert inspect(container)["RestartCount"] > was["RestartCount"]


def sql(statement):
    return docker("exec", containers("postgres")[0], "psql", "-U", "postgres", "-d", "shelfwire", "-qtAX", "-c", statement)


def vendors(method, path, body=None):
    answer = requests.request(method, f"http://127.0.0.1:{PORTS['SANDBOX_PORT']}/admin/{path}", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def preregs():
    return vendors("GET", "effects?vendor=passagepoint&kind=preregs&limit=1000000")["preregs"]


def made():
    return int(vendors("GET", "counts")["passagepoint"]["calls"]["createPreReg"]["effects"])


# ---- the steps ----

def shut_in():
    """As the kernel sees it: who each is, and what it may."""
    for container in docker("ps", "-q", *OF_PROJECT).split():
        it = inspect(container)
        service = it["Config"]["Labels"]["com.docker.compose.service"]
        status = pathlib.Path(f"/proc/{it['State']['Pid']}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        uid = said["Uid"].split()[0]
        assert uid != "0" and (uid == "10001" or not it["Config"]["Image"].startswith("shelfwire")), f"{service} runs as {uid}"
        assert int(said["CapEff"], 16) == int(said["CapPrm"], 16) == 0, f"{service} may {said['CapEff']}"
        assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2", service
        assert it["HostConfig"]["ReadonlyRootfs"] or service == "kafka"
        assert it["HostConfig"]["Memory"] and not it["HostConfig"]["Privileged"], service
        for ports in it["NetworkSettings"]["Ports"].values():
            assert all(port["HostIp"] == "127.0.0.1" for port in ports or []), f"{service} is published to everybody"
        if it["Config"]["Image"].startswith("shelfwire"):
            refused = run("docker", "exec", container, "sh", "-c", "true", ok=False)
            assert refused.returncode, f"{service} has a shell"
    say("nobody is root, has a capability, can get one, or writes into its image; ports are this machine's alone")


def asks_itself():
    """The health check hears a program that is stuck."""
    (container,) = containers("users-resolve")
    ask = lambda: run("docker", "exec", container, "/proc/1/exe", "--healthz", ok=False)
    assert ask().returncode == 0
    pid = inspect(container)["State"]["Pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        stuck = ask()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stuck.returncode == 111 and "timed out" in stuck.stdout + stuck.stderr, stuck
    wait_for(lambda: ask().returncode == 0, "users-resolve to be well again")
    say("--healthz tells who is well from who is stuck")


def patrons(compose):
    """A caller at the published port; what it asks reaches FOLIO."""
    said = docker("exec", containers("patron-requests")[0], "patron-requests", "--add-caller", "discovery")
    head = {"Authorization": "Bearer " + re.search(r"[A-Za-z0-9_.-]{30,}", said)[0]}
    door = f"http://127.0.0.1:{PORTS['REQUESTS_PORT']}/requests"
    wanted = {"ref": "1", "service": "folio", "action": "hold_item", "patron": "10000000-0000-4000-8000-000000000001",
              "item": "20000000-0000-4000-8000-000000000001", "pickup": "30000000-0000-4000-8000-000000000001"}
    look = lambda ref: requests.get(door, params={"ref": ref}, headers=head, timeout=5)
    wait_for(lambda: look("none").status_code == 404, "patron-requests to be ready")
    answer = requests.post(door, json=wanted, headers=head, timeout=30)
    assert answer.status_code == 202, answer.text
    wait_for(lambda: look("1").json()["state"] == "done", lambda: "a hold at FOLIO: " + look("1").text)
    say("a hold asked for at the published port is made at FOLIO")


def page():
    """The operator's page at the published port: for who knows the password, and nobody is missed."""
    url = f"http://127.0.0.1:{PORTS['MONITOR_PORT']}/"
    assert requests.get(url, timeout=5).status_code == 401
    look = lambda: requests.get(url, auth=("test", "sandbox-monitor"), timeout=5)
    wait_for(lambda: look().status_code == 200 and all(w in look().text for w in ("prereg.create", "catalog.delta")),
             "monitor to show what flows")
    wait_for(lambda: "nobody answers at" not in look().text, "monitor to find every program")
    say("monitor shows what flows to who has the password")


def catalog():
    titles = lambda: sql("SELECT count(*) FROM titles WHERE owned")
    wait_for(lambda: titles() == "300", lambda: "300 titles: " + titles())
    say("OneClick's 300 titles were imported")


def observed(compose):
    compose.up("--no-recreate", "prometheus", profiles=("sandbox", "observability"))
    api = f"http://127.0.0.1:{PORTS['PROMETHEUS_PORT']}/api/v1/"
    get = lambda what: requests.get(api + what, timeout=5).json()["data"]
    up = lambda: collections.Counter(t["labels"]["job"] for t in get("targets")["activeTargets"] if t["health"] == "up")
    watched = {s: len(containers(s)) for s in SERVICES}
    wait_for(lambda: all(up()[s] == n for s, n in watched.items()), lambda: f"Prometheus to see {watched}: {up()}")
    rules = {rule["name"] for group in get("rules")["groups"] for rule in group["rules"]}
    files = [file.read_text() for file in (ROOT / "ops/prometheus").glob("*.rules.yml")]
    assert rules == {name for file in files for name in re.findall(r"- alert: (\w+)", file)}
    docker("rm", "-fv", *containers("prometheus"))
    say(f"Prometheus sees every worker, and has {len(rules)} alerts")


def scale(compose, count):
    compose.up("--no-recreate", "--scale", f"prereg-create={count}", "prereg-create")
    wait_for(lambda: shared_by(count), lambda: f"{count} of prereg-create to share the partitions: {shares()}", 120)
    say(f"prereg-create runs {count} times; partitions of each: {sorted(len(s) for s in shares())}; made so far: {made()}")


def after(more):
    """Books a load, and waits until the gate has been made to do so much more: whatever comes next meets work under way."""
    global booked
    target = made() + more
    vendors("POST", "libcal/generate", {"count": LOAD, "first": booked + 1, "people": PEOPLE, "from": 5001 + booked, "slots": 24,
                                        "start": TOMORROW, "prefix": "load_"})
    booked += LOAD
    wait_for(lambda: made() >= target, lambda: f"{target} at the gate, there are {made()}: " + state(), 150)


def state():
    return sql("SELECT coalesce(answer, 'none') || ' ' || count(*) FROM appts GROUP BY answer").replace("\n", ", ")


def under_load(compose):
    vendors("POST", "settings", {"passagepoint": {"latency_ms": 150}, "alma": {"latency_ms": 50}})
    after(50)
    scale(compose, 4)
    after(50)
    for service in ("prereg-create", "bookings-new", "users-resolve", "libcal-bookings"):
        crash(containers(service)[0])
    say("one of prereg-create, bookings-new, users-resolve and libcal-bookings each was killed, and is back")
    after(100)
    crash(containers("postgres")[0])
    say("PostgreSQL was killed, and is back")
    after(100)
    crash(containers("kafka")[0])
    say("Kafka was killed, and is back")
    after(100)
    crash(containers("prereg-create")[1])
    scale(compose, 2)
    after(100)
    compose("restart", "kafka", "postgres")
    say("Kafka and PostgreSQL were restarted")
    after(50)


def settle():
    """What is in doubt since somebody was killed in the midst of a call, a person decides who looks at the gate."""
    vendors("POST", "settings", {"libcal": {"booking_every_seconds": 0}, "passagepoint": {"latency_ms": 20}})
    doubts = 0

    def done():
        nonlocal doubts
        there = {(p["visitorId"], p["destination"], int(p["startTime"]), int(p["endTime"])): str(p["id"]) for p in preregs()}
        for row in sql("SELECT appt_id, visitor_id, destination, extract(epoch FROM starts_at)::bigint,"
                       " extract(epoch FROM ends_at)::bigint FROM appts WHERE answer = 'unknown'").splitlines():
            appt, visitor, destination, start, end = row.split("|")
            found = there.get((visitor, destination, int(start), int(end)))
            sql(f"SELECT appt_made('{appt}', '{found}', 'test')" if found else f"SELECT appt_not_made('{appt}', 'test')")
            doubts += 1
        return not missing() and sql("SELECT count(*) FROM appts WHERE coalesce(answer, '') NOT IN ('made', 'no_card')") == "0"

    wait_for(done, lambda: "every window to be answered: " + state(), 180)
    return doubts


def wanted():
    """(card, destination, start, end) of every booking that stands in the vendors' books."""
    epoch = lambda text: int(datetime.datetime.fromisoformat(text).timestamp())
    card = lambda who: "2282" + "%010d" % int(who[1:])
    libcal = [(card(r["q12505"]), "LibCal Gelman", epoch(r["fromDate"]), epoch(r["toDate"]))
              for r in vendors("GET", "libcal/bookings") if r["q12505"] != "G00000007"]
    webcheckout = [(a["patron"]["barcode"], "WebCheckout Gelman", epoch(a["pickupTime"]), epoch(a["scheduledEndTime"]))
                   for a in vendors("GET", "webcheckout/allocations")]
    return collections.Counter(libcal + webcheckout)


def at_the_gate():
    visitors = vendors("GET", "effects?vendor=passagepoint&kind=visitors&limit=1000000")["visitors"]
    cards = {str(v["id"]): v["uniqueId"] for v in visitors}
    assert len(cards) == len(set(cards.values())), "a visitor was made twice"
    return collections.Counter((cards[p["visitorId"]], p["destination"], int(p["startTime"]), int(p["endTime"]))
                               for p in preregs())


def missing():
    return wanted() - at_the_gate()


def counted(doubts):
    want, have = wanted(), at_the_gate()
    assert len(want) > booked > 0 and max(want.values()) == 1
    lost, twice = want - have, have - want
    assert not lost, f"{len(lost)} bookings were never pre-registered, as {next(iter(lost))}"
    assert not twice, f"{sum(twice.values())} pre-registrations too many, as {next(iter(twice))}"
    desk = sql("SELECT string_agg(DISTINCT kind, ' ') FROM desk WHERE closed_at IS NULL")
    assert desk in ("", "no_card"), f"on the desk: {desk}"
    say(f"{len(want)} bookings, {sum(have.values())} pre-registrations: nothing lost, nothing twice; a person decided {doubts}")


def stopped(compose):
    """Everybody drains, and ends well: none had to be killed."""
    ours = [c for s in SERVICES for c in containers(s)]
    began = time.monotonic()
    compose("stop", *SERVICES)
    codes = {inspect(c)["Name"]: inspect(c)["State"]["ExitCode"] for c in ours}
    assert not any(codes.values()), codes
    secrets = {path.name: path.read_text().strip() for path in (ROOT / "ops/compose/sandbox").iterdir()}
    logs = "".join(done.stdout + done.stderr for done in (run("docker", "logs", c) for c in ours))
    assert logs and not [name for name, secret in secrets.items() if len(secret) > 8 and secret in logs]
    say(f"all stopped in {time.monotonic() - began:.1f} s, each with 0; no secret is in their logs")


def tried_out(compose):
    """From nothing to the first pre-registration."""
    began = time.monotonic()
    compose.up()
    wait_for(lambda: made() > 0, lambda: "the first pre-registration: " + state(), 120)
    say(f"Compose {compose.version}: the first pre-registration {time.monotonic() - began:.0f} s after up")


def last_words():
    for line in docker("ps", "-a", *OF_PROJECT, "--format", "{{.ID}} {{.Names}} {{.Status}}").splitlines():
        print(line)
        done = run("docker", "logs", "--tail", "6", line.split()[0], ok=False)
        print("".join(f"    {said[:300]}\n" for said in (done.stdout + done.stderr).splitlines()))


def main():
    global MISSING, SERVICES
    everything = v2()("config", "--services").split()
    SERVICES = [s for s in everything if s not in ("kafka", "postgres", "migrate", "sandbox-import", "sandbox")]
    program = ("docker", "run", "--rm", "--network", "none", "shelfwire")
    MISSING = [s for s in ("monitor",) if run(*program, s, "--version", ok=False).returncode]
    SERVICES = [s for s in SERVICES if s not in MISSING]
    if MISSING:
        say(f"left out, since this version has no such program: {' '.join(MISSING)}")
    compose = v2()
    tried_out(compose)
    wait_for(lambda: all(health(s) == ["healthy"] for s in (*SERVICES, "kafka", "postgres")),
             lambda: f"everybody to be healthy: {[(s, health(s)) for s in SERVICES if health(s) != ['healthy']]}")
    say("everybody is healthy")
    shut_in()
    asks_itself()
    catalog()
    patrons(compose)
    if "monitor" not in MISSING:
        page()
    observed(compose)
    under_load(compose)
    counted(settle())
    stopped(compose)
    if KEEP:
        compose.up()
        print(f"Compose's project is {PROJECT}; the sandbox is http://127.0.0.1:{PORTS['SANDBOX_PORT']}")
        return
    compose("down", "--volumes")
    other = Compose("docker-compose")
    if other.version != compose.version:
        tried_out(other)
        other.up("--no-recreate", "--scale", "prereg-create=3", "prereg-create")
        wait_for(lambda: shared_by(3), lambda: f"three of prereg-create to share the partitions: {shares()}")
        other("down", "--volumes")
        say(f"Compose {other.version} starts, scales and ends the same file")
    assert not docker("ps", "-aq", *OF_PROJECT), "something was left behind"


if __name__ == "__main__":
    try:
        main()
    except BaseException as e:
        if not isinstance(e, KeyboardInterrupt):
            last_words()
        raise
