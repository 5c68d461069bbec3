"""schemas/openapi.yaml against the server: schemathesis makes requests of it, right and wrong ones, and judges the answers."""
import json
import subprocess

import pytest
import yaml
from pypi import installed
from shelfwire import SCHEMAS
from test_requests import add_caller, ids, start, url_of

VERSION = "4.32.5"
EXAMPLES = 40  # of each operation and phase: some 30 s


@pytest.fixture(scope="session")
def schemathesis():
    return installed("schemathesis", VERSION) / "bin/st"


def load(name):
    return json.loads((SCHEMAS / name).read_text())


def inline(schema, defs):
    if isinstance(schema, list):
        return [inline(s, defs) for s in schema]
    if not isinstance(schema, dict):
        return schema
    merged = {k: inline(v, defs) for k, v in schema.items() if k not in ("$ref", "$defs")}
    return {**inline(defs[schema["$ref"].rsplit("/", 1)[1]], defs), **merged} if "$ref" in schema else merged


def whole_requests():
    """Requests as the server takes them: the members of every request, and beside them those of an action."""
    envelope = load("request.schema.json")
    every = inline(envelope["properties"], envelope["$defs"])
    del every["callback"]  # none is allowed here
    every["patron"] = {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,40}$"}
    every["ref"] = {"type": "string", "pattern": "^[!-~]{1,128}$"}
    whole = []
    for service in ("folio", "wise", "oneclick"):
        schema = load(f"request.{service}.schema.json")
        for branch in inline(schema["oneOf"], schema["$defs"]):
            branch["properties"] = {**every, "service": {"const": service}, **branch["properties"]}
            branch["required"] = [*envelope["required"], *(m for m in branch["required"] if m != "action")]
            whole.append(branch)
    return {"oneOf": whole}


def test_the_server_does_as_its_document_says(world, schemathesis, tmp_path):
    document = yaml.safe_load((SCHEMAS / "openapi.yaml").read_text())
    document["components"]["schemas"]["Request"] = whole_requests()
    for path in document["paths"].values():  # a wait takes its time, and is tested elsewhere
        path["get"]["parameters"] = [p for p in path["get"]["parameters"] if "$ref" not in p]
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    token, _ = add_caller(world)
    program = start(world)
    run = subprocess.run(
        [schemathesis, "run", tmp_path / "openapi.json", "--url", url_of(program), "-H", f"Authorization: Bearer {token}", "--max-examples",
         str(EXAMPLES), "--seed", "1", "--checks", "all", "--exclude-checks", "positive_data_acceptance",
         "--request-timeout", "40", "--no-color"], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    (world.folder / "schemathesis.txt").write_text(run.stdout.replace(token, "…"))
    assert run.returncode == 0, run.stdout[-6000:].replace(token, "…")
    answered = {k: v for k, v in program.metrics()["shelfwire_http_requests_total"].items()}
    assert answered['method="POST",status="202"'] >= 10, answered
    assert answered['method="POST",status="422"'] >= 10, answered
    assert ids(world)


def test_it_is_an_openapi_document():
    document = yaml.safe_load((SCHEMAS / "openapi.yaml").read_text())
    assert document["openapi"] == "3.1.0"

    def refs(node):
        for key, value in (node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()):
            if key == "$ref":
                yield value
            else:
                yield from refs(value)
    for ref in refs(document):
        path, _, pointer = ref.partition("#")
        at = document if not path else load(path)
        for step in pointer.split("/")[1:]:
            at = at[step]
