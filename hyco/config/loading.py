"""From a file, or a shipped name, and overrides to a checked configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hyco.config.checks import check
from hyco.config.defaults import with_defaults
from hyco.config.messages import explain
from hyco.config.overrides import apply_override
from hyco.config.schema import Config
from hyco.config.upgrade import is_original, table, upgrade
from hyco.config.yaml_text import parse_yaml
from hyco.errors import ConfigError, did_you_mean

log = logging.getLogger("hyco.config")


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with hyco, by name.

    They lie beside the installed package, or at the top of a source checkout.
    """
    package = Path(__file__).resolve().parents[1]
    folder = next((f for f in (package / "configs", package.parent / "configs") if f.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a file, or of a shipped name such as `burgers` or `burgers.yaml`.

    A file in the keys of the original HYCO-PhiFlow is upgraded in memory, and the changes are logged;
    `overrides` are in hyco's keys.

    Raises ConfigError (one line: file, path of the key, what to do) for a file that is missing or no YAML,
    for an unknown key, a wrong type or value, and for a plan that cannot work (`hyco.config.checks`).
    """
    path = _locate(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}.") from None
    origin = str(_beside_us(path))
    settings = parse_yaml(text, origin)
    if not isinstance(settings, Mapping):
        what = "is empty" if settings is None else f"holds {type(settings).__name__}, not a block of keys"
        raise ConfigError(f"{origin}: {what}; a configuration starts with general:, model: ...")
    if is_original(settings):
        settings, notes = upgrade(settings, origin)
        log.info(
            "%s is in the keys of HYCO-PhiFlow, upgraded in memory (`hyco convert config` writes it):\n%s",
            origin,
            table(notes),
        )
    return parse_config(settings, origin, overrides)


def parse_config(
    mapping: Mapping[str, Any], origin: str = "<config>", overrides: Sequence[str] = ()
) -> Config:
    """The configuration of nested mappings and lists; `origin` is what errors call their source."""
    settings = _copied(mapping)
    changed = {apply_override(settings, override): override for override in overrides}
    try:
        config = Config.model_validate(with_defaults(settings))
    except ValidationError as error:
        path, text = explain(error)
        source = _source(path, text, changed) or origin
        raise ConfigError(f"{source}: {path}: {text}" if path else f"{source}: {text}") from None
    try:
        check(config)
    except ConfigError as error:
        raise type(error)(f"{origin}: {error}") from None
    return config


def _locate(source: str | Path) -> Path:
    path, shipped = Path(source).expanduser(), shipped_configs()
    if path.is_file():
        return path
    name = str(source).removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    known = ", ".join(shipped) or "none"
    hint = did_you_mean(path.name.removesuffix(".yaml"), shipped)
    suggestion = f" {hint}" if hint.startswith("Did") else ""
    raise ConfigError(f"{source}: neither a file nor a shipped configuration ({known}).{suggestion}")


def _beside_us(path: Path) -> Path:
    """The path from the working folder where it lies below, since that is shorter to read."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _source(path: str, text: str, changed: Mapping[str, str]) -> str | None:
    """The override that a problem comes from, if it comes from one."""
    for key, override in changed.items():
        unknown = path == "" or key.startswith(f"{path}.")
        rest = key.removeprefix(f"{path}.").split(".")[0]
        if f"{path}.".startswith(f"{key}.") or (unknown and text.startswith(f"unknown key {rest!r}")):
            return f"override {override!r}"
    return None
