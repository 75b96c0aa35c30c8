"""What the command line and library users call: generate, train, evaluate, and run, which does all three."""

from hyco.tasks.progress import Progress, Silent
from hyco.tasks.session import evaluate, generate, run, train

__all__ = ["Progress", "Silent", "evaluate", "generate", "run", "train"]
