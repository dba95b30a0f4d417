import subprocess

import pytest

from tests.command import Folder


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    yield folder
    folder.close()


@pytest.fixture
def small_disk(folder):
    """A file system of 256 KiB; the test skips where none can be mounted."""
    path = folder / "disk"
    path.mkdir()
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"no small file system can be mounted: {tried.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
