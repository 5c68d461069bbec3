"""What is no Debian package comes from PyPI, once, into a folder beside the programs."""
import subprocess
import sys

import pytest
from shelfwire import BUILD


def pip(folder, *words):
    """In the virtual environment of that folder, made for it. The test is skipped, and says so, where PyPI cannot be reached."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    got = subprocess.run([folder / "bin/pip", *words], capture_output=True, text=True)
    if got.returncode:
        pytest.skip("PyPI cannot be reached: " + got.stderr.strip().splitlines()[-1])


def installed(name, version):
    """The virtual environment that has it."""
    folder = BUILD.parent / name
    if not (folder / version).exists():
        pip(folder, "install", "-q", f"{name}=={version}")
        (folder / version).touch()
    return folder
