"""A small soak: a dozen deaths and every kind of outage while a few hundred bookings pass. tests/fire soak is the large one."""
import subprocess

import pytest
from shelfwire import BUILD, ROOT


@pytest.mark.slow
def test_a_few_hundred_bookings_and_a_dozen_kills_end_as_promised():
    done = subprocess.run([ROOT / "tests/fire", "soak", "--bookings", "200", "--kills", "12", "--seed", "1", "--build", BUILD],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "as promised" and " 0 kill" not in done.stdout
