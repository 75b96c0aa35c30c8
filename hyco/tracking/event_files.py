"""TensorBoard: event files, one folder per group, so that each has steps of its own."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyco.tracking.writer import Ending, Writer

PATTERN = "events.out.tfevents.*"
GROUPS = ("synthetic", "physical", "cycles", "rollouts", "evaluation")


class EventFiles(Writer):
    """Writes to `folder/<group>/events.out.tfevents.*`, every event at once, so that a kill loses none.

    Each process adds a file per group, that begins by taking back what earlier ones say of its first
    step and of later ones; nothing is ever changed within a file.  `anew` removes what an earlier training
    has written.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, *, anew: bool) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        if anew:
            for path in (p for group in GROUPS for p in (folder / group).glob(PATTERN)):
                path.unlink()

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(group, step, Summary(value=entries))

    def picture(self, group: str, step: int, tag: str, png: bytes) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        width, height = struct.unpack(">II", png[16:24])  # of the header that every PNG begins with
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self._write(group, step, Summary(value=[Summary.Value(tag=tag, image=image)]))

    def close(self, ending: Ending) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _write(self, group: str, step: int, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        if group not in self._files:
            self._files[group] = self._begin(group, step)
        self._files[group].write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._files[group].flush()

    def _begin(self, group: str, step: int) -> Any:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self.folder / group
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob(PATTERN))) + 1  # names have seconds alone, and runs may be shorter
        file = EventsWriter(str(folder / "events"), f".{number:04d}")
        start = SessionLog(status=SessionLog.START)
        file.write_event(Event(wall_time=time.time(), step=step, session_log=start))
        return file
