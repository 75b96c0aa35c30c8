"""Random initial conditions that equations share: arrays (batch, field, *space), drawn in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyco.problem.divergence import divergence_matrix
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.problem.sampling import smooth_random_field

Array = NDArray[np.float64]


def random_velocity(grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator) -> Array:
    """Smooth random velocities, up to three waves per axis.

    The root mean square of every component crosses a hundredth of the longest side in a unit of time.
    """
    scale = max(grid.size) / 100.0
    return scale * smooth_random_field(grid, (batch, len(layout.components)), rng, modes=3)


def front_in_swirl(grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator) -> Array:
    """A smooth front of `density` across a random direction, in a swirling `velocity`.

        density = (1 + tanh(n . (x - x0) / w)) / 2,      n a random direction, x0 near the middle of the box

    w is a twentieth of the shortest side.  The front is not periodic.  The velocity is that of `swirl`.
    """
    states = np.zeros((batch, len(layout.components), *grid.resolution))
    for state in states:
        state[layout.slice_of("density")] = _front(grid, rng)
        state[layout.slice_of("velocity")] = swirl(grid, rng)
    return states


def swirl(grid: Grid, rng: np.random.Generator) -> Array:
    """A periodic vortex that fills the box, with weak sinusoidal shear; (axis, *space), free of divergence.

        v_x = -s (m / Ly) sin^2(pi x / Lx) sin(2 pi y / Ly) + e_x sin(2 pi y / Ly + p_x)
        v_y =  s (m / Lx) sin(2 pi x / Lx) sin^2(pi y / Ly) + e_y sin(2 pi x / Lx + p_y)

    m = min(Lx, Ly).  The speed s crosses one to two hundredths of the longest side in a unit of time, either
    way around; the shears e are a tenth to a fifth of it, each across the next axis: in 3-D that of v_y
    varies with z, and v_z = e_z sin(2 pi x / Lx + p_z).  There the vortex turns around the z axis and is
    weaker by half in the middle of it.  A line, where nothing can turn, has the wind
    s + e sin(2 pi x / Lx + p), which is not free of divergence.
    """
    speed = max(grid.size) / 100.0 * rng.uniform(1.0, 2.0) * rng.choice([-1.0, 1.0])
    turns = [2.0 * np.pi * x / s for x, s in zip(grid.coordinates().values(), grid.size, strict=True)]
    shear = speed * rng.uniform(0.1, 0.2, grid.rank)
    phases = rng.uniform(0.0, 2.0 * np.pi, grid.rank)
    velocity = np.zeros((grid.rank, *grid.resolution))
    if grid.rank == 1:
        velocity += speed
    else:
        x, y, *z = turns
        strength = speed * min(grid.size[:2]) * (0.75 + 0.25 * np.cos(z[0]) if z else 1.0)
        velocity[0] -= strength / grid.size[1] * np.sin(x / 2.0) ** 2 * np.sin(y)
        velocity[1] += strength / grid.size[0] * np.sin(x) * np.sin(y / 2.0) ** 2
    for axis in range(grid.rank):
        velocity[axis] += shear[axis] * np.sin(turns[(axis + 1) % grid.rank] + phases[axis])
    return velocity


def random_seeds(grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator) -> Array:
    """The resting state u = 1, v = 0 of the Gray-Scott equations, disturbed in a few round seeds.

        u = 1 - b / 2,    v = b / 4,      b = the largest of 3 to 6 Gaussians exp(-|x - x_j|^2 / (2 r^2))

    at random places of a periodic box, r between a thirtieth and a twelfth of its longest side.
    Source: Pearson (1993), with round seeds for square ones.
    """
    states = np.empty((batch, len(layout.components), *grid.resolution))
    for state in states:
        bump = np.zeros(grid.resolution)
        for _ in range(int(rng.integers(3, 7))):
            centre = rng.uniform(0.0, 1.0, grid.rank) * grid.size
            radius = max(grid.size) * rng.uniform(1.0 / 30.0, 1.0 / 12.0)
            bump = np.maximum(bump, np.exp(-_distance(grid, centre) / (2.0 * radius**2)))
        state[layout.slice_of("u")] = 1.0 - bump / 2.0
        state[layout.slice_of("v")] = bump / 4.0
    return states


def smoke_in_eddies(grid: Grid, layout: FieldLayout, batch: int, rng: np.random.Generator) -> Array:
    """Round puffs of smoke in smooth eddies without divergence, in a plane box.

        u = (D_y psi, -D_x psi),      rho = 1 - prod_j (1 - exp(-|x - x_j|^2 / (2 r_j^2)))

    psi: a smooth random stream function, which falls to 0 at the walls of a closed box; D: the central
    differences of `hyco.problem.divergence`, so that the discrete divergence is 0.  The root mean square of
    u crosses a hundredth of the longest side in a unit of time.  2 to 4 puffs, r_j between a sixteenth and a
    ninth of the longest side; at random places, or in the middle half of a box that has walls.
    """
    walls = layout.field("velocity").boundary
    along_x, along_y = (
        divergence_matrix(n, h, walls) for n, h in zip(grid.resolution, grid.spacing, strict=True)
    )
    x, y = (c / s for c, s in zip(grid.coordinates().values(), grid.size, strict=True))
    within = np.sin(np.pi * x) * np.sin(np.pi * y) if walls == "zero" else 1.0
    margin = 0.0 if layout.field("density").boundary == "periodic" else 0.25
    states = np.empty((batch, len(layout.components), *grid.resolution))
    for state in states:
        stream = within * smooth_random_field(grid, (), rng, modes=3)
        flow = np.stack([stream @ along_y.T, -along_x @ stream])
        state[layout.slice_of("velocity")] = max(grid.size) / 100.0 * flow / np.sqrt(np.mean(flow**2))
        clear = np.ones(grid.resolution)
        for _ in range(int(rng.integers(2, 5))):
            centre = rng.uniform(margin, 1.0 - margin, grid.rank) * grid.size
            radius = max(grid.size) * rng.uniform(1.0 / 16.0, 1.0 / 9.0)
            clear *= 1.0 - np.exp(-_distance(grid, centre) / (2.0 * radius**2))
        state[layout.slice_of("density")] = 1.0 - clear
    return states


def _front(grid: Grid, rng: np.random.Generator) -> Array:
    direction = rng.standard_normal(grid.rank)
    direction /= np.linalg.norm(direction)
    place = rng.uniform(0.35, 0.65, grid.rank) * grid.size
    axes = zip(grid.coordinates().values(), direction, place, strict=True)
    along = sum(n * (x - x0) for x, n, x0 in axes)
    return 0.5 * (1.0 + np.tanh(along / (min(grid.size) / 20.0)))


def _distance(grid: Grid, centre: Array) -> Array:
    """Squared distance to the nearest periodic image of a point."""
    total = np.zeros(grid.resolution)
    for x, c, size in zip(grid.coordinates().values(), centre, grid.size, strict=True):
        total = total + np.minimum(np.abs(x - c), size - np.abs(x - c)) ** 2
    return total
