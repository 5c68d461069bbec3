"""tests/bench/peers.py, on a few messages: that it still measures, and what it counts of Shelfwire."""
import json
import subprocess

import pytest
from shelfwire import BUILD, ROOT


@pytest.mark.slow
def test_the_benchmark_of_peers_counts_what_three_kills_did(tmp_path):
    figures = tmp_path / "figures.json"
    done = subprocess.run([ROOT / "tests/bench/peers.py", "--quick", "--bin", BUILD, "--json", figures], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    found = json.loads(figures.read_text())
    assert all(speed["rate"] > 0 and speed["rss_mb"] > 0 for speed in found["speeds"].values())
    (ours,), (theirs,) = found["outcomes"]["shelfwire, three kills"], found["outcomes"]["python, three kills, looks first"]
    assert ours["twice"] == ours["never_silent"] == ours["unordered"] == 0, ours
    assert ours["desk"] <= 300 and ours["never"] <= ours["desk"], ours
    assert theirs["calls"] - theirs["windows"] == theirs["twice"] - theirs["never"], theirs
