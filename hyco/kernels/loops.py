"""The loops of the fused kernels, compiled by numba; `hyco.kernels.rollout` calls them.

All of them are in this file, since numba recompiles what it has on disk when the file of a function changes,
not when that of a function called by it does.

Grids have three axes here, of which the first and the last may be all there is: a line is (1, 1, n), a plane
(nx, 1, ny).  Along the last one lie *rows*, along the first one *planes* (of one row, in two dimensions).
Where values are worked on, a row has `PAD` cells more at both ends, which hold what the boundary puts there:
then no loop over a row has a branch, and neighbours, near and far, are read at an offset.

A step goes through the grid plane after plane, all stages of it at once: when a plane has been carried along
by the wind, the plane before it makes its first substep of diffusion, the plane before that its second, and
so on.  Of the stages between two frames only the planes are kept that are still to be read, so that they stay
in the cache.  The adjoint goes through the grid in the same way, and makes these stages anew.  Where a grid
has no end, or another thread's planes follow, a step begins with as many more planes on both sides as there
are substeps, and every substep is left with one less.

Arithmetic is that of `hyco.legacy.stencils`, operation by operation, so that results are the same to the last
bit, whatever planes and threads do what.

Parts take addresses instead of arrays, which need no counting of references:

    plan    (cells along three axes, rank, moved components, first component of the wind or -1, whether the
            wind has a factor, boundary, substeps, cells of a row with pads), integers
    faces   (address, components, planes, rows): the coefficient on the faces before each cell along one axis,
            and after the last; of those there may be one for all
    desk    (shifts, reals, chunks, positions, 0, 1, far): what is worked out along a row, and numbers of
            the type of the values
    ring    (address, planes that are kept less one, or -1: a whole frame; how far apart its planes and its
            components are)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.core.cgutils import is_pointer
from numba.extending import intrinsic

from hyco.kernels.compiling import announce

PERIODIC, ZERO_GRADIENT, ZERO = 0, 1, 2
PAD = 16  # cells beyond both ends of a row: a line of the cache, in float32
CHUNK = 64  # cells of a row whose departure points are sought together
WIDE = 8  # shifts along one axis within a chunk; where winds vary more, cells are looked up one by one
ON_DESK = 7  # rows of reals: three winds, three shares, zeros
IN_CHUNKS = 8 + 2 * WIDE
LEAST = 16  # to which a chunk is cut down where the shifts in it differ by more than one
ANYWHERE, NEAR, NARROW = 0, 1, 2
FAR = 1.0e9  # cells; departure points beyond are as good as this far, and fit an integer
NOWHERE = -(1 << 40)
GIVEN, DIFFUSION, SLOPES, SCATTER, TOGETHER = 1, 2, 4, 8, 16
ALL = GIVEN | DIFFUSION | SLOPES | SCATTER | TOGETHER

F = TypeVar("F", bound=Callable[..., Any])


def part(function: F) -> F:
    """Compiled as a part of what calls it."""
    return njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def compiled(function: F) -> F:
    """Compiled by numba when it is first called, and kept on disk where a folder for it can be written."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found neither a folder beside this file nor one of the user's
        return njit(nogil=True, error_model="numpy")(function)


# --------------------------------------------------------------------------------------------------- rows


@intrinsic
def at(context, array, offset):
    """The address of an entry of an array, counted from its first, or so far behind another address.

    An address can be indexed; what is read so is not looked up from the end where the index is negative,
    which would keep loops from being vectorised.
    """

    def made(target, builder, signature, arguments):
        of, by = arguments
        if isinstance(signature.args[0], types.Array):
            of = target.make_array(signature.args[0])(target, builder, of).data
        return builder.gep(of, [by])

    return types.CPointer(array.dtype)(array, types.intp), made


@intrinsic
def apart(context):
    """States that what the calling function writes through one of its addresses it reads through no other.

    Then its loops are vectorised without a look at the addresses each time.
    """

    def made(target, builder, signature, arguments):
        for argument in builder.function.args:
            if is_pointer(argument.type):
                argument.add_attribute("noalias")
        return target.get_dummy_value()

    return types.none(), made


@part
def _copy(out, given, n):
    apart()
    for z in range(n):
        out[z] = given[z]


@part
def _fill(out, value, n):
    for z in range(n):
        out[z] = value


@part
def _add(out, given, n):
    apart()
    for z in range(n):
        out[z] += given[z]


@part
def _times(out, a, b, n):
    apart()
    for z in range(n):
        out[z] = a[z] * b[z]


@part
def _add_times(out, a, b, n):
    apart()
    for z in range(n):
        out[z] += a[z] * b[z]


@part
def _pad(row, n, boundary, width, zero):
    """The values beyond both ends of a row, as many as asked for."""
    if boundary == PERIODIC:
        for k in range(width):  # outwards, so that a row of few cells is repeated
            row[-1 - k] = row[n - 1 - k]
            row[n + k] = row[k]
        return
    first = row[0] if boundary == ZERO_GRADIENT else zero
    last = row[n - 1] if boundary == ZERO_GRADIENT else zero
    for k in range(width):
        row[-1 - k] = first
        row[n + k] = last


@part
def _fold(row, n, boundary):
    """The adjoint of `_pad`: what came to the cells beyond both ends goes where their values were from."""
    if boundary == PERIODIC:
        for k in range(PAD - 1, -1, -1):
            row[n - 1 - k] += row[-1 - k]
            row[k] += row[n + k]
    elif boundary == ZERO_GRADIENT:
        for k in range(PAD):
            row[0] += row[-1 - k]
            row[n - 1] += row[n + k]


@part
def _within(here, cells):
    """A position in a periodic box."""
    return here if 0 <= here < cells else here % cells


@part
def _beside(here, step, cells, boundary):
    """The position so far along an axis, NOWHERE where zeros are."""
    there = here + step
    if 0 <= there < cells:
        return there
    if boundary == PERIODIC:
        return there % cells
    if boundary == ZERO:
        return NOWHERE
    return 0 if there < 0 else cells - 1


# -------------------------------------------------------------------------------------- departure points


@part
def _depart(shift, share, wind, cells, own, rate, far, n):
    """Where the cells of a row come from along one axis.

    shift: how many cells after its own the cell below each departure point is.  share: of the cell after
    that one, in [0, 1).  cells: positions along the axis, less `own`.
    """
    apart()
    for z in range(n):
        here = own + cells[z]
        point = here - wind[z] * rate
        floor = np.floor(point)
        share[z] = point - floor
        off = floor - here
        # comparisons this way round send NaN to a number, and the share stays NaN
        off = off if off > -far else -far
        off = off if off < far else far
        shift[z] = np.int32(off)


@part
def _find(desk, wind, apart_by, factor, rates, plan, x, y):
    """Winds, shifts and shares of a row, by axis; wind: the row's first component, `apart_by` to the next."""
    shifts, reals, _, positions, zero, _, far = desk
    _, ny, nz, rank, _, _, scaled, _, _, row = plan
    for axis in range(rank):
        blown, share = at(reals, axis * row), at(reals, (3 + axis) * row)
        if scaled:
            _times(blown, at(factor, (x * ny + y) * nz), at(wind, axis * apart_by), nz)
        else:
            _copy(blown, at(wind, axis * apart_by), nz)
        if axis == rank - 1:
            _depart(at(shifts, axis * row), share, blown, positions, zero, rates[axis], far, nz)
        else:
            own = positions[x if axis == 0 else y]
            _depart(at(shifts, axis * row), share, blown, at(reals, 6 * row), own, rates[axis], far, nz)


@part
def _range(shift, n):
    """The least and the greatest shift in a chunk."""
    low, high = shift[0], shift[0]
    for z in range(n):
        low = min(low, shift[z])
        high = max(high, shift[z])
    return np.int64(low), np.int64(high)


@part
def _ranges(desk, plan, z, n):
    """How a chunk is best worked on, and the least and greatest shifts of cells that are looked up, by axis.

    ANYWHERE: cell by cell; NEAR: shift by shift; NARROW: in a plane, with shifts that differ by one at most.
    """
    shifts, _, _, _, _, _, _ = desk
    _, _, nz, rank, _, _, _, _, _, row = plan
    x0, x1, y0, y1 = 0, 0, 0, 0
    z0, z1 = _range(at(shifts, (rank - 1) * row + z), n)
    narrow = rank == 2 and z1 <= z0 + 1
    near = z0 + z >= -PAD and max(z1 + 1, z0 + 2) + z + n <= nz + PAD and z1 - z0 + 2 <= WIDE
    if rank > 1:
        x0, x1 = _range(at(shifts, z), n)
        narrow = narrow and x1 <= x0 + 1
        near = near and x1 - x0 + 2 <= WIDE
        x1 += 1
    if rank > 2:
        y0, y1 = _range(at(shifts, row + z), n)
        near = near and y1 - y0 + 2 <= WIDE
        y1 += 1
    return (NARROW if narrow else NEAR) if near else ANYWHERE, x0, x1, y0, y1, z0, z1 + 1


@part
def _weigh(out, shift, share, s, zero, one, n):
    """What the cells at the shift s count, 0 where that is neither of the two around a departure point."""
    apart()
    for z in range(n):
        above = share[z] if shift[z] == s - 1 else zero
        out[z] = one - share[z] if shift[z] == s else above


@part
def _lean(out, shift, s, zero, one, n):
    """The derivative of the same by the share."""
    apart()
    for z in range(n):
        above = one if shift[z] == s - 1 else zero
        out[z] = -one if shift[z] == s else above


# -------------------------------------------------------------------------------------------- advection


@part
def _carry(out, out_apart, frame, desk, plan, rates, nothing, x, y):
    """What is moved, in a row after advection; frame: the first cell of the first row."""
    shifts, reals, _, _, _, one, _ = desk
    nx, ny, nz, rank, moved, _, _, boundary, _, row = plan
    whole = nx * ny * row
    z, length = 0, CHUNK
    while z < nz:
        n = min(length, nz - z)
        way, x0, x1, y0, y1, z0, z1 = _ranges(desk, plan, z, n)
        if rank == 2 and way != NARROW and n > LEAST:
            length = LEAST
            continue
        if way == NARROW:
            i, j, k = _three(x, x0, nx, boundary)
            for c in range(moved):
                by = c * whole + z + z0
                _carry_plane(
                    at(out, c * out_apart + z), _row_or_zeros(frame, nothing, i, by, row),
                    _row_or_zeros(frame, nothing, j, by, row), _row_or_zeros(frame, nothing, k, by, row),
                    at(shifts, z), at(reals, 3 * row + z), at(shifts, row + z), at(reals, 4 * row + z),
                    x0, z0, one, n,
                )  # fmt: skip
        elif way == NEAR:
            _carry_shifts(out, out_apart, frame, desk, plan, x, y, z, n, (x0, x1, y0, y1, z0, z1))
        else:
            _carry_cells(out, out_apart, frame, desk, plan, rates, x, y, z, n)
        z, length = z + n, min(2 * length, CHUNK)


@part
def _three(x, x0, nx, boundary):
    """The positions of three planes that follow one another, the first of them x0 after x."""
    first, second = _beside(x, x0, nx, boundary), _beside(x, x0 + 1, nx, boundary)
    return first, second, _beside(x, x0 + 2, nx, boundary)


@part
def _row_or_zeros(frame, nothing, r, by, row):
    return nothing if r == NOWHERE else at(frame, r * row + by)


@part
def _carry_plane(out, low, mid, high, shift_x, share_x, shift_z, share_z, x0, z0, one, n):
    """Where the shifts along the axes are x0 and z0, or one more: three cells of three rows count."""
    apart()
    for z in range(n):
        near_x, near_z = shift_x[z] == x0, shift_z[z] == z0
        a, b, c = low[z], low[z + 1], low[z + 2]
        d, e, f = mid[z], mid[z + 1], mid[z + 2]
        g, h, i = high[z], high[z + 1], high[z + 2]
        low_0, low_1 = a if near_z else b, b if near_z else c
        mid_0, mid_1 = d if near_z else e, e if near_z else f
        high_0, high_1 = g if near_z else h, h if near_z else i
        first, second = low_0 if near_x else mid_0, low_1 if near_x else mid_1
        third, fourth = mid_0 if near_x else high_0, mid_1 if near_x else high_1
        x, y = share_x[z], share_z[z]
        total = ((one - x) * (one - y)) * first
        total += ((one - x) * y) * second
        total += (x * (one - y)) * third
        out[z] = total + (x * y) * fourth


@part
def _carry_shifts(out, out_apart, frame, desk, plan, x, y, z, n, ranges):
    """Shift by shift, in the order of the corners of a cell: what does not count adds zeros."""
    shifts, reals, chunks, _, zero, one, _ = desk
    nx, ny, _, rank, moved, _, _, boundary, _, row = plan
    x0, x1, y0, y1, z0, z1 = ranges
    last = rank - 1
    a, b, ab = at(chunks, 0), at(chunks, CHUNK), at(chunks, 2 * CHUNK)
    for c in range(moved):
        _fill(at(out, c * out_apart + z), zero, n)
    for s in range(z0, z1 + 1):
        weight = at(chunks, (8 + s - z0) * CHUNK)
        _weigh(weight, at(shifts, last * row + z), at(reals, (3 + last) * row + z), s, zero, one, n)
    for i in range(x0, x1 + 1):
        if rank > 1:
            _weigh(a, at(shifts, z), at(reals, 3 * row + z), i, zero, one, n)
        else:
            _fill(a, one, n)
        g = _beside(x, i, nx, boundary)
        for j in range(y0, y1 + 1):
            h = _beside(y, j, ny, boundary)
            if g == NOWHERE or h == NOWHERE:
                continue
            outer = a
            if rank > 2:
                _weigh(b, at(shifts, row + z), at(reals, 4 * row + z), j, zero, one, n)
                _times(ab, a, b, n)
                outer = ab
            for s in range(z0, z1 + 1):
                weight = at(chunks, (8 + s - z0) * CHUNK)
                for c in range(moved):
                    source = at(frame, ((c * nx + g) * ny + h) * row + z + s)
                    _add_weighted(at(out, c * out_apart + z), outer, weight, source, n)


@part
def _add_weighted(out, a, b, given, n):
    apart()
    for z in range(n):
        out[z] += (a[z] * b[z]) * given[z]


@part
def _around(desk, plan, rates, x, y, z, axis):
    """The cells below and above one departure point along an axis: where they are, whether inside, shares."""
    _, reals, _, positions, zero, one, far = desk
    nx, ny, nz, rank, _, _, _, boundary, _, row = plan
    own, cells = z, nz
    if axis < rank - 1:
        own, cells = (x, nx) if axis == 0 else (y, ny)
    floor = np.floor(positions[own] - reals[axis * row + z] * rates[axis])
    floor = floor if floor > -far else -far
    floor = floor if floor < far else far
    k, share = np.int64(floor), reals[(3 + axis) * row + z]
    if boundary == PERIODIC:
        return k % cells, (k + 1) % cells, one, one, one - share, share
    i, j = min(max(k, 0), cells - 1), min(max(k + 1, 0), cells - 1)
    if boundary == ZERO_GRADIENT:
        return i, j, one, one, one - share, share
    first, second = one if i == k else zero, one if j == k + 1 else zero
    return i, j, first, second, (one - share) * first, share * second


@part
def _carry_cells(out, out_apart, frame, desk, plan, rates, x, y, start, n):
    """Cell by cell, wherever the departure points are."""
    _, _, _, _, zero, one, _ = desk
    nx, ny, _, rank, moved, _, _, _, _, row = plan
    whole = nx * ny * row
    i0, i1, j0, j1 = 0, 0, 0, 0
    a0, a1, b0, b1 = one, zero, one, zero
    for z in range(start, start + n):
        k0, k1, _, _, c0, c1 = _around(desk, plan, rates, x, y, z, rank - 1)
        if rank > 1:
            i0, i1, _, _, a0, a1 = _around(desk, plan, rates, x, y, z, 0)
        if rank > 2:
            j0, j1, _, _, b0, b1 = _around(desk, plan, rates, x, y, z, 1)
        for c in range(moved):
            total = zero
            for p in range(2 if rank > 1 else 1):
                i, a = (i0, a0) if p == 0 else (i1, a1)
                for q in range(2 if rank > 2 else 1):
                    j, b = (j0, b0) if q == 0 else (j1, b1)
                    source = at(frame, c * whole + (i * ny + j) * row)
                    total += ((a * b) * c0) * source[k0]
                    total += ((a * b) * c1) * source[k1]
            out[c * out_apart + z] = total


@part
def _carry_back(frame, before, adjoint, slopes, desk, plan, rates, nothing, x, y, components, tilted):
    """The adjoint of `_carry` for one row, from that after it, `before`; all addresses are of whole frames.

    Adds to `adjoint`, also beyond the ends of rows, what goes back to the cells that values came from, for
    some of the components.  Writes the derivatives by the winds of this row into `slopes`, where `tilted`.
    """
    shifts, reals, _, _, zero, one, _ = desk
    nx, ny, nz, rank, moved, _, _, boundary, _, row = plan
    whole, here = nx * ny * row, (x * ny + y) * row
    z, length = 0, CHUNK
    while z < nz:
        n = min(length, nz - z)
        way, x0, x1, y0, y1, z0, z1 = _ranges(desk, plan, z, n)
        if rank == 2 and way != NARROW and n > LEAST:
            length = LEAST
            continue
        if tilted:
            for axis in range(rank):
                _fill(at(slopes, axis * whole + here + z), zero, n)
        if way == ANYWHERE:
            _carry_cells_back(
                frame, before, adjoint, slopes, desk, plan, rates, x, y, z, n, components, tilted
            )
        else:
            _carry_shifts_back(
                frame, before, adjoint, slopes, desk, plan, x, y, z, n, (x0, x1, y0, y1, z0, z1),
                components, tilted and way == NEAR,
            )  # fmt: skip
        if tilted and way == NARROW:
            i, j, k = _three(x, x0, nx, boundary)
            for c in range(moved):
                by = c * whole + z + z0
                _lean_plane(
                    at(slopes, here + z), at(slopes, whole + here + z), at(before, c * whole + here + z),
                    _row_or_zeros(frame, nothing, i, by, row), _row_or_zeros(frame, nothing, j, by, row),
                    _row_or_zeros(frame, nothing, k, by, row),
                    at(shifts, z), at(reals, 3 * row + z), at(shifts, row + z), at(reals, 4 * row + z),
                    x0, z0, one, n,
                )  # fmt: skip
        if tilted:
            for axis in range(rank):
                _scale(at(slopes, axis * whole + here + z), -rates[axis], n)
        z, length = z + n, min(2 * length, CHUNK)


@part
def _scale(row, by, n):
    for z in range(n):
        row[z] *= by


@part
def _lean_plane(slope_x, slope_z, before, low, mid, high, shift_x, share_x, shift_z, share_z, x0, z0, one, n):
    """Add the derivative by both shares of the product of `before` and what `_carry_plane` makes."""
    apart()
    for z in range(n):
        near_x, near_z = shift_x[z] == x0, shift_z[z] == z0
        a, b, c = low[z], low[z + 1], low[z + 2]
        d, e, f = mid[z], mid[z + 1], mid[z + 2]
        g, h, i = high[z], high[z + 1], high[z + 2]
        low_0, low_1 = a if near_z else b, b if near_z else c
        mid_0, mid_1 = d if near_z else e, e if near_z else f
        high_0, high_1 = g if near_z else h, h if near_z else i
        first, second = low_0 if near_x else mid_0, low_1 if near_x else mid_1
        third, fourth = mid_0 if near_x else high_0, mid_1 if near_x else high_1
        x, y, value = share_x[z], share_z[z], before[z]
        slope_x[z] += value * ((one - y) * (third - first) + y * (fourth - second))
        slope_z[z] += value * ((one - x) * (second - first) + x * (fourth - third))


@part
def _carry_shifts_back(frame, before, adjoint, slopes, desk, plan, x, y, z, n, ranges, components, tilted):
    shifts, reals, chunks, _, zero, one, _ = desk
    nx, ny, _, rank, moved, _, _, boundary, _, row = plan
    x0, x1, y0, y1, z0, z1 = ranges
    whole, here, last = nx * ny * row, (x * ny + y) * row + z, rank - 1
    a, b, ab, sum_up = at(chunks, 0), at(chunks, CHUNK), at(chunks, 2 * CHUNK), at(chunks, 3 * CHUNK)
    to_x, to_y, dx, dy = (
        at(chunks, 4 * CHUNK),
        at(chunks, 5 * CHUNK),
        at(chunks, 6 * CHUNK),
        at(chunks, 7 * CHUNK),
    )
    along, share_along = at(shifts, last * row + z), at(reals, (3 + last) * row + z)
    for s in range(z0, z1 + 1):
        weight = at(chunks, (8 + s - z0) * CHUNK)
        _weigh(weight, along, share_along, s, zero, one, n)
        if tilted:
            _lean(at(weight, WIDE * CHUNK), along, s, zero, one, n)
    for i in range(x0, x1 + 1):
        if rank > 1:
            _weigh(a, at(shifts, z), at(reals, 3 * row + z), i, zero, one, n)
            if tilted:
                _lean(dx, at(shifts, z), i, zero, one, n)
        else:
            _fill(a, one, n)
        g = _beside(x, i, nx, boundary)
        for j in range(y0, y1 + 1):
            h = _beside(y, j, ny, boundary)
            if g == NOWHERE or h == NOWHERE:
                continue
            outer, by_x = a, dx
            if rank > 2:
                _weigh(b, at(shifts, row + z), at(reals, 4 * row + z), j, zero, one, n)
                _times(ab, a, b, n)
                outer, by_x = ab, to_x
                if tilted:
                    _lean(dy, at(shifts, row + z), j, zero, one, n)
                    _times(to_x, dx, b, n)
                    _times(to_y, a, dy, n)
            there = (g * ny + h) * row + z
            for s in range(z0, z1 + 1):
                weight = at(chunks, (8 + s - z0) * CHUNK)
                for c in range(components[0], components[1]):
                    target = at(adjoint, c * whole + there + s)
                    _add_weighted(target, outer, weight, at(before, c * whole + here), n)
                if not tilted:
                    continue
                _fill(sum_up, zero, n)
                for c in range(moved):
                    _add_times(sum_up, at(before, c * whole + here), at(frame, c * whole + there + s), n)
                _add_weighted(at(slopes, last * whole + here), outer, at(weight, WIDE * CHUNK), sum_up, n)
                if rank > 1:
                    _add_weighted(at(slopes, here), by_x, weight, sum_up, n)
                if rank > 2:
                    _add_weighted(at(slopes, whole + here), to_y, weight, sum_up, n)


@part
def _carry_cells_back(frame, before, adjoint, slopes, desk, plan, rates, x, y, start, n, components, tilted):
    _, _, _, _, zero, one, _ = desk
    nx, ny, _, rank, moved, _, _, _, _, row = plan
    whole = nx * ny * row
    i0, i1, j0, j1 = 0, 0, 0, 0
    a0, a1, b0, b1, x0, x1, y0, y1 = one, zero, one, zero, one, zero, one, zero
    for z in range(start, start + n):
        here = (x * ny + y) * row + z
        k0, k1, z0, z1, c0, c1 = _around(desk, plan, rates, x, y, z, rank - 1)
        if rank > 1:
            i0, i1, x0, x1, a0, a1 = _around(desk, plan, rates, x, y, z, 0)
        if rank > 2:
            j0, j1, y0, y1, b0, b1 = _around(desk, plan, rates, x, y, z, 1)
        for p in range(2 if rank > 1 else 1):
            i, a, dx = (i0, a0, -x0) if p == 0 else (i1, a1, x1)
            for q in range(2 if rank > 2 else 1):
                j, b, dy = (j0, b0, -y0) if q == 0 else (j1, b1, y1)
                there = (i * ny + j) * row
                for c in range(components[0], components[1]):
                    target, value = at(adjoint, c * whole + there), before[c * whole + here]
                    target[k0] += ((a * b) * c0) * value
                    target[k1] += ((a * b) * c1) * value
                if not tilted:
                    continue
                first, second = zero, zero
                for c in range(moved):
                    source, value = at(frame, c * whole + there), before[c * whole + here]
                    first += value * source[k0]
                    second += value * source[k1]
                slopes[(rank - 1) * whole + here] += (a * b) * (z1 * second - z0 * first)
                if rank > 1:
                    slopes[here] += (dx * b) * (c0 * first + c1 * second)
                if rank > 2:
                    slopes[whole + here] += (a * dy) * (c0 * first + c1 * second)


# -------------------------------------------------------------------------------------------- diffusion


@part
def _diffuse_line(out, own, faces, rate, n):
    apart()
    for z in range(n):
        q = own[z]
        change = faces[z + 1] * (own[z + 1] - q)
        out[z] = q + (change - faces[z] * (q - own[z - 1])) * rate


@part
def _diffuse_row(out, below, own, above, low, high, faces, rate_x, rate_z, n):
    apart()
    for z in range(n):
        q = own[z]
        across = high[z] * (above[z] - q)
        across = (across - low[z] * (q - below[z])) * rate_x
        along = faces[z + 1] * (own[z + 1] - q)
        along = (along - faces[z] * (q - own[z - 1])) * rate_z
        out[z] = q + (across + along)


@part
def _diffuse_inner_row(
    out, below, own, above, left, right, low, high, near, far, faces, rate_x, rate_y, rate_z, n
):
    apart()
    for z in range(n):
        q = own[z]
        across = high[z] * (above[z] - q)
        across = (across - low[z] * (q - below[z])) * rate_x
        aside = far[z] * (right[z] - q)
        aside = (aside - near[z] * (q - left[z])) * rate_y
        along = faces[z + 1] * (own[z + 1] - q)
        along = (along - faces[z] * (q - own[z - 1])) * rate_z
        out[z] = q + ((across + aside) + along)


@part
def _faces(faces, c, x, y, row):
    """The row of faces before the cells of that row."""
    address, components, planes, rows = faces
    plane = min(c, components - 1) * planes + min(x, planes - 1)
    return at(address, (plane * rows + min(y, rows - 1)) * row)


@part
def _plane(ring, g, nx):
    """The address of one of the planes, and how far apart its components are."""
    address, mask, planes_apart, components_apart = ring
    return at(address, (_within(g, nx) if mask < 0 else g & mask) * planes_apart), components_apart


@part
def _next_plane(ring, g, side, nx, boundary, nothing):
    """The plane before or after one; `nothing`: zeros for all components."""
    if boundary == PERIODIC or 0 <= g + side < nx:
        return _plane(ring, g + side, nx)
    if boundary == ZERO_GRADIENT:
        return _plane(ring, g, nx)
    return nothing, 0


@part
def _diffuse(out, ring, g, nothing, faces, rates, plan):
    """One substep of the plane g; out: its address, and how far apart the components are."""
    nx, ny, nz, rank, moved, _, _, boundary, _, row = plan
    made, made_apart = out
    own, own_apart = _plane(ring, g, nx)
    below, below_apart = _next_plane(ring, g, -1, nx, boundary, nothing)
    above, above_apart = _next_plane(ring, g, 1, nx, boundary, nothing)
    faces_x, faces_y, faces_z = faces
    x = _within(g, nx)
    for c in range(moved):
        for y in range(ny):
            q, into = at(own, c * own_apart + y * row), at(made, c * made_apart + y * row)
            along = _faces(faces_z, c, x, y, row)
            if rank == 1:
                _diffuse_line(into, q, along, rates[0], nz)
                continue
            b, a = at(below, c * below_apart + y * row), at(above, c * above_apart + y * row)
            low, high = _faces(faces_x, c, x, y, row), _faces(faces_x, c, x + 1, y, row)
            if rank == 2:
                _diffuse_row(into, b, q, a, low, high, along, rates[0], rates[1], nz)
                continue
            i, j = _beside(y, -1, ny, boundary), _beside(y, 1, ny, boundary)
            left = nothing if i == NOWHERE else at(own, c * own_apart + i * row)
            right = nothing if j == NOWHERE else at(own, c * own_apart + j * row)
            near, far = _faces(faces_y, c, x, y, row), _faces(faces_y, c, x, y + 1, row)
            _diffuse_inner_row(
                into, b, q, a, left, right, low, high, near, far, along, rates[0], rates[1], rates[2], nz
            )


@part
def _jumps(by, a, before_a, q, before_q, n):
    apart()
    for z in range(n):
        by[z] += (a[z] - before_a[z]) * (q[z] - before_q[z])


@part
def _add_jumps(adjoint, values, g, nothing, by, plan):
    """Add, for the faces before the cells of a plane, the jump of the adjoint times that of the value.

    `adjoint`, `values`: rings; `by`: as `faces`.
    """
    nx, ny, nz, rank, moved, _, _, boundary, _, row = plan
    by_x, by_y, by_z = by
    a, a_apart = _plane(adjoint, g, nx)
    q, q_apart = _plane(values, g, nx)
    low_a, low_a_apart = _next_plane(adjoint, g, -1, nx, boundary, nothing)
    low_q, low_q_apart = _next_plane(values, g, -1, nx, boundary, nothing)
    for c in range(moved):
        for y in range(ny):
            one, other = at(a, c * a_apart + y * row), at(q, c * q_apart + y * row)
            _jumps(_faces(by_z, c, g, y, row), one, at(one, -1), other, at(other, -1), nz + 1)
            if rank > 1:
                below, under = at(low_a, c * low_a_apart + y * row), at(low_q, c * low_q_apart + y * row)
                _jumps(_faces(by_x, c, g, y, row), one, below, other, under, nz)
                if g == nx - 1 and boundary == ZERO:
                    _jumps(_faces(by_x, c, nx, y, row), one, nothing, other, nothing, nz)
            if rank > 2:
                i = _beside(y, -1, ny, boundary)
                left = nothing if i == NOWHERE else at(a, c * a_apart + i * row)
                beside = nothing if i == NOWHERE else at(q, c * q_apart + i * row)
                _jumps(_faces(by_y, c, g, y, row), one, left, other, beside, nz)
                if y == ny - 1 and boundary == ZERO:
                    _jumps(_faces(by_y, c, g, ny, row), one, nothing, other, nothing, nz)


# ------------------------------------------------------------------------------------------------- steps


@part
def _reach(first, last, halo, plan):
    """The planes from first to last with `halo` more on both sides, as far as there are any."""
    nx, _, _, rank, _, _, _, boundary, _, _ = plan
    if rank == 1:
        return first, last
    if boundary == PERIODIC:
        return first - halo, last + halo
    return max(first - halo, 0), min(last + halo, nx)


@part
def _begin(out, frame, wind, desk, factor, push, rates, plan, nothing, g):
    """The plane g after advection and the push of a force, if there is one."""
    nx, ny, nz, _, moved, _, _, _, _, row = plan
    made, made_apart = out
    along, along_apart, along_row = wind
    pushes, pushed = push
    x = _within(g, nx)
    for y in range(ny):
        _find(desk, at(along, (x * ny + y) * along_row), along_apart, factor, rates, plan, x, y)
        _carry(at(made, y * row), made_apart, frame, desk, plan, rates, nothing, x, y)
        if pushed:
            for c in range(moved):
                _add(at(made, c * made_apart + y * row), at(pushes, ((c * nx + x) * ny + y) * nz), nz)


@part
def _pad_plane(of, plan, width, zero):
    _, ny, nz, _, moved, _, _, boundary, _, row = plan
    address, components_apart = of
    for c in range(moved):
        for y in range(ny):
            _pad(at(address, c * components_apart + y * row), nz, boundary, width, zero)


@part
def _stage(room, rings, stage, frame, plan):
    """The ring of a stage; of the first one, where nothing is carried, the frame itself.

    rings: by stage, the first plane in `room`, and how many are kept less one.
    """
    nx, ny, _, _, moved, first, _, _, _, row = plan
    if stage == 0 and first < 0:
        return frame, -1, ny * row, nx * ny * row
    begin = rings[2 * stage] * moved * ny * row + PAD
    return at(room, begin), rings[2 * stage + 1], moved * ny * row, ny * row


@part
def _step(
    frame, after, wind, desk, room, rings, nothing, factor, push, carry_rates, faces, rates, plan, planes
):
    """One step of some planes of one member."""
    nx, ny, _, _, _, wind_first, _, _, substeps, row = plan
    first, last = planes
    begin = 1 if wind_first < 0 else 0
    for t in range(first - substeps, last + substeps):
        for stage in range(begin, substeps + 1):
            g = t - stage
            low, high = _reach(first, last, substeps - stage, plan)
            if g < low or g >= high:
                continue
            done = stage == substeps
            out = (
                (at(after, g * ny * row), nx * ny * row)
                if done
                else _plane(_stage(room, rings, stage, frame, plan), g, nx)
            )
            if stage == 0:
                _begin(out, frame, wind, desk, factor, push, carry_rates, plan, nothing, g)
            else:
                _diffuse(out, _stage(room, rings, stage - 1, frame, plan), g, nothing, faces, rates, plan)
            _pad_plane(out, plan, PAD if done else 1, desk[4])


@part
def _wind(frame, initial, start, components_apart, plan):
    """Where the wind is: (address, how far apart its components and its rows are)."""
    nx, ny, nz, _, moved, first, _, _, _, row = plan
    if first >= moved:
        return at(initial, start + first * components_apart), components_apart, nz
    return at(frame, max(first, 0) * nx * ny * row), nx * ny * row, row


@part
def _load(frame, flat, start, components_apart, plan, planes, zero):
    """Some planes of a frame, from cells that lie one after the other."""
    nx, ny, nz, _, moved, _, _, boundary, _, row = plan
    for c in range(moved):
        for r in range(planes[0] * ny, planes[1] * ny):
            out = at(frame, (c * nx * ny + r) * row)
            _copy(out, at(flat, start + c * components_apart + r * nz), nz)
            _pad(out, nz, boundary, PAD, zero)


@part
def _desk(shifts, reals, plan):
    """The desk in memory whose last numbers are 0, 1, and `FAR`; positions are at its end."""
    row = plan[9]
    chunks = ON_DESK * row
    numbers = chunks + IN_CHUNKS * CHUNK
    return (
        at(shifts, 0), at(reals, 0), at(reals, chunks), at(reals, numbers + 16),
        reals[numbers], reals[numbers + 1], reals[numbers + 2],
    )  # fmt: skip


@part
def _addresses(faces):
    faces_x, faces_y, faces_z = faces
    return (
        (at(faces_x, PAD), faces_x.shape[0], faces_x.shape[1], faces_x.shape[2]),
        (at(faces_y, PAD), faces_y.shape[0], faces_y.shape[1], faces_y.shape[2]),
        (at(faces_z, PAD), faces_z.shape[0], faces_z.shape[1], faces_z.shape[2]),
    )


@compiled
def advance(
    store, memory, initial, initial_apart, load, trajectory, kept, factor, push, carry_rates, faces, rates,
    plan, members, times, planes,
):  # fmt: skip
    """Steps from the frames times[0] to times[1] - 1, each into the frame after it.

    Args:
        store: (members, frames, moved component, planes, rows, cells with pads).  The member m is at
            m - members[0], and the frame t at t, modulo how many there are.
        memory: to work in (`hyco.kernels.rollout`): shifts, desk, room, rings.
        initial: array whose cells lie one after the other, and how far apart members, components
            and frames are.
        load: whether the first frame is to be put into the store.
        trajectory: (batch, component, time, cells), filled from the second frame where `kept`.
        factor: (cells) of the wind, or empty.
        push: (moved component, cells), added after advection, or empty.
        carry_rates, rates: dt / dx, and dt / substeps / dx^2, by axis.
        faces: by axis, the coefficient of diffusion on the faces before each cell, and after the last,
            (components or 1, planes or 1, rows or 1, cells with pads).
        members, times, planes: from, to.
    """
    nx, ny, nz, _, moved, _, _, _, _, row = plan
    whole = nx * ny * row
    slots = store.shape[1]
    shifts, desk, room, rings = memory
    tools, coefficients = _desk(shifts, desk, plan), _addresses(faces)
    nothing, by_stage = at(room, PAD), at(rings, 0)
    member_apart, components_apart, _ = initial_apart
    for member in range(members[0], members[1]):
        origin = at(store, (member - members[0]) % store.shape[0] * slots * moved * whole + PAD)
        start = member * member_apart
        if load:
            _load(origin, at(initial, 0), start, components_apart, plan, planes, tools[4])
        for time in range(times[0], times[1]):
            frame = at(origin, time % slots * moved * whole)
            after = at(origin, (time + 1) % slots * moved * whole)
            wind = _wind(frame, at(initial, 0), start, components_apart, plan)
            _step(
                frame, after, wind, tools, at(room, 0), by_stage, nothing, at(factor, 0),
                (at(push, 0), push.size > 0), at(carry_rates, 0), coefficients, at(rates, 0), plan, planes,
            )  # fmt: skip
            if kept:
                _, length, frames, cells = trajectory.shape
                for c in range(moved):
                    out = at(trajectory, ((member * length + c) * frames + time + 1) * cells)
                    for r in range(planes[0] * ny, planes[1] * ny):
                        _copy(at(out, r * nz), at(after, c * whole + r * row), nz)


# ---------------------------------------------------------------------------------------------- adjoints


@part
def _error(out, errors, frame, target, scale, n):
    """A row's part of a loss: its squared errors, and the derivative by the row."""
    apart()
    for z in range(n):
        error = frame[z] - target[z]
        errors[z] += np.float64(error * error)
        out[z] = scale * error


@part
def _weighted_error(out, errors, frame, target, weight, scale, n):
    apart()
    for z in range(n):
        error = frame[z] - target[z]
        errors[z] += np.float64(weight[z] * (error * error))
        out[z] = (scale * weight[z]) * error


@part
def _sum(errors, n):
    """The sum of a row, which is then empty; sixteen partial sums, which a processor makes side by side."""
    whole = n // 16 * 16
    for z in range(16, whole, 16):
        for lane in range(16):
            errors[lane] += errors[z + lane]
    total = 0.0
    for z in range(min(16, n)):
        total += errors[z]
    for z in range(max(whole, 16), n):
        total += errors[z]
    for z in range(n):
        errors[z] = 0.0
    return total


@part
def _begin_adjoint(out, frame, given, errors, losses, time, desk, plan, planes):
    """The derivative by the frame itself, of some planes, with nothing beyond the ends of the rows."""
    nx, ny, nz, _, moved, _, _, _, _, row = plan
    compared, address, components_apart, weights, weighted, scale = given
    zero = desk[4]
    for x in range(planes[0], planes[1]):
        for y in range(ny):
            r = x * ny + y
            for c in range(moved):
                into = at(out, (c * nx * ny + r) * row)
                source = at(address, c * components_apart + r * nz)
                if not compared:
                    _copy(into, source, nz)
                elif time == 0:
                    _fill(into, zero, nz)
                elif weighted:
                    own = at(frame, (c * nx * ny + r) * row)
                    _weighted_error(into, errors, own, source, at(weights, r * nz), scale, nz)
                else:
                    _error(into, errors, at(frame, (c * nx * ny + r) * row), source, scale, nz)
                _pad(into, nz, ZERO, PAD, zero)
        if compared and time > 0:
            losses[x] = _sum(errors, nz)


@part
def _undo_diffusion(
    frame, after, before, wind, desk, room, rings, nothing, factor, push, carry_rates, faces, rates, by,
    plan, planes, wanted,
):  # fmt: skip
    """The adjoint of the substeps, from that after the step to that before them, of some planes.

    Diffusion with fixed faces is its own adjoint.  Where `wanted`, adds to what the faces gain
    (`_add_jumps`), for which the states between the substeps are made once more.
    """
    nx, ny, _, _, _, wind_first, _, _, substeps, row = plan
    first, last = planes
    begin = 1 if wind_first < 0 else 0
    back, whole = 2 * (substeps - 1), nx * ny * row
    for t in range(first - substeps, last + back + 1):
        if wanted:
            for stage in range(begin, substeps):
                g = t - stage
                low, high = _reach(first, last, substeps - stage, plan)
                if g < low or g >= high:
                    continue
                out = _plane(_stage(room, rings, stage, frame, plan), g, nx)
                if stage == 0:
                    _begin(out, frame, wind, desk, factor, push, carry_rates, plan, nothing, g)
                else:
                    _diffuse(out, _stage(room, rings, stage - 1, frame, plan), g, nothing, faces, rates, plan)
                _pad_plane(out, plan, 1, desk[4])
        for stage in range(substeps - 1, -1, -1):
            g = t - back + stage
            low, high = _reach(first, last, stage, plan)
            if g < low or g >= high:
                continue
            given = after, -1, ny * row, whole
            if stage < substeps - 1:
                given = _stage(room, rings, substeps + stage + 1, frame, plan)
            if wanted and first <= g < last:
                _add_jumps(given, _stage(room, rings, stage, frame, plan), g, nothing, by, plan)
            if stage == 0:
                out = at(before, g * ny * row), whole
            else:
                out = _plane(_stage(room, rings, substeps + stage, frame, plan), g, nx)
            _diffuse(out, given, g, nothing, faces, rates, plan)
            _pad_plane(out, plan, 1, desk[4])


@part
def _pad_all(frame, plan, planes, zero):
    nx, ny, _, _, _, _, _, _, _, row = plan
    for x in range(planes[0], planes[1]):
        _pad_plane((at(frame, x * ny * row), nx * ny * row), plan, 1, zero)


@part
def _together(
    adjoint, before, slopes, wind, factor, by_factor, by_wind, wind_apart, zero, plan, planes, wants
):
    """The adjoint of a frame from its parts, for some planes."""
    nx, ny, nz, rank, moved, first, scaled, boundary, _, row = plan
    tilted, wants_factor, wants_wind = wants
    along, along_apart, along_row = wind
    whole = nx * ny * row
    for r in range(planes[0] * ny, planes[1] * ny):
        for c in range(moved):
            own = at(adjoint, c * whole + r * row)
            if first < 0:
                _add(own, at(before, c * whole + r * row), nz)
            else:
                _fold(own, nz, boundary)
        if tilted:
            for axis in range(rank):
                slope, c = at(slopes, axis * whole + r * row), first + axis
                if scaled:
                    if wants_factor:
                        _add_times(
                            at(by_factor, r * nz), slope, at(along, axis * along_apart + r * along_row), nz
                        )
                    _scale_by(slope, at(factor, r * nz), nz)
                if first < moved:
                    _add(at(adjoint, c * whole + r * row), slope, nz)
                elif wants_wind:
                    _add(at(by_wind, axis * wind_apart + r * nz), slope, nz)
    _pad_all(adjoint, plan, planes, zero)


@part
def _scale_by(row, by, n):
    apart()
    for z in range(n):
        row[z] *= by[z]


@compiled
def undo(
    store, frames, memory, errors, initial, initial_apart, loaded, given, given_apart, weights, weights_apart,
    compared, scale, factor, push, carry_rates, faces, rates, plan, by_initial, by_factor, by_faces, by_push,
    losses, wants, stages, members, times, planes, components,
):  # fmt: skip
    """The adjoints of frames and parameters, from the frame times[1] - 1 back to times[0].

    Args:
        store, memory, initial, initial_apart, factor, push, carry_rates, faces, rates, plan, members, planes:
            as for `advance`.
        frames: two adjoints, one after the other; the adjoint after advection; the slopes by the winds:
            (2 moved + moved + rank, planes, rows, cells with pads).
        errors: (cells) of a row, empty, in double precision.
        loaded: whether the store is to be filled from `initial`, of which all frames are there then, and
            initial_apart has how far apart they are as well.
        given: array whose cells lie one after the other, and with given_apart, which has where it begins, and
            how far members, components and frames are apart: the gradient by every frame; or, where
            `compared`, what the frames are compared with from the second one on.
        weights, weights_apart: of the entries, without components, or empty.
        scale: what the gradient by a frame is, in units of (weight times) error.
        by_initial: (batch, component, cells), what the initial states gain, or empty.
        by_factor, by_faces: to which is added what the wind's factor gains, (cells), and what the faces do,
            of their shapes, before `rates`; or empty.
        by_push: to which is added what the push gains, (moved component, cells), or empty.
        losses: (batch, frames, planes), sums of (weighted) squares of errors.
        wants: whether the gradients by (initial state, factor, faces, push) are wanted.
        stages: which of GIVEN, DIFFUSION, SLOPES and SCATTER, TOGETHER; each needs all planes of the last.
        components: which of them `SCATTER` is for, from, to.
    """
    nx, ny, nz, _, moved, first, _, _, substeps, row = plan
    whole, slots, last = nx * ny * row, store.shape[1], losses.shape[1] - 1
    wants_initial, wants_factor, wants_faces, wants_push = wants
    shifts, desk, room, rings = memory
    tools, coefficients, by = _desk(shifts, desk, plan), _addresses(faces), _addresses(by_faces)
    nothing = at(room, PAD)
    slopes = at(frames, 3 * moved * whole + PAD)
    for member in range(members[0], members[1]):
        origin = at(store, (member - members[0]) % store.shape[0] * slots * moved * whole + PAD)
        start = member * initial_apart[0]
        for time in range(times[1] - 1, times[0] - 1, -1):
            back = time > 0 or wants_initial
            tilted = first >= 0 and (wants_factor or (back and (first < moved or wants_initial)))
            frame = at(origin, time % slots * moved * whole)
            adjoint = at(frames, time % 2 * moved * whole + PAD)
            after = at(frames, (time + 1) % 2 * moved * whole + PAD)
            before = at(frames, 2 * moved * whole + PAD) if substeps > 0 else after
            wind = _wind(frame, at(initial, 0), start, initial_apart[1], plan)
            if stages & GIVEN:
                if loaded and time < last:
                    from_time = start + time * initial_apart[2]
                    _load(frame, at(initial, 0), from_time, initial_apart[1], plan, planes, tools[4])
                begin = given_apart[0] + member * given_apart[1] + time * given_apart[3]
                weight = weights_apart[0] + member * weights_apart[1] + time * weights_apart[2]
                described = (
                    compared,
                    at(given, begin),
                    given_apart[2],
                    at(weights, weight),
                    weights.size > 0,
                    scale,
                )
                sums = at(losses, (member * (last + 1) + time) * nx)
                _begin_adjoint(adjoint, frame, described, at(errors, 0), sums, time, tools, plan, planes)
                if wants_initial:
                    for c in range(moved, by_initial.shape[1]):
                        into = at(by_initial, (member * by_initial.shape[1] + c) * nx * ny * nz)
                        source = at(given, begin + c * given_apart[2])
                        for r in range(planes[0] * ny, planes[1] * ny):
                            _add(at(into, r * nz), at(source, r * nz), nz)
            needed = wants_faces or wants_push or back or tilted
            if stages & DIFFUSION and time < last and substeps > 0 and needed:
                _undo_diffusion(
                    frame, after, before, wind, tools, at(room, 0), at(rings, 0), nothing, at(factor, 0),
                    (at(push, 0), push.size > 0), at(carry_rates, 0), coefficients, at(rates, 0), by, plan,
                    planes, wants_faces,
                )  # fmt: skip
            if stages & SLOPES and time < last and wants_push:
                for c in range(moved):
                    for r in range(planes[0] * ny, planes[1] * ny):
                        into = at(by_push, (c * nx * ny + r) * nz)
                        _add(into, at(before, c * whole + r * row), nz)
            tilts, scatters = tilted and stages & SLOPES > 0, back and first >= 0 and stages & SCATTER > 0
            if time < last and (tilts or scatters):
                along, along_apart, along_row = wind
                for x in range(planes[0], planes[1]):
                    for y in range(ny):
                        here = at(along, (x * ny + y) * along_row)
                        _find(tools, here, along_apart, at(factor, 0), at(carry_rates, 0), plan, x, y)
                        _carry_back(
                            frame, before, adjoint, slopes, tools, plan, at(carry_rates, 0), nothing, x, y,
                            components if scatters else (0, 0), tilts,
                        )  # fmt: skip
            if stages & TOGETHER:
                static = at(by_initial, (member * by_initial.shape[1] + first) * nx * ny * nz)
                if time < last and (back or tilted):
                    _together(
                        adjoint, before, slopes, wind, at(factor, 0), at(by_factor, 0), static, nx * ny * nz,
                        tools[4], plan, planes, (tilted, wants_factor, wants_initial),
                    )  # fmt: skip
                else:
                    _pad_all(adjoint, plan, planes, tools[4])
                if time == 0 and wants_initial:
                    for c in range(moved):
                        into = at(by_initial, (member * by_initial.shape[1] + c) * nx * ny * nz)
                        for r in range(planes[0] * ny, planes[1] * ny):
                            _copy(at(into, r * nz), at(adjoint, c * whole + r * row), nz)


# --------------------------------------------------------------------------------------------- gradients


@part
def _neighbours(potential, x, y, axis, plan):
    """The rows above and below one along an axis that is not the last: where they begin."""
    nx, ny, nz, _, _, _, _, boundary, _, _ = plan
    outside = PERIODIC if boundary == PERIODIC else ZERO_GRADIENT
    if axis == 0:
        high, low = _beside(x, 1, nx, outside) * ny + y, _beside(x, -1, nx, outside) * ny + y
    else:
        high, low = x * ny + _beside(y, 1, ny, outside), x * ny + _beside(y, -1, ny, outside)
    return at(potential, high * nz), at(potential, low * nz)


@part
def _ends(n, boundary):
    """Which cell of a row stands before its first, and which one after its last."""
    return (n - 1, 0) if boundary == PERIODIC else (0, n - 1)


@part
def _push_row(out, high, low, width, dt, n):
    apart()
    for z in range(n):
        out[z] = -(dt * ((high[z] - low[z]) / width))


@compiled
def incline(potential, widths, dt, plan, out):
    """What the force of a potential adds in a step, by central differences: -dt (p_{i+1} - p_{i-1}) / (2 dx).

    Beyond the ends a periodic potential repeats; any other one keeps its last value.

    Args:
        potential: one value per cell.
        widths: 2 dx by axis, of the type of the values.
        out: (axis, cells), to be filled.
    """
    nx, ny, nz, rank, _, _, _, boundary, _, _ = plan
    before, after = _ends(nz, boundary)
    for x in range(nx):
        for y in range(ny):
            r = x * ny + y
            for axis in range(rank - 1):
                high, low = _neighbours(potential, x, y, axis, plan)
                _push_row(at(out, (axis * nx * ny + r) * nz), high, low, widths[axis], dt, nz)
            width, into, own = (
                widths[rank - 1],
                at(out, ((rank - 1) * nx * ny + r) * nz),
                at(potential, r * nz),
            )
            if nz > 2:
                _push_row(at(into, 1), at(own, 2), own, width, dt, nz - 2)
            for z in (0, nz - 1):
                high, low = own[z + 1 if z < nz - 1 else after], own[z - 1 if z > 0 else before]
                into[z] = -(dt * ((high - low) / width))


@part
def _pull_row(high, low, by, width, dt, n):
    for z in range(n):
        share = dt * by[z] / width
        high[z] -= share
        low[z] += share


@compiled
def undo_incline(by_push, widths, dt, plan, out):
    """The gradient by a potential from that by the pushes, (axis, cells): the adjoint of `incline`.

    Args:
        out: (cells), zeros.
    """
    nx, ny, nz, rank, _, _, _, boundary, _, _ = plan
    before, after = _ends(nz, boundary)
    for x in range(nx):
        for y in range(ny):
            r = x * ny + y
            for axis in range(rank - 1):
                high, low = _neighbours(out, x, y, axis, plan)
                _pull_row(high, low, at(by_push, (axis * nx * ny + r) * nz), widths[axis], dt, nz)
            width, by, own = widths[rank - 1], at(by_push, ((rank - 1) * nx * ny + r) * nz), at(out, r * nz)
            for z in range(nz):
                share = dt * by[z] / width
                own[z + 1 if z < nz - 1 else after] -= share
                own[z - 1 if z > 0 else before] += share


# ------------------------------------------------------------------------------------------ coefficients


@part
def _smaller(out, a, b, n):
    apart()
    for z in range(n):
        out[z] = a[z] if a[z] < b[z] else b[z]


@part
def _coefficient_row(cells, x, y, plan):
    return at(cells, (x * plan[1] + y) * plan[9])


@compiled
def spread(coefficient, cells, faces, plan):
    """The coefficient on every face: the smaller one of the cells on both sides, beyond an end the last one.

    Args:
        coefficient: one value per cell.
        cells: (planes, rows, cells with pads), for the same values.
        faces: by axis, to be filled.
    """
    nx, ny, nz, rank, _, _, _, boundary, _, row = plan
    outside = PERIODIC if boundary == PERIODIC else ZERO_GRADIENT
    values, (faces_x, faces_y, faces_z) = at(cells, PAD), _addresses(faces)
    for r in range(nx * ny):
        _copy(at(values, r * row), at(coefficient, r * nz), nz)
        _pad(at(values, r * row), nz, outside, 1, coefficient[0])
    for x in range(nx):
        for y in range(ny):
            own = _coefficient_row(values, x, y, plan)
            _smaller(_faces(faces_z, 0, x, y, row), at(own, -1), own, nz + 1)
            if rank > 1:
                low = _coefficient_row(values, _beside(x, -1, nx, outside), y, plan)
                _smaller(_faces(faces_x, 0, x, y, row), low, own, nz)
                if x == nx - 1:
                    high = _coefficient_row(values, _beside(x, 1, nx, outside), y, plan)
                    _smaller(_faces(faces_x, 0, nx, y, row), own, high, nz)
            if rank > 2:
                low = _coefficient_row(values, x, _beside(y, -1, ny, outside), plan)
                _smaller(_faces(faces_y, 0, x, y, row), low, own, nz)
                if y == ny - 1:
                    high = _coefficient_row(values, x, _beside(y, 1, ny, outside), plan)
                    _smaller(_faces(faces_y, 0, x, ny, row), own, high, nz)


@part
def _gain(out, own, other, by, whole, rate, zero, half, one, n):
    """Add what a face gains to the cell beside it if that is the smaller one, at ties half of it.

    `whole`: this cell stands on both sides of the face.
    """
    apart()
    for z in range(n):
        share = half if own[z] == other[z] else zero
        share = one if own[z] < other[z] or whole else share
        out[z] -= share * by[z] * rate


@compiled
def collect(cells, by_faces, rates, plan, out):
    """The gradient by the coefficient in every cell, from that by the faces: the adjoint of `spread`.

    Args:
        cells: as `spread` left them.
        by_faces: by axis, what the faces gained: (groups, components, planes, rows, cells with pads).
        out: (cells), zeros.
    """
    nx, ny, nz, rank, _, _, _, boundary, _, row = plan
    values = at(cells, PAD)
    zero, one = out.dtype.type(0), out.dtype.type(1)
    half = one / (one + one)
    around = boundary == PERIODIC
    outside = PERIODIC if around else ZERO_GRADIENT
    by_x, by_y, by_z = by_faces
    for group in range(by_z.shape[0]):
        faces = _addresses((by_x[group], by_y[group], by_z[group]))
        for x in range(nx):
            for y in range(ny):
                own, made = _coefficient_row(values, x, y, plan), at(out, (x * ny + y) * nz)
                along = _faces(faces[2], 0, x, y, row)
                rate = rates[rank - 1]
                if around:
                    along[nz] = along[0]
                _gain(made, own, at(own, -1), along, False, rate, zero, half, one, nz)
                _gain(made, own, at(own, 1), at(along, 1), False, rate, zero, half, one, nz)
                if not around:  # of the outer faces a half is there already
                    made[0] -= half * along[0] * rate
                    made[nz - 1] -= half * along[nz] * rate
                for axis in range(rank - 1):
                    here, count = (x, nx) if axis == 0 else (y, ny)
                    for side in range(2):
                        end = not around and here == (count - 1 if side else 0)
                        there = _beside(here, 1 if side else -1, count, outside)
                        face = (there if around else here + 1) if side else here
                        if axis == 0:
                            other, by = (
                                _coefficient_row(values, there, y, plan),
                                _faces(faces[0], 0, face, y, row),
                            )
                        else:
                            other, by = (
                                _coefficient_row(values, x, there, plan),
                                _faces(faces[1], 0, x, face, row),
                            )
                        _gain(made, own, other, by, end, rates[axis], zero, half, one, nz)


announce()
