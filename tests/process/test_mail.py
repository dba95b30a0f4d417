"""The mail that cron sends: nothing of what went well, one digest of what did not, in what its locale can say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email import message_from_bytes

import pytest

from tests.command import LIMIT, ROOT, wait_for

pytestmark = pytest.mark.walk

PREFIX = f"PYTHONPATH={ROOT} {sys.executable} -m jqcli"
HANDLER = f"-H {ROOT}/tests/process/deeds.py:do -j 2"
GOOD = [*({"n": n} for n in range(50)), {"n": 1}, {"do": "skip"}, {"do": "flaky", "times": 1}]
BAD = [*GOOD, *({"do": "say_badly", "message": f"grün\x1b[31m 漢 {chr(97 + n)}bad\n", "n": n} for n in range(26)), 1]
COMMAND = f"{PREFIX} jobs.jsonl {HANDLER} -o results.jsonl -r 2 --backoff-base 1ms"


def is_plain(mail):
    """Tell whether there is no colour, no cursor movement and no other control byte in it."""
    return b"\x1b" not in mail and mail.decode().replace("\n", "").isprintable()


@pytest.fixture
def cron(folder):
    """Run a crontab's command as cron does it: /bin/sh -c, next to no environment, both streams in one mail."""

    def run(command, *env):
        given = ["HOME=/root", "LOGNAME=root", "PATH=/usr/bin:/bin", "SHELL=/bin/sh", *env]
        return subprocess.run(
            ["env", "-i", *given, "/bin/sh", "-c", f"cd {folder.path} && {command}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * LIMIT, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("locale", [[], ["LANG=C"], ["LANG=C.UTF-8"]], ids=str)
def test_success_is_no_byte(folder, cron, locale):
    folder.write("jobs.jsonl", GOOD)
    for _ in range(2):
        ran = cron(COMMAND, *locale)
        assert (ran.returncode, ran.stdout) == (0, b"")


@pytest.mark.parametrize(
    "locale, is_ascii",
    [
        ([], True),
        (["LANG=C"], True),
        (["LC_ALL=POSIX", "LANG=de_DE.UTF-8"], True),
        (["LANG=C.UTF-8"], False),
        (["LANG=de_DE.UTF-8"], False),
        (["LANG=C", "LC_CTYPE=C.UTF-8"], False),
    ],
    ids=str,
)
def test_failure_is_one_plain_digest_in_what_the_locale_can_say(folder, cron, locale, is_ascii):
    folder.write("jobs.jsonl", BAD)
    ran = cron(f"{COMMAND}; echo $?", *locale)
    *mail, code = ran.stdout.decode().splitlines()
    assert code == "1"
    assert len(mail) < 25
    assert mail[0].startswith("jq-run: finished with 26 dead letters")
    assert is_plain(ran.stdout)
    assert ran.stdout.isascii() == is_ascii
    text = "\n".join(mail)
    assert "..." in text if is_ascii else "…" in text
    assert (r"gr\xfcn\x1b[31m \u6f22" if is_ascii else r"grün\x1b[31m 漢") in text
    assert "jq-run dlq retry" in text


def test_an_error_before_the_run_is_one_line_that_says_what_next(folder, cron):
    folder.write("jobs.jsonl", GOOD)
    ran = cron(COMMAND.replace("deeds.py", "deedz.py"))
    assert ran.returncode == 2
    assert is_plain(ran.stdout)
    assert len(ran.stdout.splitlines()) <= 2
    assert b"there is no file" in ran.stdout


def test_a_printing_handler_is_silent_too_once_it_has_a_log(folder, cron):
    folder.write("jobs.jsonl", [{"n": 1}])
    folder.write("tasks.py", "def do(payload):\n    print('at work')\n")
    command = COMMAND.replace(HANDLER, "-H tasks.py:do")
    assert cron(command).stdout == b"at work\n"
    ran = cron(f"{command} --fresh --log-file run.log")
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert "at work" in (folder / "run.log").read_text()


CRON = """
mount --bind {own}/spool /var/spool/cron && mount --bind {own}/cron.d /etc/cron.d && mount --bind {own}/run /run &&
mount --bind {own}/crontab /etc/crontab && mount --bind {own}/sendmail "$(readlink -f /usr/sbin/sendmail)" &&
exec cron -f
"""
CRONTAB = """SHELL=/bin/sh
PATH=/usr/bin:/bin
MAILTO=somebody
@reboot root cd {folder}/good && {command}; touch done
@reboot root cd {folder}/bad && {command}; touch done
"""


def why_not_cron():
    """Return why Debian's cron cannot be run here with files of its own, empty where it can."""
    if os.geteuid() != 0:
        return "only root may run cron"
    missing = [
        name for name in ("cron", "unshare", "mount") if shutil.which(name, path="/usr/sbin:/usr/bin:/bin") is None
    ]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: apt-get install cron)"
    if not os.path.exists("/usr/sbin/sendmail") or not os.path.exists("/etc/crontab"):
        return "no sendmail or /etc/crontab to put another in the place of"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "no mount namespace of its own can be had"


def test_debians_cron_sends_nothing_of_success_and_one_plain_mail_of_failure(folder):
    reason = why_not_cron()
    if reason:
        pytest.skip(reason)
    own = folder.path / "own"
    for name in ("spool/crontabs", "cron.d", "run", "mail"):
        (own / name).mkdir(parents=True)
    for name, jobs in (("good", GOOD), ("bad", BAD)):
        (folder.path / name).mkdir()
        folder.write(f"{name}/jobs.jsonl", jobs)
    folder.write("own/crontab", CRONTAB.format(folder=folder.path, command=COMMAND))
    folder.write("own/sendmail", f"#!/bin/sh\ncat > {own}/mail/$$.new && mv {own}/mail/$$.new {own}/mail/$$.eml\n")
    (own / "sendmail").chmod(0o755)
    (own / "crontab").chmod(0o644)
    with subprocess.Popen(["unshare", "-m", "sh", "-c", CRON.format(own=own)], stderr=subprocess.PIPE) as child:
        try:
            wait_for(lambda: all((folder / name / "done").exists() for name in ("good", "bad")), 3 * LIMIT)
            (mail,) = wait_for(lambda: list((own / "mail").glob("*.eml")))
        finally:
            child.kill()
    message = message_from_bytes(mail.read_bytes())
    assert "/bad &&" in message["Subject"]
    body = message.get_payload(decode=True)
    assert body.startswith(b"jq-run: finished with 26 dead letters")
    assert len(body.splitlines()) < 25
    assert is_plain(body)
    assert body.isascii()
