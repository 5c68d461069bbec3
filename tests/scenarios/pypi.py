"""What is no Debian package comes from PyPI, once, into a folder beside the programs."""
import subprocess
import sys

import pytest
from shelfwire import BUILD


def installed(name, version):
    """The virtual environment that has it; the test is skipped, and says so, where PyPI cannot be reached."""
    folder = BUILD.parent / name
    if not (folder / version).exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        got = subprocess.run([folder / "bin/pip", "install", "-q", f"{name}=={version}"], capture_output=True, text=True)
        if got.returncode:
            pytest.skip("PyPI cannot be reached: " + got.stderr.strip().splitlines()[-1])
        (folder / version).touch()
    return folder
