"""Checkpoints of one mode, or of the original HYCO-PhiFlow, become checkpoints of the other mode.

A result is written beside its place, read again, and compared with its source: every tensor and fact must be
the same to the last bit, and what the model computes within the table of tolerances in both modes.  Only then
does it take its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hyco.compat.original_contents import original_content
from hyco.compat.rebuilding import Content, Unsaid, check_same, compare_outputs
from hyco.config import Config, load_config
from hyco.errors import CheckpointError, InputError, StorageError
from hyco.interfaces import Side
from hyco.storage.atomic import atomic_write
from hyco.testing.compare import Difference, Mismatch

SUFFIXES: Mapping[str, Side] = {".pth": "legacy", ".phiml": "phiml"}
OTHER: Mapping[Side, Side] = {"legacy": "phiml", "phiml": "legacy"}
SOURCES = (*SUFFIXES, ".npz")
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes: source, target; kind of checkpoint; tensors, how many, all the same to the last bit; output,
    how far apart what both modes compute with them is, or None; unsaid, why nothing was computed; notes.
    """

    source: Path
    target: Path
    kind: str
    tensors: int
    output: Difference | None
    unsaid: str = ""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same in words."""
        if self.output is None:
            said = f"not compared, since {self.unsaid}"
        elif self.output.error == 0.0:
            said = "one step of both modes is the same to the last bit"
        else:
            worst, allowed = f"{self.output.error:.1e} at {self.output.place}", f"{self.output.allowed:.1e}"
            said = f"the worst difference of one step between the modes is {worst}; allowed {allowed}"
        tensors = f"{self.tensors} tensor{'s' * (self.tensors != 1)}"
        return [
            f"{self.source} -> {self.target}",
            f"{self.kind}: {tensors}, the worst difference of any is 0",
            f"output: {said}",
            *self.notes,
        ]


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    config: Config | str | Path | None = None,
    overrides: Sequence[str] = (),
    training: bool = False,
) -> Conversion:
    """Convert a checkpoint to that of the mode which the ending of `target` names: `.pth` or `.phiml`.

    Args:
        source: a file of the other mode, or of the original HYCO-PhiFlow (`.pth`, `.npz`).
        config: what an original was trained with, an old file too, since it does not say so itself.
        overrides: settings of that configuration to change, such as
            `model.physical.domain.x.resolution=32` for parameters on a halved grid.
        training: of an original network, the state from which a trainer goes on, not the network alone.

    Raises CheckpointError when the source is damaged or is something else, and when the result is not the
    same; then there is no result, and whatever stood in its place stays.
    """
    source, target = Path(source), Path(target)
    _check_ending(source, SOURCES)
    _check_ending(target, SUFFIXES)
    if not source.is_file():
        raise CheckpointError(f"{source}: no such checkpoint. Check the path.")
    if target.exists() and target.samefile(source):
        raise CheckpointError(f"{target}: would replace what it is made from. Choose another name.")
    side = SUFFIXES[target.suffix]
    if _is_original(source):
        if config is not None and not isinstance(config, Config):
            config = load_config(config, overrides)
        content, notes = original_content(source, config, training=training)
    else:
        if config is not None or overrides or training:
            raise CheckpointError(
                f"{source}: is hyco's own, which needs neither --config, nor settings, nor --training."
            )
        content, notes = _read(source, side), ()
    output, unsaid = _write(content, source, target, side)
    return Conversion(source, target, content.kind, len(content.arrays), output, unsaid, notes)


def convert_torch_to_phiml(source: str | Path, target: str | Path) -> Conversion:
    """`convert_checkpoint` from a `.pth` file, of legacy mode or of an original, to a `.phiml` one."""
    _check_ending(Path(source), (".pth",))
    _check_ending(Path(target), (".phiml",))
    return convert_checkpoint(source, target)


def convert_phiml_to_torch(source: str | Path, target: str | Path) -> Conversion:
    """`convert_checkpoint` from a `.phiml` file to a `.pth` one."""
    _check_ending(Path(source), (".phiml",))
    _check_ending(Path(target), (".pth",))
    return convert_checkpoint(source, target)


def _read(path: Path, side: Side) -> Content:
    """The content of a checkpoint of hyco, from which one of `side` is to be made."""
    mode = SUFFIXES[path.suffix]
    if mode == side:
        raise CheckpointError(
            f"{path}: is a checkpoint of {mode} mode already. Name a target that ends in "
            f"{_suffix_of(OTHER[side])}, or copy it."
        )
    return Content(*_files(mode).read_contents(path))


def _is_original(path: Path) -> bool:
    """Whether a file is not hyco's own; raises CheckpointError when its name says another format."""
    held = _held(path)
    if path.suffix in SUFFIXES and held is not None and held != path.suffix:
        raise CheckpointError(
            f"{path}: its name ends in {path.suffix}, but it holds a {held} checkpoint. Rename it to "
            f"{path.with_suffix(held).name}, or name the right file."
        )
    if path.suffix != ".pth":
        return path.suffix not in SUFFIXES
    try:
        return "format" not in _files("legacy").read_tensors(path)
    except ValueError:  # damaged, hostile, or pickled by an old PyTorch
        return True


def _write(content: Content, source: Path, target: Path, side: Side) -> tuple[Difference | None, str]:
    """Write a checkpoint if it is the same: how far apart the outputs are, or why they were not compared."""
    files = _files(side)
    with atomic_write(target) as temporary:
        try:
            files.write_checkpoint(temporary, content.kind, content.arrays, content.facts)
            written = Content(*files.read_contents(temporary))
            check_same(source, content.arrays, written.arrays)
            if (written.kind, written.facts) != (content.kind, dict(content.facts)):
                raise CheckpointError(f"{source}: the result does not say the same of itself.")
            difference = compare_outputs(written, temporary, side, OTHER[side])
        except Unsaid as unsaid:
            return None, str(unsaid)
        except (InputError, Mismatch) as error:
            where = target if isinstance(error, StorageError) else source
            raise CheckpointError(f"{_said(error, temporary, where)} Nothing was converted.") from error
        if not difference.passed:
            raise CheckpointError(
                f"{source}: the modes compute different things from it: {difference.label} differs by "
                f"{difference.error:.3e} at {difference.place}, allowed {difference.allowed:.3e}. "
                "Nothing was converted."
            )
    return difference, ""


def _said(error: Exception, temporary: Path, name: Path) -> str:
    """What an error says, of the file that the user knows."""
    text = str(error).replace(str(temporary), str(name))
    return text if str(name) in text else f"{name}: {text}"


def _held(path: Path) -> str | None:
    """The ending that the first bytes of a checkpoint ask for; None when they are those of neither."""
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and length < path.stat().st_size:
        return ".phiml"
    return ".pth" if head.startswith(ZIP) else None


def _files(side: Side) -> Any:
    """The module that reads and writes the checkpoints of a side."""
    return import_module(f"hyco.{side}.checkpoints")


def _suffix_of(side: Side) -> str:
    return next(suffix for suffix, mode in SUFFIXES.items() if mode == side)


def _check_ending(path: Path, known: Collection[str]) -> None:
    if path.suffix not in known:
        raise CheckpointError(
            f"{path}: expected a checkpoint whose name ends in {' or '.join(known)}. Choose another name."
        )
