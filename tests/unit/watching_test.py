"""What is written for those who watch: the alerts, their paragraphs in the README, the dashboard, and the table of every setting."""
import itertools
import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))
import settings_table  # noqa: E402

README = (ROOT / "README.md").read_text()
RULES = [rule for group in yaml.safe_load((ROOT / "ops/prometheus/shelfwire.rules.yml").read_text())["groups"]
         for rule in group["rules"]]
TOLD = [case for test in yaml.safe_load((ROOT / "tests/rules/shelfwire.rules_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]]
DASHBOARD = json.loads((ROOT / "ops/grafana/shelfwire.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


# ---- alerts ----

def test_each_alert_has_its_paragraph_and_each_paragraph_its_alert():
    section = README[README.index("\n## Alerts\n"):]
    section = section[:section.index("\n## ", 4)]
    paragraphs = dict(re.findall(r"^#### (\w+)\n((?:.+\n)+)", section, re.M))
    assert list(paragraphs) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == "README.md#" + rule["alert"].lower()
        assert set(rule["annotations"]) == {"summary", "runbook"} and rule["labels"]["severity"] in ("critical", "warning")
        assert rule["labels"]["service"] == "shelfwire"


def test_what_monitor_tells_by_itself_has_the_same_name():
    known = re.search(r"\} known\[\] = \{\n(.*?)\n\};", (ROOT / "ops/monitor/alerts.c").read_text(), re.S)[1]
    names = re.findall(r'^    \{"(\w+)", -?\d+,', known, re.M)
    assert len(names) == known.count("\n") + 1 and set(names) <= {rule["alert"] for rule in RULES}


def test_each_alert_is_tested_both_ways():
    for rule in RULES:
        cases = [bool(case.get("exp_alerts")) for case in TOLD if case["alertname"] == rule["alert"]]
        assert set(cases) == {True, False}, rule["alert"]


def test_prometheus_takes_the_configuration_that_the_readme_shows(tmp_path):
    (tmp_path / "prometheus.yml").write_text("".join(re.search(r"\n\n((?:    .*\n)*    scrape_configs:\n(?:    .*\n)*)", README)[1]))
    done = subprocess.run(["promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


# ---- the dashboard ----

def test_the_dashboard_is_one_that_grafana_loads():
    """What its import wants: no id of another Grafana, panels with ids and places of their own, the data source a variable."""
    assert DASHBOARD["id"] is None and DASHBOARD["uid"] and DASHBOARD["title"] and DASHBOARD["schemaVersion"] >= 39
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] >= 0 and at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    variables = {v["name"]: v for v in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= {*variables, "__rate_interval", "__all"}
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries") and panel["title"] and panel["targets"]
        assert [t["refId"] for t in panel["targets"]] == list("ABCDEFGH"[:len(panel["targets"])])
        assert all(part["datasource"] == DATASOURCE for part in (panel, *panel["targets"])), panel["title"]


def test_every_question_of_the_dashboard_can_be_read(tmp_path):
    asked = [t["expr"] for panel in PANELS for t in panel["targets"]]
    asked += [a["expr"] for a in DASHBOARD["annotations"]["list"] if "expr" in a]
    rules = [{"record": f"panel:{i}", "expr": expr.replace("$__rate_interval", "5m").replace("$topic", ".*")}
             for i, expr in enumerate(asked)]
    assert "$" not in json.dumps(rules)
    path = tmp_path / "panels.rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and f"{len(asked)} rules found" in done.stdout, done.stdout


def test_a_legend_names_only_what_its_question_keeps():
    for panel in PANELS:
        for t in panel["targets"]:
            kept = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", t["expr"])[:1] for label in labels.split(",")} - {"le"}
            assert set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"])) == kept or t["legendFormat"] == "__auto", panel["title"]


# ---- settings ----

def test_the_readme_has_every_setting_as_the_programs_say_it():
    have, want = settings_table.in_readme(), settings_table.table()
    assert have == want, "tests/settings_table.py --write makes it anew"


@pytest.mark.parametrize("line, setting", [
    ("  A_URL  (required)\n      its address\n", ("A_URL", None, None, "required", "its address")),
    ("  A_KEY  (required, secret)\n      its key\n", ("A_KEY", None, None, "required, secret", "its key")),
    ("  A_PASSWORD  (secret)\n      of the user\n", ("A_PASSWORD", None, None, "secret", "of the user")),
    ("  A_MODE  (a|b)  [b]\n      how\n", ("A_MODE", "a|b", "b", None, "how")),
    ("  A_LIST  [Confirmed,Mediated Approved]\n      which\n", ("A_LIST", None, "Confirmed,Mediated Approved", None, "which")),
    ("  A_PREFIX  []\n      before all\n", ("A_PREFIX", None, "", None, "before all")),
], ids=lambda v: v[0] if isinstance(v, tuple) else "")
def test_a_setting_is_read_as_help_prints_it(line, setting):
    first, last = "  FIRST\n      a sentence\n", "  LAST_1  [-1]\n      another\n"
    text = f"Settings are environment variables; …\n\n{first}{line}{last}\nExit status: 0 done\n"
    assert settings_table.settings(text) == [("FIRST", None, None, None, "a sentence"), setting, ("LAST_1", None, "-1", None, "another")]


def test_what_is_no_setting_as_help_prints_it_is_not_passed_over():
    with pytest.raises(AssertionError, match="BROKEN"):
        settings_table.settings("Settings are environment variables\n\n  BROKEN: 5\n      a sentence\n")
