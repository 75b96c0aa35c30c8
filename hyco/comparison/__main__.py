"""`python -m hyco.comparison CONFIG.yaml`: train, and print what it took as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hyco.comparison.processes import train_here

if __name__ == "__main__":
    print(json.dumps(train_here(Path(sys.argv[1]))))
