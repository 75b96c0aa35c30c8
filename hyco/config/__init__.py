"""Strict YAML -> frozen configuration: an unknown key, a wrong type, a hopeless plan is refused."""

from hyco.config.loading import load_config, parse_config, shipped_configs
from hyco.config.schema import Config

__all__ = ["Config", "load_config", "parse_config", "shipped_configs"]
