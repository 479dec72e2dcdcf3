"""Adam (Kingma and Ba 2015), in place.

``numbers``, on the device: learning rate, 1 - beta1^t, 1 - beta2^t, beta1, beta2 and epsilon.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["count"])
def adam_program(parameter, moments, gradient, numbers, decay, count, BLOCK: tl.constexpr):
    """One step of everything that is not a row of features."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = place < count
    rate, correction1 = tl.load(numbers), tl.load(numbers + 1)
    correction2, epsilon = tl.load(numbers + 2), tl.load(numbers + 5)
    beta1, beta2 = tl.load(numbers + 3), tl.load(numbers + 4)
    value = tl.load(parameter + place, mask=mask, other=0.0)
    slope = tl.load(gradient + place, mask=mask, other=0.0) + decay * value
    first = tl.load(moments[0] + place, mask=mask, other=0.0)
    second = tl.load(moments[1] + place, mask=mask, other=0.0)
    first = beta1 * first + (1.0 - beta1) * slope
    second = beta2 * second + (1.0 - beta2) * slope * slope
    change = first / correction1 / (tl.sqrt(second / correction2) + epsilon)
    tl.store(moments[0] + place, first, mask=mask)
    tl.store(moments[1] + place, second, mask=mask)
    tl.store(parameter + place, value - rate * change, mask=mask)


@triton.jit(do_not_specialize=["count"])
def row_adam_program(table, second, gradient, numbers, count, features, BLOCK: tl.constexpr):
    """One step of the rows whose gradient is not zero; ``features``: their number and tile."""
    FEATURES: tl.constexpr = features[0]
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = row < count
    column = tl.arange(0, features[1])
    place = row.to(tl.int64)[:, None] * FEATURES + column[None, :]
    inside = known[:, None] & (column < FEATURES)[None, :]
    slope = tl.load(gradient + place, mask=inside, other=0.0)
    rate, correction2 = tl.load(numbers), tl.load(numbers + 2)
    beta2, epsilon = tl.load(numbers + 4), tl.load(numbers + 5)
    touched = known & (tl.max((slope != 0.0).to(tl.int32), 1) != 0)
    moment = tl.load(second + row, mask=touched, other=0.0)
    moment = beta2 * moment + (1.0 - beta2) * (tl.sum(slope * slope, 1) / FEATURES)
    change = rate * slope / (tl.sqrt(moment / correction2) + epsilon)[:, None]
    inside = inside & touched[:, None]
    value = tl.load(table + place, mask=inside, other=0.0)
    tl.store(table + place, value - change, mask=inside)
    tl.store(second + row, moment, mask=touched)
