"""PhiFlow fields <-> torch tensors: values, memory, boxes, boundaries, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from phi.field import CenteredGrid, Field, PointCloud, StaggeredGrid
from phi.geom import Box, Point
from phiml import math
from phiml.math import batch, extrapolation, spatial, vec

from hyco.compat import from_centered, from_staggered, to_centered, to_staggered
from hyco.compat.fields import EXTRAPOLATIONS, face_shape
from hyco.problem.grid import AXES, BOUNDARIES, Boundary, Grid

BOX = {"x": (7.3, 5), "y": (5.1, 4), "z": (1 / 3, 3)}
GRIDS = [Grid.of(**{a: BOX[a] for a in AXES[:rank]}) for rank in (1, 2, 3)]
LEADING: list[tuple[str, ...]] = [(), ("batch",), ("batch", "time"), ("time",)]
DTYPES = (torch.float64, torch.float32, torch.int64, torch.bool, torch.complex128)
by_rank = pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.rank}d")
by_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
by_leading = pytest.mark.parametrize("leading", LEADING, ids=lambda d: "-".join(d) or "single")


def values(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Random numbers with all their digits."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(10.0 * rng.standard_normal(shape)).to(dtype)


def sizes(leading: tuple[str, ...]) -> tuple[int, ...]:
    return tuple({"batch": 2, "time": 6}[d] for d in leading)


@by_rank
@by_boundary
@by_leading
@pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])
def test_centred_fields_go_there_and_back(
    grid: Grid, boundary: Boundary, leading: tuple[str, ...], vector: bool
) -> None:
    dims = (*leading, *["vector"] * vector, *grid.axes)
    tensor = values((*sizes(leading), *[grid.rank] * vector, *grid.resolution))
    field = to_centered(tensor, grid, boundary, dims=dims)
    assert field.is_grid
    assert field.is_centered
    assert field.boundary == EXTRAPOLATIONS[boundary]
    assert field.resolution.sizes == grid.resolution
    if vector:
        assert field.values.shape.get_item_names("vector") == grid.axes
    back, same_grid, same_boundary = from_centered(field, dims)
    assert torch.equal(back, tensor)
    assert back.data_ptr() == tensor.data_ptr()
    assert (same_grid, same_boundary) == (grid, boundary)
    turned, *_ = from_centered(field, dims[::-1])
    assert torch.equal(turned, tensor.permute(*reversed(range(tensor.ndim))))


@by_rank
@by_boundary
@by_leading
def test_staggered_fields_go_there_and_back(grid: Grid, boundary: Boundary, leading: tuple[str, ...]) -> None:
    dims = (*leading, *grid.axes)
    faces = {
        axis: values((*sizes(leading), *face_shape(grid, boundary, axis)), seed=i)
        for i, axis in enumerate(grid.axes)
    }
    field = to_staggered(faces, grid, boundary, dims=dims)
    assert field.is_staggered
    assert field.boundary == EXTRAPOLATIONS[boundary]
    back, same_grid, same_boundary = from_staggered(field, dims)
    assert (same_grid, same_boundary) == (grid, boundary)
    assert back.keys() == faces.keys()
    for axis, tensor in faces.items():
        assert torch.equal(back[axis], tensor)
        if boundary != "periodic" and grid.rank > 1:  # otherwise PhiFlow keeps one array of all components
            assert back[axis].data_ptr() == tensor.data_ptr()


@by_rank
@by_boundary
def test_faces_are_those_that_phiflow_has(grid: Grid, boundary: Boundary) -> None:
    theirs = StaggeredGrid(
        lambda x: math.sum(x**2, "vector"),
        EXTRAPOLATIONS[boundary],
        bounds=Box(**dict(zip(grid.axes, grid.size, strict=True))),
        **dict(zip(grid.axes, grid.resolution, strict=True)),
    )
    faces, found, name = from_staggered(theirs, grid.axes)
    assert (found, name) == (grid, boundary)
    for i, axis in enumerate(grid.axes):
        assert tuple(faces[axis].shape) == face_shape(grid, boundary, axis)
        centres = [grid.centres(a) for a in grid.axes]
        start = {"periodic": 0, "zero-gradient": 0, "zero": 1}[boundary]
        centres[i] = (start + np.arange(faces[axis].shape[i])) * grid.spacing[i]
        mesh = np.meshgrid(*centres, indexing="ij")
        expected = sum(m**2 for m in mesh)
        assert np.allclose(faces[axis].numpy(), expected, rtol=1e-5)  # where faces are, not how exact
    ours = to_staggered(faces, grid, boundary, dims=grid.axes)
    assert ours.values.shape == theirs.values.shape
    assert ours.geometry == theirs.geometry


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@by_boundary
def test_dtypes_survive_whatever_precision_phiml_is_in(dtype: torch.dtype, boundary: Boundary) -> None:
    grid = GRIDS[1]
    tensor = values(grid.resolution, dtype)
    faces = {a: values(face_shape(grid, boundary, a), dtype) for a in grid.axes}
    for precision in (32, 64):
        with math.precision(precision):
            back, found, _ = from_centered(to_centered(tensor, grid, boundary, dims=grid.axes), grid.axes)
            components, *_ = from_staggered(to_staggered(faces, grid, boundary, dims=grid.axes), grid.axes)
        assert back.dtype == dtype
        assert torch.equal(back, tensor)
        assert found == grid
        for axis in grid.axes:
            assert components[axis].dtype == dtype
            assert torch.equal(components[axis], faces[axis])


@by_boundary
def test_gradients_flow_through_fields(boundary: Boundary) -> None:
    grid = GRIDS[1]
    leaf = values(grid.resolution).requires_grad_()
    back, *_ = from_centered(to_centered(leaf, grid, boundary, dims=grid.axes), grid.axes)
    (back[1:] ** 2).sum().backward()
    assert torch.equal(leaf.grad[1:], 2 * leaf.detach()[1:])
    assert not leaf.grad[0].any()
    faces = {a: values(face_shape(grid, boundary, a)).requires_grad_() for a in grid.axes}
    components, *_ = from_staggered(to_staggered(faces, grid, boundary, dims=grid.axes), grid.axes)
    (3.0 * components["y"]).sum().backward()
    assert torch.equal(faces["y"].grad, torch.full_like(faces["y"], 3.0))
    assert faces["x"].grad is None or not faces["x"].grad.any()


def test_fields_that_phiflow_made_are_understood() -> None:
    grid = GRIDS[1]
    box = Box(x=7.3, y=5.1)
    numbers = {
        "a number": (CenteredGrid(2.5, extrapolation.PERIODIC, box, x=5, y=4), "periodic"),
        "by name": (CenteredGrid(2.5, 0, box, x=5, y=4), "zero"),
        "same on all sides": (
            CenteredGrid(
                2.5, {"x": extrapolation.ZERO_GRADIENT, "y": extrapolation.ZERO_GRADIENT}, box, x=5, y=4
            ),
            "zero-gradient",
        ),
    }
    for what, (field, boundary) in numbers.items():
        tensor, found, name = from_centered(field, ("x", "y"))
        assert (found, name) == (grid, boundary), what
        assert tensor.shape == grid.resolution
        assert torch.all(tensor == 2.5)
    noise = CenteredGrid(math.random_normal(batch(batch=3), spatial(x=5, y=4)), 0, box)
    tensor, *_ = from_centered(noise, ("batch", "x", "y"))
    assert np.array_equal(tensor.numpy(), noise.values.numpy("batch,x,y"))


def field_with(boundary: Any, **options: Any) -> Field:
    return CenteredGrid(vec(x=1.0, y=2.0), boundary, x=5, y=4, **options)


@pytest.mark.parametrize(
    ("boundary", "name"),
    [
        (extrapolation.SYMMETRIC, "symmetric"),
        (1.0, "1.0"),
        (vec(x=0.0, y=1.0), "y=1"),
        ({"x": extrapolation.PERIODIC, "y": extrapolation.ZERO}, "'y': 0"),
        (extrapolation.combine_by_direction(extrapolation.ZERO, extrapolation.ZERO_GRADIENT), "normal=0"),
    ],
    ids=str,
)
def test_boundaries_that_hyco_has_not_are_refused_by_name(boundary: Any, name: str) -> None:
    with pytest.raises(ValueError, match="hyco has no boundary") as caught:
        from_centered(field_with(boundary), ("vector", "x", "y"))
    assert name in str(caught.value)
    assert "periodic, zero-gradient, zero" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_what_is_no_such_field_is_refused() -> None:
    centred, staggered = field_with(0), StaggeredGrid(0, 0, x=5, y=4)
    with pytest.raises(ValueError, match="expected a StaggeredGrid, got a CenteredGrid"):
        from_staggered(centred, ("x", "y"))
    with pytest.raises(ValueError, match="expected a CenteredGrid, got a StaggeredGrid"):
        from_centered(staggered, ("x", "y"))
    with pytest.raises(ValueError, match="got a field on a Point"):
        from_centered(PointCloud(Point(vec(x=1.0, y=2.0))), ("x", "y"))
    with pytest.raises(ValueError, match=r"begin at the origin, but that of the field at \(1\.0, 0\.0\)"):
        from_centered(field_with(0, bounds=Box(x=(1, 2), y=3)), ("vector", "x", "y"))
    with pytest.raises(ValueError, match=r"left over \['vector'\]"):
        from_centered(centred, ("x", "y"))


def test_tensors_that_do_not_fit_the_grid_are_refused() -> None:
    grid = GRIDS[1]
    fitting = torch.zeros(5, 4)
    with pytest.raises(ValueError, match=r"expected \{'x': 5, 'y': 4\}.* sizes \(4, 5\)"):
        to_centered(fitting.T, grid, "zero", dims=("x", "y"))
    with pytest.raises(ValueError, match=r"told the dims \('batch', 'x'\)"):
        to_centered(fitting, grid, "zero", dims=("batch", "x"))
    with pytest.raises(ValueError, match=r"told the dims \('x',\)"):
        to_centered(fitting, grid, "zero", dims=("x",))
    with pytest.raises(ValueError, match="2 item names of 'vector', which has 3"):
        to_centered(torch.zeros(3, 5, 4), grid, "zero", dims=("vector", "x", "y"))
    with pytest.raises(ValueError, match=r"unknown boundary 'zero gradient'\. Did you mean 'zero-gradient'"):
        to_centered(fitting, grid, "zero gradient", dims=("x", "y"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one component per axis \('x', 'y'\), got \('x',\)"):
        to_staggered({"x": fitting}, grid, "periodic", dims=("x", "y"))
    mixed = {"x": fitting, "y": fitting.double()}
    with pytest.raises(ValueError, match=r"one dtype, got \[torch\.float32, torch\.float64\]"):
        to_staggered(mixed, grid, "periodic", dims=("x", "y"))
    with pytest.raises(ValueError, match=r"zero-gradient, component x, expected \{'x': 6, 'y': 4\}"):
        to_staggered({"x": fitting, "y": fitting}, grid, "zero-gradient", dims=("x", "y"))


def test_other_components_get_the_names_that_are_given() -> None:
    grid = GRIDS[0]
    field = to_centered(
        torch.zeros(3, 5), grid, "zero", dims=("species", "x"), names={"species": ("u", "v", "w")}
    )
    assert field.values.shape.get_item_names("species") == ("u", "v", "w")
