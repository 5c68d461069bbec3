"""docker-compose.yml and what belongs to it, as files: whether they know every program, setting and secret, and shut all in."""
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SHELFWIRE_BUILD", ROOT / "build/bin")).resolve()
PROGRAMS = sorted(path.stem for folder in ("producers", "workers", "ops") for path in ROOT.glob(f"{folder}/*.c"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("shelfwire:")}
SANDBOX = ROOT / "ops/compose/sandbox"


def settings(program):
    """{setting: the words in brackets behind it}"""
    said = subprocess.run([BUILD / program, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(re.findall(r"^  ([A-Z][A-Z0-9_]*)((?:  .*)?)$", said, re.M))


def marked(program, word):
    return {name for name, rest in settings(program).items() if re.search(rf"\(([a-z]+, )?{word}(, [a-z]+)?\)$", rest)}


def seconds(text):
    assert re.fullmatch("[0-9]+s", text)
    return int(text[:-1])


def test_env_example_is_what_the_programs_say():
    make = [sys.executable, ROOT / "ops/compose/env-example", BUILD]
    made = subprocess.run(make, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert (ROOT / ".env.example").read_text() == made, "make it anew: ops/compose/env-example build/bin >.env.example"
    for program in PROGRAMS:
        for name in settings(program):
            assert len(re.findall(rf"(?<![A-Z_/]){name}(?![A-Z_])[=.,]", made)) == 1 or f"secrets/{name}" in made, name


def test_every_program_is_a_service_of_its_name():
    assert set(PROGRAMS) <= {name for name, service in OURS.items() if service["command"] == [name]}
    default = re.fullmatch(r"\$\{MONITOR_PROGRAMS:-(.*)\}", OURS["monitor"]["environment"]["MONITOR_PROGRAMS"])[1]
    watched = dict(item.split(":") for item in default.split(","))
    assert set(watched) == set(OURS) - {"migrate", "monitor", "sandbox-import"} and set(watched.values()) == {"9464"}
    (scraped,) = yaml.safe_load((ROOT / "ops/compose/prometheus.yml").read_text())["scrape_configs"]
    assert set(scraped["dns_sd_configs"][0]["names"]) == {*watched, "monitor"}


@pytest.mark.parametrize("service", sorted(OURS))
def test_who_is_given_which_secret(service):
    program = OURS[service]["command"][0]
    if program in PROGRAMS:
        assert set(OURS[service]["secrets"]) == marked(program, "secret") | {"PGPASSWORD"}
    assert all((SANDBOX / secret).exists() and secret in COMPOSE["secrets"] for secret in OURS[service]["secrets"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_sandbox_needs_no_more_settings(program):
    lines = (ROOT / "ops/compose/sandbox.env").read_text().splitlines()
    told = {line.split("=")[0] for line in lines} | set(OURS[program]["environment"])
    told |= {secret for secret in OURS[program]["secrets"] if (SANDBOX / secret).stat().st_size}
    assert marked(program, "required") <= told


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_everybody_is_shut_in(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"] and service["mem_limit"]
    assert service.get("read_only") or name == "kafka", "whose image writes its settings into itself"
    assert not service.get("privileged") and not service.get("network_mode") and not service.get("user")
    assert name == "postgres" or "cap_add" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), "published on the loopback alone"
    once = name in ("migrate", "sandbox-import")
    assert service["restart"] == ("no" if once else "unless-stopped")
    assert once or name == "sandbox" or service["healthcheck"]["test"]
    if name in PROGRAMS and "DRAIN_SECONDS" in settings(name):
        assert seconds(service["stop_grace_period"]) > 5 + int(re.search(r"\[(.*)\]", settings(name)["DRAIN_SECONDS"])[1])


def test_what_the_image_is_built_from_holds_no_settings():
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not {".env", "secrets", ".git"} & set(let_in) and (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/.env" in ignored and "/secrets/" in ignored, "nor are they committed"
