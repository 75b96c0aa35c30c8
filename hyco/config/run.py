"""The blocks about the run as a whole: general, migration, data, cache."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from hyco.config.section import Count, Folder, Index, Names, NonNegative, Positive, Section
from hyco.errors import did_you_mean

Task = Literal["generate", "train", "evaluate"]
TrainingMode = Literal["synthetic", "physical", "hybrid", "all"]
MAX_SIMULATIONS = 1_000_000
COMPONENTS = (
    "data_manager",
    "dataset",
    "physical_model",
    "synthetic_model",
    "physical_trainer",
    "synthetic_trainer",
    "hybrid_trainer",
)


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise PydanticCustomError(
            "experiment_name",
            "names a folder: expected letters, digits, '_', '-' and '.', got {name}",
            {"name": repr(name)},
        )
    return name


def _known_components(components: dict[str, Any]) -> dict[str, Any]:
    for key in components:
        component, slash, implementation = key.partition("/")
        if component not in COMPONENTS or (slash and not implementation):
            raise PydanticCustomError(
                "unknown_component",
                "unknown component {key}. {hint}",
                {"key": repr(key), "hint": did_you_mean(component, COMPONENTS)},
            )
    return components


def _stored_as_hdf5(name: Any) -> Any:
    if name == "scene":
        raise PydanticCustomError(
            "scene_format", "PhiFlow scenes cannot be read or written in this version; use 'hdf5'"
        )
    return name


class General(Section):
    """What is run, under which name, and where its results go (`checkpoint_dir` null: in `output_dir`).

    `mode` all: physical, synthetic and hybrid, each in a folder of its own, and compared.
    """

    experiment_name: Annotated[str, AfterValidator(_folder_name)]
    mode: TrainingMode
    tasks: Annotated[tuple[Task, ...], Field(strict=False, min_length=1)] = ("generate", "train", "evaluate")
    seed: Index = 0
    output_dir: Folder
    checkpoint_dir: Folder | None = None


class Shadow(Section):
    """Every `every`-th call of each component is done in the other mode too, and compared.

    `on_mismatch`: raise stops the run at the first difference.  `rtol`, `atol`: instead of those of the
    table of tolerances.
    """

    enabled: bool = False
    every: Count = 10
    on_mismatch: Literal["warn", "raise"] = "warn"
    rtol: NonNegative | None = None
    atol: NonNegative | None = None


Components = Annotated[dict[str, Literal["legacy", "phiml"]], AfterValidator(_known_components)]


class Migration(Section):
    """Which side implements which component; `mode` null leaves it to the registry."""

    mode: Literal["legacy", "hybrid", "phiml"] | None = None
    components: Components = Field(default_factory=dict)
    shadow: Shadow = Shadow()


class FieldsScheme(Section):
    """The fields of the equation that evolve, and those that are given; which of them are vectors."""

    dynamic: Names
    static: Names = ()
    vectors: Names = ()


class DataSource(Section):
    """Files of somebody else that the trajectories come from, instead of being generated.

    `path`: a file, a folder of files, or a pattern of names.  `fields`: field -> what it is called there; one
    name per axis for a vector that is several.  Every `time_stride`-th frame is used, and along each axis
    every `space_stride`-th cell.
    """

    format: Literal["pdebench", "well"]
    path: Annotated[str, Field(min_length=1)]
    fields: dict[str, str | Names] = Field(default_factory=dict)
    time_stride: Count = 1
    space_stride: Count = 1


class Data(Section):
    """The trajectories: where they lie, how many there are, and how many frames each has.

    With a `source`, the first so many of its trajectories, and the first so many frames of each.
    """

    data_dir: Folder
    cache_dir: Folder
    format: Annotated[Literal["hdf5"], BeforeValidator(_stored_as_hdf5)] = "hdf5"
    fields_scheme: FieldsScheme | None = None
    source: DataSource | None = None
    num_simulations: Annotated[int, Field(ge=1, le=MAX_SIMULATIONS)] = 8
    trajectory_length: Annotated[int, Field(ge=2)] = 64


class Cache(Section):
    """How trajectories are held in memory.

    `backend`: the library in which phiml mode holds them.  `ttl`: seconds that one stays after its last
    use (null: for ever).  `workers`: processes that load and cache (0: none), within `memory_limit_mb`.
    """

    backend: Literal["torch", "numpy"] = "torch"
    worker_backend: Literal["numpy"] = "numpy"
    ttl: Positive | None = 10.0
    workers: Index = 1
    memory_limit_mb: Count = 2048
