"""Shadow mode around the tasks of a run, loaded where the configuration asks for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hyco.config import Config
from hyco.report.shadow import shadow_lines
from hyco.tasks.progress import FILE_ONLY, Progress

if TYPE_CHECKING:
    from hyco.migration.shadow import Shadow

log = logging.getLogger("hyco.shadow")


@contextmanager
def shadowing(
    config: Config, folder: Path, renewed: Collection[str], progress: Progress
) -> Iterator[tuple[Shadow | None, Callable[[str], None]]]:
    """The shadow of a run, or None, and what to call when a task begins.

    At the end, however the run ends, what the shadow found is written and said.

    `renewed`: the tasks that are done from their start.
    """
    if not config.migration.shadow.enabled:
        yield None, lambda task: None
        return
    from hyco.migration.shadow import Shadow

    shadow = Shadow(config, folder, renewed)
    try:
        yield shadow, shadow.begin
    finally:
        for line in [*shadow_lines(shadow.finish()), f"shadow mode: {shadow.path}"]:
            log.info(line, extra=FILE_ONLY)
            progress.say(line)
