"""The fused kernels for CUDA, in Triton; `hyco.kernels.cuda` launches them.

One launch is one stage of a step on all cells of all members.  Grids have three axes here, of which the first
ones may be one cell long: N0 x N1 x N2.  What is read and written is addressed by a memory, its strides by
member and by component, and where it starts, so that a frame of a trajectory needs no copy.  Arguments in
capitals are settled when a kernel is compiled, anew for each of their values.

Arithmetic is that of `hyco.legacy.stencils`, operation by operation; launched with `enable_fp_fusion=False`,
which keeps products and sums apart, results are the same to the last bit.  Rates are read from memory, since
Triton rounds the real numbers among the arguments of a launch to float32.
"""
# ruff: noqa: N803, N806
# mypy: allow-untyped-decorators, allow-incomplete-defs

from __future__ import annotations

try:
    import triton.language as tl
    from triton import jit
except ImportError:  # then nothing here can be launched, only read

    def jit(function):
        return function

else:
    FAR = tl.constexpr(1.0e9)  # cells; departure points beyond are as good as this far, and fit an integer


@jit
def _share_of(batch, groups, CELLS: tl.constexpr, BLOCK: tl.constexpr):
    """This program's cells, its group of members, the first of them, and how many they are."""
    blocks = (CELLS + BLOCK - 1) // BLOCK
    program = tl.program_id(0)
    group = program // blocks
    first = batch * group // groups
    count = batch * (group + 1) // groups - first
    return (program % blocks) * BLOCK + tl.arange(0, BLOCK), group, first.to(tl.int64), count


# ------------------------------------------------------------------------------------------------ advection


@jit
def _wind(source, field, factor, i, mask, axis: tl.constexpr, FACTOR: tl.constexpr):
    """Velocity along one axis, and what it is multiplied by; FACTOR: nothing, number, or field."""
    velocity = tl.load(source + axis * field + i, mask=mask, other=0.0)
    scale = velocity
    if FACTOR == "number":
        scale = tl.load(factor + i * 0, mask=mask, other=0.0)
    if FACTOR == "field":
        scale = tl.load(factor + i, mask=mask, other=0.0)
    return velocity, scale


@jit
def _departure(source, field, factor, rate, i, at, mask, axis: tl.constexpr, FACTOR: tl.constexpr):
    """The cell below each departure point along one axis, and the share of the cell above it."""
    wind, scale = _wind(source, field, factor, i, mask, axis, FACTOR)
    if FACTOR != "nothing":
        wind = scale * wind
    point = at.to(wind.dtype) - wind * rate
    below = tl.floor(point)
    share = point - below
    # comparisons this way round send NaN to a number, and its share stays NaN
    below = tl.where(below > -FAR, below, -FAR)
    below = tl.where(below < FAR, below, FAR)
    return below.to(tl.int32), share


@jit
def _departures(
    source, field, factor, rates, i, mask, WIND: tl.constexpr, FACTOR: tl.constexpr, N1: tl.constexpr,
    N2: tl.constexpr, RANK: tl.constexpr,
):  # fmt: skip
    """The same along all axes; of those that a grid does not have, the last one's."""
    LAST: tl.constexpr = WIND + RANK - 1
    kz, wz = _departure(source, field, factor, tl.load(rates + RANK - 1), i, i % N2, mask, LAST, FACTOR)
    ky, wy, kx, wx = kz, wz, kz, wz
    if RANK > 1:
        y = i // N2 % N1
        ky, wy = _departure(source, field, factor, tl.load(rates + RANK - 2), i, y, mask, LAST - 1, FACTOR)
    if RANK > 2:
        kx, wx = _departure(source, field, factor, tl.load(rates), i, i // (N1 * N2), mask, WIND, FACTOR)
    return kx, wx, ky, wy, kz, wz


@jit
def _side(below, share, SIDE: tl.constexpr, N: tl.constexpr, BOUNDARY: tl.constexpr):
    """One of the two cells along an axis, its weight, and the derivative of that by the share."""
    slope = tl.full(share.shape, 2 * SIDE - 1, share.dtype)
    weight = share if SIDE else 1.0 - share
    cell = below + SIDE
    if BOUNDARY == "periodic":
        cell = cell % N
        cell = tl.where(cell < 0, cell + N, cell)
    else:
        inside = tl.minimum(tl.maximum(cell, 0), N - 1)
        if BOUNDARY == "zero":
            weight = weight * (inside == cell).to(share.dtype)
            slope = slope * (inside == cell).to(share.dtype)
        cell = inside
    return cell, weight, slope


@jit
def _corner(
    kx, wx, ky, wy, kz, wz, CORNER: tl.constexpr, N0: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr,
    RANK: tl.constexpr, BOUNDARY: tl.constexpr,
):  # fmt: skip
    """One of the 2^RANK cells around each departure point, its weight, and its derivatives by the shares."""
    index, weight, by_z = _side(kz, wz, CORNER % 2, N2, BOUNDARY)
    by_x, by_y = by_z, by_z
    if RANK > 1:
        y, of_y, by_y = _side(ky, wy, CORNER // 2 % 2, N1, BOUNDARY)
        index = y * N2 + index
        of_z = weight
        weight = of_y * of_z
        by_y = by_y * of_z
        by_z = of_y * by_z
        if RANK > 2:
            x, of_x, by_x = _side(kx, wx, CORNER // 4, N0, BOUNDARY)
            index = x * (N1 * N2) + index
            by_x = by_x * weight
            by_y = of_x * by_y
            by_z = of_x * by_z
            weight = (of_x * of_y) * of_z
    return index, weight, by_x, by_y, by_z


@jit
def advect(
    source, source_batch, source_field, source_start, target, target_batch, target_field, target_start,
    factor, rates, batch,
    WIND: tl.constexpr, FACTOR: tl.constexpr, N0: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr,
    RANK: tl.constexpr, MOVED: tl.constexpr, BOUNDARY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """What is moved takes the values at the departure points of its cells.

    Args:
        factor: of the wind: one number, one per cell, or anything where FACTOR is `nothing`.
        rates: dt / dx, by axis.
        WIND: the first component of the velocity.
    """
    i, _, member, _ = _share_of(batch, batch, N0 * N1 * N2, BLOCK)
    mask = i < N0 * N1 * N2
    source += source_start + member * source_batch
    target += target_start + member * target_batch
    kx, wx, ky, wy, kz, wz = _departures(
        source, source_field, factor, rates, i, mask, WIND, FACTOR, N1, N2, RANK
    )
    for c in tl.static_range(MOVED):
        total = tl.zeros([BLOCK], wz.dtype)
        for corner in tl.static_range(2**RANK):
            index, weight, _, _, _ = _corner(kx, wx, ky, wy, kz, wz, corner, N0, N1, N2, RANK, BOUNDARY)
            total += weight * tl.load(source + c * source_field + index, mask=mask, other=0.0)
        tl.store(target + c * target_field + i, total, mask=mask)


@jit
def _by_wind(
    slope, source, source_field, adjoint, adjoint_field, factor, i, mask, AXIS: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """Add the derivative by the wind along one axis to the adjoint; returns that by the wind's factor."""
    velocity, scale = _wind(source, source_field, factor, i, mask, AXIS, FACTOR)
    by_velocity = slope
    if FACTOR != "nothing":
        by_velocity = scale * slope
    tl.atomic_add(adjoint + AXIS * adjoint_field + i, by_velocity, mask=mask, sem="relaxed")
    return velocity * slope


@jit
def undo_advect(
    source, source_batch, source_field, source_start, before, before_batch, before_field, before_start,
    adjoint, adjoint_batch, adjoint_field, adjoint_start, factor, by_factor, rates, batch, groups,
    WIND: tl.constexpr, FACTOR: tl.constexpr, WANTED: tl.constexpr, N0: tl.constexpr, N1: tl.constexpr,
    N2: tl.constexpr, RANK: tl.constexpr, MOVED: tl.constexpr, BOUNDARY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to the adjoint of a frame what advection hands back, by its values and by its wind.

    Where departure points come together cells receive several values, in no order: atomically.

    Args:
        source: the frame.
        before: the adjoint after advection.
        by_factor: (group, cell), the gradient by the factor, to which is added where WANTED; a program has a
            group of members, so that nothing else adds to its entries.
    """
    i, group, member, count = _share_of(batch, groups, N0 * N1 * N2, BLOCK)
    mask = i < N0 * N1 * N2
    rate_x, rate_y, rate_z = tl.load(rates), tl.load(rates + (RANK - 1) // 2), tl.load(rates + RANK - 1)
    source += source_start + member * source_batch
    before += before_start + member * before_batch
    adjoint += adjoint_start + member * adjoint_batch
    by = tl.zeros([BLOCK], source.dtype.element_ty)
    for _ in range(count):
        kx, wx, ky, wy, kz, wz = _departures(
            source, source_field, factor, rates, i, mask, WIND, FACTOR, N1, N2, RANK
        )
        slope_x = tl.zeros([BLOCK], wz.dtype)
        slope_y = tl.zeros([BLOCK], wz.dtype)
        slope_z = tl.zeros([BLOCK], wz.dtype)
        for corner in tl.static_range(2**RANK):
            index, weight, by_x, by_y, by_z = _corner(
                kx, wx, ky, wy, kz, wz, corner, N0, N1, N2, RANK, BOUNDARY
            )
            around = tl.zeros([BLOCK], wz.dtype)
            for c in tl.static_range(MOVED):
                given = tl.load(before + c * before_field + i, mask=mask, other=0.0)
                around += given * tl.load(source + c * source_field + index, mask=mask, other=0.0)
                tl.atomic_add(adjoint + c * adjoint_field + index, weight * given, mask=mask, sem="relaxed")
            slope_x += around * by_x
            slope_y += around * by_y
            slope_z += around * by_z
        LAST: tl.constexpr = WIND + RANK - 1
        by += _by_wind(
            -rate_z * slope_z, source, source_field, adjoint, adjoint_field, factor, i, mask, LAST, FACTOR
        )
        if RANK > 1:
            by += _by_wind(
                -rate_y * slope_y, source, source_field, adjoint, adjoint_field, factor, i, mask, LAST - 1,
                FACTOR,
            )  # fmt: skip
        if RANK > 2:
            by += _by_wind(
                -rate_x * slope_x, source, source_field, adjoint, adjoint_field, factor, i, mask, WIND, FACTOR
            )
        source += source_batch
        before += before_batch
        adjoint += adjoint_batch
    if WANTED:
        at = by_factor + group.to(tl.int64) * (N0 * N1 * N2) + i
        tl.store(at, tl.load(at, mask=mask, other=0.0) + by, mask=mask)


# ------------------------------------------------------------------------------------------------ diffusion


@jit
def _face(
    source, own, values, value, coefficient, here, i, at, mask, STEP: tl.constexpr, N: tl.constexpr,
    STRIDE: tl.constexpr, FIELD: tl.constexpr, WANTED: tl.constexpr, BOUNDARY: tl.constexpr,
):  # fmt: skip
    """What comes in through the face to the next cell; where WANTED, this cell's part of its gradient too.

    The gradient by the coefficient on a face belongs to the smaller of its two cells, at ties half to each.
    """
    edge = at == (N - 1 if STEP > 0 else 0)
    beside = tl.where(edge, i - STEP * (N - 1) * STRIDE if BOUNDARY == "periodic" else i, i + STEP * STRIDE)
    there = mask
    if BOUNDARY == "zero":
        there = mask & (edge == 0)
    jump = tl.load(source + beside, mask=there, other=0.0) - own
    face = here
    if FIELD:
        other = tl.load(coefficient + beside, mask=mask, other=0.0)
        face = tl.where((here < other) | (here != here), here, other)  # NaN stays
    by = jump
    if WANTED:
        whole = jump * (tl.load(values + beside, mask=there, other=0.0) - value)
        by = whole * 0.5
        if FIELD:
            by = tl.where(here < other, whole, tl.where(here == other, by, 0.0))
        if BOUNDARY == "zero":
            by = tl.where(edge, whole, by)
    return face * jump, by


@jit
def _across(
    source, own, values, value, coefficient, here, rate, i, at, mask, N: tl.constexpr, STRIDE: tl.constexpr,
    FIELD: tl.constexpr, WANTED: tl.constexpr, BOUNDARY: tl.constexpr,
):  # fmt: skip
    """What comes in along one axis, and the gradient by the coefficient."""
    up, by_up = _face(
        source, own, values, value, coefficient, here, i, at, mask, 1, N, STRIDE, FIELD, WANTED, BOUNDARY
    )
    down, by_down = _face(
        source, own, values, value, coefficient, here, i, at, mask, -1, N, STRIDE, FIELD, WANTED, BOUNDARY
    )
    return (up + down) * rate, (by_up + by_down) * rate


@jit
def diffuse(
    source, source_batch, source_field, source_start, target, target_batch, target_field, target_start,
    values, values_batch, values_field, values_start, coefficient, by_coefficient, rates, batch, groups,
    FIELD: tl.constexpr, WANTED: tl.constexpr, N0: tl.constexpr, N1: tl.constexpr, N2: tl.constexpr,
    RANK: tl.constexpr, MOVED: tl.constexpr, BOUNDARY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One substep, of what is moved or of its adjoint: it is its own adjoint.

    Args:
        coefficient: one number, or where FIELD one per cell.
        rates: dt / substeps / dx^2, by axis.
        values: what the substep began with, where the gradient by the coefficient is WANTED.
        by_coefficient: (group, cell), that gradient, to which is added; a program has a group of members, so
            that nothing else adds to its entries.
    """
    i, group, member, count = _share_of(batch, groups, N0 * N1 * N2, BLOCK)
    mask = i < N0 * N1 * N2
    here = tl.load(coefficient + (i if FIELD else i * 0), mask=mask, other=0.0)
    rate_x, rate_y, rate_z = tl.load(rates), tl.load(rates + (RANK - 1) // 2), tl.load(rates + RANK - 1)
    x, y, z = i // (N1 * N2), i // N2 % N1, i % N2
    source += source_start + member * source_batch
    target += target_start + member * target_batch
    values += values_start + member * values_batch
    total = tl.zeros([BLOCK], source.dtype.element_ty)
    for _ in range(count):
        for c in tl.static_range(MOVED):
            now = source + c * source_field
            was = values + c * values_field
            own = tl.load(now + i, mask=mask, other=0.0)
            value = own
            if WANTED:
                value = tl.load(was + i, mask=mask, other=0.0)
            change, by = _across(
                now, own, was, value, coefficient, here, rate_z, i, z, mask, N2, 1, FIELD, WANTED, BOUNDARY
            )
            if RANK > 1:
                aside, by_aside = _across(
                    now, own, was, value, coefficient, here, rate_y, i, y, mask, N1, N2, FIELD, WANTED,
                    BOUNDARY,
                )  # fmt: skip
                by += by_aside
                if RANK > 2:
                    across, by_across = _across(
                        now, own, was, value, coefficient, here, rate_x, i, x, mask, N0, N1 * N2, FIELD,
                        WANTED, BOUNDARY,
                    )  # fmt: skip
                    by += by_across
                    aside = across + aside
                change = aside + change
            tl.store(target + c * target_field + i, own + change, mask=mask)
            if WANTED:
                total -= by
        source += source_batch
        target += target_batch
        values += values_batch
    if WANTED:
        at = by_coefficient + group.to(tl.int64) * (N0 * N1 * N2) + i
        tl.store(at, tl.load(at, mask=mask, other=0.0) + total, mask=mask)
