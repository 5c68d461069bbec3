"""The points at which tests/fire stops a program: each is somewhere in the code, and a release build has none."""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = re.findall(r"^ *POINT\((\w+), ", (ROOT / "common/injection.h").read_text(), re.M)


def sources():
    return [p for folder in ("common", "producers", "workers", "ops") for p in (ROOT / folder).rglob("*.c")]


def test_every_point_is_passed_somewhere_and_every_one_passed_is_listed():
    passed = {name for p in sources() for name in re.findall(r"INJECTION_POINT\((\w+)\)", p.read_text())}
    assert passed == set(NAMES)


@pytest.mark.parametrize("program", ["prereg-create", "libcal-bookings", "patron-requests"])
def test_a_release_build_has_none(program):
    release = ROOT / "build/bin" / program
    if not release.exists():
        pytest.skip("there is no release build")
    assert b"INJECT_AT" not in release.read_bytes()
