"""The loops of the fused kernels, compiled by numba; `hyco.kernels.rollout` calls them.

All of them are in this file, since numba recompiles what it has on disk when the file of a function changes,
not when that of a function called by it does.

Grids have three axes here, of which the first and the last may be all there is: a line is (1, 1, n), a plane
(nx, 1, ny).  `rows` are the positions along the first axis.  Frames are flat in space, (batch, component,
time, cells).  A step works on a tile of rows after the other, so that what lies between its stages stays in
the cache; where a tile is not the whole grid it begins with as many more rows on both sides as there are
substeps, and each substep is left with one less.  Arithmetic is that of `hyco.legacy.stencils`, operation by
operation, so that results are the same to the last bit, whatever the tiles and threads.

`plan`, integers throughout: (cells along three axes, rank, moved components, first component of the wind or
-1, whether the wind has a factor, boundary, substeps).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

PERIODIC, ZERO_GRADIENT, ZERO = 0, 1, 2
FAR = 1.0e9  # cells; departure points beyond are as good as this far, and fit an integer
CACHE = 384 * 1024  # bytes of a tile, well within the second-level cache of one core

F = TypeVar("F", bound=Callable[..., Any])


def part(function: F) -> F:
    """Compiled as a part of what calls it."""
    return njit(nogil=True)(function)


def compiled(function: F) -> F:
    """Compiled by numba when it is first called, and kept on disk where a folder for it can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found neither a folder beside this file nor one of the user's
        return njit(nogil=True)(function)


# ------------------------------------------------------------------------------------- one row of advection


@part
def _locate(wind, rate, own, along, cells, boundary, axis, places, shares, inside):
    """Departure points of a row along one axis: the cells around each, and their shares.

    `own`, `along`: the position of the row's first cell on the axis, and whether it goes along the axis.
    `inside`: whether each of the cells is in the grid, 0 or 1; it stays as it is unless the boundary is zero.
    """
    kind = wind.dtype.type
    one, far = kind(1), kind(FAR)
    last = np.int32(cells - 1)
    size = np.int32(cells)
    inverse = one / kind(cells)
    for z in range(wind.shape[0]):
        point = kind(np.int32(own + along * z)) - wind[z] * rate
        floor = np.floor(point)
        weight = point - floor
        # comparisons this way round send NaN to a number, and its weight stays NaN
        floor = floor if floor > -far else -far
        floor = floor if floor < far else far
        if boundary == PERIODIC:
            i = np.int32(floor) - np.int32(np.floor(floor * inverse)) * size
            i = np.int32(i + size) if i < 0 else i
            i = np.int32(i - size) if i > last else i
            i = min(max(i, np.int32(0)), last)
            j = np.int32(0) if i == last else np.int32(i + 1)
            shares[axis, 0, z] = one - weight
            shares[axis, 1, z] = weight
        else:
            k = np.int32(floor)
            i = min(max(k, np.int32(0)), last)
            j = min(max(np.int32(k + 1), np.int32(0)), last)
            if boundary == ZERO:
                inside[axis, 0, z] = kind(i == k)
                inside[axis, 1, z] = kind(j == k + 1)
                shares[axis, 0, z] = (one - weight) * inside[axis, 0, z]
                shares[axis, 1, z] = weight * inside[axis, 1, z]
            else:
                shares[axis, 0, z] = one - weight
                shares[axis, 1, z] = weight
        places[axis, 0, z] = i
        places[axis, 1, z] = j


@part
def _corners(frames, factor, rates, plan, member, time, x, y, wind, places, shares, inside, index, weight):
    """The 2^rank cells that each departure point of a row lies between, and their weights.

    Fills places, shares and inside (axis, lower or upper, z), index and weight (corner, z).
    """
    nx, ny, nz, rank, _, first, scaled, boundary, _ = plan
    start = (x * ny + y) * nz
    for axis in range(rank):
        if scaled:
            for z in range(nz):
                wind[z] = factor[start + z] * frames[member, first + axis, time, start + z]
        else:
            for z in range(nz):
                wind[z] = frames[member, first + axis, time, start + z]
        if axis == rank - 1:
            own, along, cells = 0, 1, nz
        elif axis == 0:
            own, along, cells = x, 0, nx
        else:
            own, along, cells = y, 0, ny
        _locate(wind, rates[axis], own, along, cells, boundary, axis, places, shares, inside)
    if rank == 1:
        for corner in range(2):
            for z in range(nz):
                index[corner, z] = places[0, corner, z]
                weight[corner, z] = shares[0, corner, z]
        return
    size = np.uint32(nz if rank == 2 else ny)
    for corner in range(1 << rank):
        one, two = (corner >> (rank - 1)) & 1, (corner >> (rank - 2)) & 1
        for z in range(nz):
            index[corner, z] = np.uint32(places[0, one, z] * size) + places[1, two, z]
        for z in range(nz):
            weight[corner, z] = shares[0, one, z] * shares[1, two, z]
        if rank == 3:
            for z in range(nz):
                index[corner, z] = np.uint32(index[corner, z] * np.uint32(nz)) + places[2, corner & 1, z]
            for z in range(nz):
                weight[corner, z] *= shares[2, corner & 1, z]


@part
def _gather(frames, member, c, time, index, weight, tile, i, y):
    """The weighted sum of the values around each departure point of a row, into a row of a tile."""
    n = index.shape[1]
    if index.shape[0] == 4:
        for z in range(n):
            total = weight[0, z] * frames[member, c, time, index[0, z]]
            total += weight[1, z] * frames[member, c, time, index[1, z]]
            total += weight[2, z] * frames[member, c, time, index[2, z]]
            tile[c, i, y, z + 1] = total + weight[3, z] * frames[member, c, time, index[3, z]]
        return
    for z in range(n):
        tile[c, i, y, z + 1] = weight[0, z] * frames[member, c, time, index[0, z]]
    for corner in range(1, index.shape[0]):
        for z in range(n):
            tile[c, i, y, z + 1] += weight[corner, z] * frames[member, c, time, index[corner, z]]


# --------------------------------------------------------------------------------------- tiles of diffusion


@part
def _pad(tile, c, i, y, boundary):
    """The values beyond both ends of a row."""
    n = tile.shape[3] - 2
    if boundary == PERIODIC:
        tile[c, i, y, 0], tile[c, i, y, n + 1] = tile[c, i, y, n], tile[c, i, y, 1]
    elif boundary == ZERO_GRADIENT:
        tile[c, i, y, 0], tile[c, i, y, n + 1] = tile[c, i, y, 1], tile[c, i, y, n]
    else:
        tile[c, i, y, 0] = tile[c, i, y, n + 1] = 0


@part
def _beside(i, step, here, cells, whole, boundary, nothing):
    """Where in a tile the neighbour of its row i lies; `here` is the row's position in the grid."""
    if boundary != PERIODIC and (here + step < 0 or here + step >= cells):
        return i if boundary == ZERO_GRADIENT else nothing
    return (i + step + cells) % cells if whole else i + step


@part
def _reach(first, last, halo, cells, whole, boundary):
    """The rows of a tile with `halo` more on both sides, as far as there are any."""
    if whole:
        return first, last
    if boundary == PERIODIC:
        return first - halo, last + halo
    return max(first - halo, 0), min(last + halo, cells)


@part
def _aside(i, y, step, ny, boundary, nothing):
    """Where in a tile the neighbour of a row along the second axis lies."""
    if 0 <= y + step < ny:
        return i, y + step
    if boundary == PERIODIC:
        return i, (y + step + ny) % ny
    return (i, y) if boundary == ZERO_GRADIENT else (nothing, y)


@part
def _diffuse(tile, out, origin, begin, end, whole, faces_x, faces_y, faces_z, rates, plan):
    """One substep on the rows begin to end of the grid; row g stands at g - origin in both tiles."""
    nx, ny, nz, rank, moved, _, _, boundary, _ = plan
    nothing = tile.shape[1] - 1
    rate_x, rate_z = rates[0], rates[rank - 1]
    rate_y = rates[min(1, rank - 1)]
    for g in range(begin, end):
        i, x = g - origin, g % nx
        down = _beside(i, -1, g, nx, whole, boundary, nothing)
        up = _beside(i, 1, g, nx, whole, boundary, nothing)
        for y in range(ny):
            i0, y0 = _aside(i, y, -1, ny, boundary, nothing)
            i1, y1 = _aside(i, y, 1, ny, boundary, nothing)
            for c in range(moved):
                if rank == 1:
                    for z in range(nz):
                        own = tile[c, i, y, z + 1]
                        change = faces_z[x, y, z + 1] * (tile[c, i, y, z + 2] - own)
                        change = (change - faces_z[x, y, z] * (own - tile[c, i, y, z])) * rate_z
                        out[c, i, y, z + 1] = own + change
                elif rank == 2:
                    for z in range(nz):
                        own = tile[c, i, y, z + 1]
                        across = faces_x[x + 1, y, z] * (tile[c, up, y, z + 1] - own)
                        across = (across - faces_x[x, y, z] * (own - tile[c, down, y, z + 1])) * rate_x
                        change = faces_z[x, y, z + 1] * (tile[c, i, y, z + 2] - own)
                        change = (change - faces_z[x, y, z] * (own - tile[c, i, y, z])) * rate_z
                        out[c, i, y, z + 1] = own + (across + change)
                else:
                    for z in range(nz):
                        own = tile[c, i, y, z + 1]
                        across = faces_x[x + 1, y, z] * (tile[c, up, y, z + 1] - own)
                        across = (across - faces_x[x, y, z] * (own - tile[c, down, y, z + 1])) * rate_x
                        aside = faces_y[x, y + 1, z] * (tile[c, i1, y1, z + 1] - own)
                        aside = (aside - faces_y[x, y, z] * (own - tile[c, i0, y0, z + 1])) * rate_y
                        change = faces_z[x, y, z + 1] * (tile[c, i, y, z + 2] - own)
                        change = (change - faces_z[x, y, z] * (own - tile[c, i, y, z])) * rate_z
                        out[c, i, y, z + 1] = own + ((across + aside) + change)
                _pad(out, c, i, y, boundary)


@part
def _carry(
    tile, frames, factor, rates, plan, member, time, origin, begin, end,
    wind, places, shares, inside, index, weight,
):  # fmt: skip
    """What is moved, carried along by the wind, or as it is: the rows begin to end of a tile."""
    nx, ny, nz, _, moved, first, _, boundary, _ = plan
    for g in range(begin, end):
        i, x = g - origin, g % nx
        for y in range(ny):
            if first >= 0:
                _corners(
                    frames, factor, rates, plan, member, time, x, y,
                    wind, places, shares, inside, index, weight,
                )  # fmt: skip
            start = (x * ny + y) * nz
            for c in range(moved):
                if first >= 0:
                    _gather(frames, member, c, time, index, weight, tile, i, y)
                else:
                    for z in range(nz):
                        tile[c, i, y, z + 1] = frames[member, c, time, start + z]
                _pad(tile, c, i, y, boundary)


@part
def _row_buffers(frames, plan):
    """Room for a row: its wind, its departure points by axis, its corners."""
    _, _, nz, rank, _, _, _, _, _ = plan
    return (
        np.empty(nz, frames.dtype),
        np.empty((rank, 2, nz), np.uint32),
        np.empty((rank, 2, nz), frames.dtype),
        np.ones((rank, 2, nz), frames.dtype),
        np.empty((1 << rank, nz), np.uint32),
        np.empty((1 << rank, nz), frames.dtype),
    )


@part
def _tile_rows(rows, stages, itemsize, plan):
    """How many rows a tile has: as many as the cache holds, not so few that most of them are halo."""
    _, ny, nz, _, moved, _, _, _, substeps = plan
    fitting = CACHE // (stages * moved * ny * (nz + 2) * itemsize) - 2 * substeps
    wanted = max(fitting, 4 * substeps, 1)
    if rows <= wanted:
        return rows
    return (rows + (rows + wanted - 1) // wanted - 1) // ((rows + wanted - 1) // wanted)


@compiled
def advance(frames, factor, carry_rates, faces_x, faces_y, faces_z, rates, plan, members, times, rows):
    """Steps from the frames times[0] to times[1] - 1, each into the frame after it.

    Args:
        frames: (batch, component, time, cells), of which the first frame, and all of what does not move, are
            there.
        factor: (cells) of the wind, or empty.
        carry_rates, rates: dt / dx, and dt / substeps / dx^2, by axis.
        faces_x, faces_y, faces_z: the coefficient of diffusion on the faces across each axis, or empty.
        members, times, rows: from, to.
    """
    nx, ny, nz, _, moved, _, _, boundary, substeps = plan
    wind, places, shares, inside, index, weight = _row_buffers(frames, plan)
    size = _tile_rows(rows[1] - rows[0], 2, frames.itemsize, plan)
    whole = size == nx
    length = size if whole else size + 2 * substeps
    tile = np.zeros((moved, length + 1, ny, nz + 2), frames.dtype)
    other = np.zeros((moved, length + 1, ny, nz + 2), frames.dtype)
    for member in range(members[0], members[1]):
        for time in range(times[0], times[1]):
            for first in range(rows[0], rows[1], size):
                last = min(first + size, rows[1])
                origin = first if whole else first - substeps
                begin, end = _reach(first, last, substeps, nx, whole, boundary)
                _carry(
                    tile, frames, factor, carry_rates, plan, member, time, origin, begin, end,
                    wind, places, shares, inside, index, weight,
                )  # fmt: skip
                for left in range(substeps - 1, -1, -1):
                    begin, end = _reach(first, last, left, nx, whole, boundary)
                    _diffuse(tile, other, origin, begin, end, whole, faces_x, faces_y, faces_z, rates, plan)
                    tile, other = other, tile
                for c in range(moved):
                    for g in range(first, last):
                        for y in range(ny):
                            start = (g * ny + y) * nz
                            for z in range(nz):
                                frames[member, c, time + 1, start + z] = tile[c, g - origin, y, z + 1]


# ------------------------------------------------------------------------------------------------- adjoints


@part
def _face_gradients(values, adjoint, origin, first, last, whole, grad_x, grad_y, grad_z, rates, plan):
    """Add to the gradient by every face of some rows: - rate * jump of adjoint * jump of value."""
    nx, ny, nz, rank, moved, _, _, boundary, _ = plan
    nothing = values.shape[1] - 1
    rate = rates[rank - 1]
    for g in range(first, last):
        i = g - origin
        down = _beside(i, -1, g, nx, whole, boundary, nothing)
        top = g == nx - 1 and boundary == ZERO
        for y in range(ny):
            i0, y0 = _aside(i, y, -1, ny, boundary, nothing)
            far = y == ny - 1 and boundary == ZERO
            for c in range(moved):
                for z in range(nz + 1):
                    jump = adjoint[c, i, y, z + 1] - adjoint[c, i, y, z]
                    grad_z[g, y, z] -= jump * (values[c, i, y, z + 1] - values[c, i, y, z]) * rate
                if rank > 1:
                    _add_jumps(grad_x, g, y, values, adjoint, c, i, y, down, y, nz, rates[0])
                    if top:
                        _add_jumps(grad_x, g + 1, y, values, adjoint, c, i, y, nothing, y, nz, rates[0])
                if rank > 2:
                    _add_jumps(grad_y, g, y, values, adjoint, c, i, y, i0, y0, nz, rates[1])
                    if far:
                        _add_jumps(grad_y, g, ny, values, adjoint, c, i, y, nothing, y, nz, rates[1])


@part
def _add_jumps(by, g, f, values, adjoint, c, i, y, j, v, nz, rate):
    """The same for the faces between two rows of a tile."""
    for z in range(nz):
        jump = adjoint[c, i, y, z + 1] - adjoint[c, j, v, z + 1]
        by[g, f, z] -= jump * (values[c, i, y, z + 1] - values[c, j, v, z + 1]) * rate


@compiled
def undo_diffusion(
    frames, factor, carry_rates, faces_x, faces_y, faces_z, rates, plan,
    adjoint, before, grad_x, grad_y, grad_z, wanted, members, time, rows,
):  # fmt: skip
    """The adjoint of what is moved before it diffuses, in `before`, from that at the end of a step.

    Diffusion with fixed faces is its own adjoint.  Where `wanted`, adds to the gradients by the faces, for
    which the states between the substeps are made once more.

    Args:
        adjoint: (batch, component, cells), at the frame `time` + 1.
        before: (batch, moved component, cells), after advection.
    """
    nx, ny, nz, _, moved, _, _, boundary, substeps = plan
    wind, places, shares, inside, index, weight = _row_buffers(frames, plan)
    size = _tile_rows(rows[1] - rows[0], 2 + substeps * wanted, frames.itemsize, plan)
    whole = size == nx
    length = size if whole else size + 2 * substeps
    stages = np.zeros((max(substeps * wanted, 1), moved, length + 1, ny, nz + 2), frames.dtype)
    tile = np.zeros((moved, length + 1, ny, nz + 2), frames.dtype)
    other = np.zeros((moved, length + 1, ny, nz + 2), frames.dtype)
    for member in range(members[0], members[1]):
        for first in range(rows[0], rows[1], size):
            last = min(first + size, rows[1])
            origin = first if whole else first - substeps
            begin, end = _reach(first, last, substeps, nx, whole, boundary)
            if wanted:
                _carry(
                    stages[0], frames, factor, carry_rates, plan, member, time, origin, begin, end,
                    wind, places, shares, inside, index, weight,
                )  # fmt: skip
                for stage in range(1, substeps):
                    begin, end = _reach(first, last, substeps - stage, nx, whole, boundary)
                    _diffuse(
                        stages[stage - 1], stages[stage], origin, begin, end, whole,
                        faces_x, faces_y, faces_z, rates, plan,
                    )  # fmt: skip
            begin, end = _reach(first, last, substeps, nx, whole, boundary)
            for c in range(moved):
                for g in range(begin, end):
                    for y in range(ny):
                        start = ((g % nx) * ny + y) * nz
                        for z in range(nz):
                            tile[c, g - origin, y, z + 1] = adjoint[member, c, start + z]
                        _pad(tile, c, g - origin, y, boundary)
            for stage in range(substeps - 1, -1, -1):
                if wanted:
                    _face_gradients(
                        stages[stage], tile, origin, first, last, whole, grad_x, grad_y, grad_z, rates, plan
                    )
                begin, end = _reach(first, last, stage, nx, whole, boundary)
                _diffuse(tile, other, origin, begin, end, whole, faces_x, faces_y, faces_z, rates, plan)
                tile, other = other, tile
            for c in range(moved):
                for g in range(first, last):
                    for y in range(ny):
                        start = (g * ny + y) * nz
                        for z in range(nz):
                            before[member, c, start + z] = tile[c, g - origin, y, z + 1]


@part
def _wind_slope(around, shares, inside, axis, rate, slope, part):
    """The derivative by the wind along one axis, from the sum `around` over each corner's values."""
    rank, n = shares.shape[0], slope.shape[0]
    for z in range(n):
        slope[z] = 0
    for corner in range(1 << rank):
        side = (corner >> (rank - 1 - axis)) & 1
        for z in range(n):
            part[z] = around[corner, z] * inside[axis, side, z]
        for other in range(rank):
            if other != axis:
                at = (corner >> (rank - 1 - other)) & 1
                for z in range(n):
                    part[z] *= shares[other, at, z]
        sign = rate if side == 0 else -rate
        for z in range(n):
            slope[z] += sign * part[z]


@part
def _around(frames, before, member, time, start, plan, index, around):
    """The sum over the components of adjoint times value, at each corner of a row's departure points."""
    _, _, nz, rank, moved, _, _, _, _ = plan
    for corner in range(1 << rank):
        for z in range(nz):
            around[corner, z] = 0
    for c in range(moved):
        if rank == 2:
            for z in range(nz):
                value = before[member, c, start + z]
                around[0, z] += value * frames[member, c, time, index[0, z]]
                around[1, z] += value * frames[member, c, time, index[1, z]]
                around[2, z] += value * frames[member, c, time, index[2, z]]
                around[3, z] += value * frames[member, c, time, index[3, z]]
            continue
        for corner in range(1 << rank):
            for z in range(nz):
                value = before[member, c, start + z]
                around[corner, z] += value * frames[member, c, time, index[corner, z]]


@compiled
def undo_wind(
    frames, factor, carry_rates, plan, given, adjoint, before, grad_factor, wanted, members, time, rows
):
    """The adjoint at the frame `time` but for what advection scatters: what is given, and that by the wind.

    Args:
        given: (batch, component, time, cells), the gradient by the frames themselves.
        adjoint: (batch, component, cells), of what does not move on entry that of the frame `time` + 1.
        before: (batch, moved component, cells), after advection.
        grad_factor: (cells), to which that by the factor of the wind is added where `wanted`.
    """
    _, ny, nz, rank, moved, first, scaled, _, _ = plan
    wind, places, shares, inside, index, weight = _row_buffers(frames, plan)
    around = np.empty((1 << rank, nz), frames.dtype)
    slope = np.empty(nz, frames.dtype)
    part = np.empty(nz, frames.dtype)
    for member in range(members[0], members[1]):
        for x in range(rows[0], rows[1]):
            for y in range(ny):
                start = (x * ny + y) * nz
                for c in range(moved):
                    for z in range(start, start + nz):
                        adjoint[member, c, z] = given[member, c, time, z]
                for c in range(moved, frames.shape[1]):
                    for z in range(start, start + nz):
                        adjoint[member, c, z] += given[member, c, time, z]
                if first < 0:
                    for c in range(moved):
                        for z in range(start, start + nz):
                            adjoint[member, c, z] += before[member, c, z]
                    continue
                _corners(
                    frames, factor, carry_rates, plan, member, time, x, y,
                    wind, places, shares, inside, index, weight,
                )  # fmt: skip
                _around(frames, before, member, time, start, plan, index, around)
                for axis in range(rank):
                    _wind_slope(around, shares, inside, axis, carry_rates[axis], slope, part)
                    c = first + axis
                    if not scaled:
                        for z in range(nz):
                            adjoint[member, c, start + z] += slope[z]
                        continue
                    for z in range(nz):
                        adjoint[member, c, start + z] += factor[start + z] * slope[z]
                    if wanted:
                        for z in range(nz):
                            grad_factor[start + z] += frames[member, c, time, start + z] * slope[z]


@compiled
def scatter(frames, factor, carry_rates, plan, adjoint, before, members, time, components):
    """Add to the adjoint what advection hands back to the cells it took values from, row after row."""
    nx, ny, nz, _, _, _, _, _, _ = plan
    wind, places, shares, inside, index, weight = _row_buffers(frames, plan)
    corners = index.shape[0]
    for member in range(members[0], members[1]):
        for x in range(nx):
            for y in range(ny):
                _corners(
                    frames, factor, carry_rates, plan, member, time, x, y,
                    wind, places, shares, inside, index, weight,
                )  # fmt: skip
                start = (x * ny + y) * nz
                for c in range(components[0], components[1]):
                    if corners == 4:
                        for z in range(nz):
                            value = before[member, c, start + z]
                            adjoint[member, c, index[0, z]] += weight[0, z] * value
                            adjoint[member, c, index[1, z]] += weight[1, z] * value
                            adjoint[member, c, index[2, z]] += weight[2, z] * value
                            adjoint[member, c, index[3, z]] += weight[3, z] * value
                        continue
                    for z in range(nz):
                        value = before[member, c, start + z]
                        for corner in range(corners):
                            adjoint[member, c, index[corner, z]] += weight[corner, z] * value
