"""The generator is a script in ``tools/``; these tests import it as a module."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
