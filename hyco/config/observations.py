"""The block about what is observed of the simulations: where, when, how precisely, and by whom."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from hyco.config.choice import chosen
from hyco.config.section import Count, Folder, NonNegative, Section

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if not interval[0] < interval[1]:
        raise PydanticCustomError(
            "interval",
            "expected [least, greatest] with least < greatest, got {got}",
            {"got": str(list(interval))},
        )
    return interval


Interval = Annotated[tuple[Share, Share], Field(strict=False), AfterValidator(_in_order)]


class Everywhere(Section):
    """Every cell is observed."""

    mask: Literal["full"] = "full"


class Range(Section):
    """A box: cells whose centres lie within these shares of each axis; an axis not given counts whole."""

    mask: Literal["range"] = "range"
    x: Interval = (0.0, 1.0)
    y: Interval = (0.0, 1.0)
    z: Interval = (0.0, 1.0)


class Center(Section):
    """A box in the middle, each side of which is `fraction` of the domain's: 0.5 is a quarter of a plane."""

    mask: Literal["center"] = "center"
    fraction: PositiveShare = 0.5


class RandomPoints(Section):
    """`count` cells drawn from the seed of the run, the same at all times."""

    mask: Literal["random_points"] = "random_points"
    count: Count = 100


class FromFile(Section):
    """Cells that a file names: `.npy`, a 0 or 1 per cell; or `.csv`, a point per line in columns x, y, z."""

    mask: Literal["file"] = "file"
    path: Folder


class Always(Section):
    """Every frame is observed."""

    mask: Literal["full"] = "full"


class Endpoints(Section):
    """The first and the last frames of a trajectory: these shares of them, at least one frame each."""

    mask: Literal["endpoints"] = "endpoints"
    start: Share = 0.0
    end: Share = 0.0


class Uniform(Section):
    """Every `stride`-th frame, the first one included."""

    mask: Literal["uniform"] = "uniform"
    stride: Count = 2


class Custom(Section):
    """The frames nearest to these shares of a trajectory's duration: 0 is the first, 1 the last."""

    mask: Literal["custom"] = "custom"
    fractions: Annotated[tuple[Share, ...], Field(strict=False, min_length=1)]


SpaceMask = Everywhere | Range | Center | RandomPoints | FromFile
TimeMask = Always | Endpoints | Uniform | Custom
SPACE: dict[str, type[Section]] = {
    "full": Everywhere,
    "range": Range,
    "center": Center,
    "random_points": RandomPoints,
    "file": FromFile,
}
TIME: dict[str, type[Section]] = {
    "full": Always,
    "endpoints": Endpoints,
    "uniform": Uniform,
    "custom": Custom,
}


class Noise(Section):
    """Gaussian noise on the observed values of every dynamic component.

    `level`: its standard deviation as a share of the component's root mean square over the trajectory;
    `snr_db`: instead, the ratio of signal to noise power in decibels, level = 10^(-snr_db / 20).
    """

    level: NonNegative = 0.0
    snr_db: float | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Noise:
        if self.level and self.snr_db is not None:
            raise PydanticCustomError("noise", "give either level or snr_db, not both")
        return self

    @property
    def share(self) -> float:
        """The standard deviation as a share of the root mean square."""
        return self.level if self.snr_db is None else 10.0 ** (-self.snr_db / 20.0)


class Sensors(Section):
    """What one model is shown of the real trajectories."""

    space: Annotated[SerializeAsAny[Any], BeforeValidator(chosen(SPACE, "mask"))] = Everywhere()
    time: Annotated[SerializeAsAny[Any], BeforeValidator(chosen(TIME, "mask"))] = Always()
    noise: Noise = Noise()


class Observations(Sensors):
    """What both models are shown; `physical` and `synthetic` replace it, whole, for one of them.

    `starts`: a window begins at `all` observed frames of a trajectory, whose state is then given on the whole
    grid; or at the `first` frame alone, the known initial condition.
    """

    starts: Literal["all", "first"] = "all"
    physical: Sensors | None = None
    synthetic: Sensors | None = None

    def of(self, model: Literal["physical", "synthetic"]) -> Sensors:
        """What one of the models is shown."""
        own: Sensors | None = getattr(self, model)
        return own or Sensors(space=self.space, time=self.time, noise=self.noise)
