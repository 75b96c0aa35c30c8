"""`python -m hyco.testing report`: measure how far the two modes are apart, and write it down."""

from __future__ import annotations

import os

os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is float32 on GPUs too; read when CUDA is loaded

from hyco.testing.command import app

if __name__ == "__main__":
    app()
