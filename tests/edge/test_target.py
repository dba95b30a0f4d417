"""Laws of what may be opened: a link that somebody else may have planted is not followed (Fault 44)."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest

from jqcli.core.choice import Choice
from jqcli.edge.log import LineFile
from jqcli.edge.merge import drop_letters
from jqcli.edge.redrive_log import RedriveLog
from jqcli.edge.target import is_planted, open_target
from jqcli.edge.whole import replace_file, try_file
from jqcli.errors import FileError

US, ROOT, OTHER = 1000, 0, 1001
PRIVATE, SHARED, STICKY = 0o755, 0o777, 0o1777


@pytest.mark.parametrize(
    "link, owner, mode, planted",
    [
        (OTHER, US, PRIVATE, False),
        (US, ROOT, STICKY, False),
        (ROOT, ROOT, STICKY, False),
        (OTHER, OTHER, STICKY, False),
        (OTHER, ROOT, STICKY, True),
        (ROOT, OTHER, STICKY, True),
        (US, ROOT, SHARED, True),
        (US, US, SHARED, True),
        (OTHER, ROOT, 0o775, False),
    ],
)
def test_a_link_is_planted_where_everybody_may_put_one_and_it_is_neither_ours_nor_the_folders(
    link, owner, mode, planted
):
    """Fault 44."""
    folder = SimpleNamespace(st_uid=owner, st_mode=stat.S_IFDIR | mode)
    assert is_planted(SimpleNamespace(st_uid=link), folder, US) == planted


@pytest.fixture
def shared(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(SHARED)
    return folder


def test_a_planted_link_is_refused_and_its_target_not_made(shared, tmp_path):
    """Fault 44."""
    (shared / "dlq.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(FileError, match="symbolic link"):
        open_target(str(shared / "dlq.jsonl"), os.O_RDWR | os.O_CREAT, 0o600)
    assert not (tmp_path / "target").exists()


def test_whoever_writes_or_replaces_a_file_refuses_a_planted_link(shared, tmp_path):
    """Fault 44. To look where a link leads, and to replace that, would get around the kernel's own guard."""
    target, link = tmp_path / "target", shared / "link"
    target.write_text("theirs")
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        replace_file(str(link), b"ours")
    with pytest.raises(OSError, match="symbolic link"):
        try_file(str(link))
    for fresh in (False, True):
        with pytest.raises(FileError, match="symbolic link"):
            LineFile(str(link), lambda _: None, fresh=fresh)
    with pytest.raises(FileError, match="symbolic link"):
        drop_letters(str(link), Choice())
    assert (target.read_text(), link.is_symlink()) == ("theirs", True)


@pytest.mark.parametrize("mode", [PRIVATE, STICKY])
def test_a_link_of_ones_own_is_followed_where_nobody_else_can_replace_it(shared, tmp_path, mode):
    shared.chmod(mode)
    (shared / "dlq.jsonl").symlink_to(tmp_path / "target")
    os.close(open_target(str(shared / "dlq.jsonl"), os.O_RDWR | os.O_CREAT, 0o600))
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def test_a_link_to_itself_is_an_error_of_the_system(shared):
    shared.chmod(PRIVATE)
    (shared / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        open_target(str(shared / "loop"), os.O_RDWR | os.O_CREAT, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
@pytest.mark.parametrize("mode", [STICKY, PRIVATE])
def test_what_another_user_laid_beside_a_dlq_is_not_taken_for_a_redrive(shared, mode):
    """Fault 44."""
    (shared / "dlq.jsonl").write_text("")
    laid = shared / "dlq.jsonl.redrive"
    laid.write_text("")
    os.chown(laid, OTHER, OTHER)
    shared.chmod(mode)
    if mode == STICKY:
        with pytest.raises(FileError, match="is another user's"):
            RedriveLog(str(shared / "dlq.jsonl"))
        laid.unlink()
    RedriveLog(str(shared / "dlq.jsonl")).close()
