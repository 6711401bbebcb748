"""The parent stays light: TensorFlow is the child's alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CHECK = """
import sys
import services.trainer.app
heavy = {"tensorflow", "tf_keras", "official", "numpy", "services.trainer.engine", "services.trainer.child"} & set(sys.modules)
sys.exit(f"imported: {sorted(heavy)}" if heavy else 0)
"""


def test_the_parent_imports_no_tensorflow() -> None:
    repository = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", _CHECK], cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
