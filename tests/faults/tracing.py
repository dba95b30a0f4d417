"""Whether system calls can be tampered with here."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def why_not_strace():
    """Return why not, or an empty string."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        tried = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", "-e", "inject=getppid:retval=1", "true"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except OSError as error:
        return f"strace does not run: {error}"
    return f"strace may not trace: {tried.stderr.strip()[-200:]}" if tried.returncode else ""
