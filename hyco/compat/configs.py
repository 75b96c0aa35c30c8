"""Configurations of the original HYCO-PhiFlow, written in hyco's keys."""

from __future__ import annotations

from pathlib import Path

import yaml

from hyco.config import load_config, parse_config
from hyco.config.upgrade import Note, is_original, table, upgrade
from hyco.config.yaml_text import ConfigDumper, parse_yaml
from hyco.errors import ConfigError
from hyco.storage.atomic import write_text


def convert_config(source: str | Path, target: str | Path) -> list[Note]:
    """Write an old configuration as one of hyco's, which loads without a note; what was changed.

    The notes stand above the settings as comments.  `target` appears whole, and only when it says the same
    as the source.  Raises ConfigError for a source that is none of HYCO-PhiFlow or cannot be used.
    """
    source, target = Path(source), Path(target)
    expected = load_config(source)
    settings = parse_yaml(source.read_text(encoding="utf-8"), str(source))
    if not is_original(settings):
        raise ConfigError(f"{source}: is in hyco's keys already; there is nothing to convert.")
    if target.exists():
        raise ConfigError(f"{target}: is there already. Move it away, or choose another name.")
    upgraded, notes = upgrade(settings, str(source))
    text = yaml.dump(upgraded, Dumper=ConfigDumper, sort_keys=False, default_flow_style=None, width=100)
    comments = "\n".join(f"#{line}" for line in table(notes).splitlines())
    text = f"# Upgraded from {source.name} of HYCO-PhiFlow\n{comments}\n\n{text}"
    if parse_config(parse_yaml(text, str(target)), str(target)) != expected:
        raise ConfigError(f"{target}: would not say the same as {source}; nothing was written.")
    write_text(target, text)
    return notes
