"""Folders of dead processes go, those of living ones stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from services.dataset.workspace import Workspace

HOLD = """
import pathlib, sys
from services.dataset.workspace import Workspace
workspace = Workspace(pathlib.Path(sys.argv[1]))
(workspace.path / "upload").touch()
print("held", flush=True)
input()
"""


def test_a_folder_for_one_import(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "deep" / "root")
    with workspace.folder() as first, workspace.folder() as second:
        assert first != second
        (first / "upload").touch()
    assert [path.name for path in workspace.path.iterdir()] == ["lock"]
    workspace.close()
    assert not list((tmp_path / "deep" / "root").glob("process-*"))


def test_only_a_dead_process_loses_its_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        [theirs] = tmp_path.glob("process-*")
        mine = Workspace(tmp_path)
        assert {theirs, mine.path} == set(tmp_path.glob("process-*"))
        other.kill()
    assert (theirs / "upload").exists()
    later = Workspace(tmp_path)
    assert {mine.path, later.path} == set(tmp_path.glob("process-*"))
    mine.close()
    later.close()


def test_a_removal_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    (tmp_path / "process-x").mkdir()
    workspace = Workspace(tmp_path)
    assert list(tmp_path.glob("process-*")) == [workspace.path]
    workspace.close()
