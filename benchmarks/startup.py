"""`hyco run`, as far as the first step of its first simulation.

python -m benchmarks.startup before|after ARGUMENTS...

runs `hyco ARGUMENTS` and ends before, or after, that step.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

WAYS = ("predict", "rollout", "step")  # how a simulation may ask for a step


def main(when: str, arguments: list[str]) -> None:
    """Run the command line; the process ends with status 0 at the step, with another where none was taken."""
    from hyco.cli.app import main as hyco
    from hyco.migration.factory import Factory

    built = Factory.physical_model

    def watched(factory: Factory, *args: Any, **kwargs: Any) -> Any:
        model = built(factory, *args, **kwargs)
        own = {way: getattr(model, way) for way in WAYS}

        def first(way: str, state: Any) -> NoReturn:
            if when == "after":
                for name in WAYS:
                    setattr(model, name, own[name])
                own[way](state) if way == "step" else own[way](state, 1)
            os._exit(0)

        for way in WAYS:
            setattr(model, way, lambda state, *_, way=way, **__: first(way, state))
        return model

    Factory.physical_model = watched  # type: ignore[method-assign, assignment]
    try:
        hyco(arguments)
    except SystemExit as end:
        sys.exit(end.code or 3)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
