"""exp, log, tanh, erf and square root of vectors, within about one unit in the last place."""

import math

import numpy as np
from llvmlite import ir

from fastmlp.kernels.simd.llvm import I32, constant, emit_call, emit_fma, operation

_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693359375, -2.12194440e-4
_EXP_MIN, _EXP_MAX = -87.0, 88.0  # beyond, exp is denormal or infinite in float32


def _polynomial(builder, x, coefficients):
    value = constant(x.type, coefficients[0])
    for c in coefficients[1:]:
        value = emit_fma(builder, value, x, constant(x.type, c))
    return value


def _emit_exp(builder, x):
    """Cephes' expf: x = k ln 2 + r, exp(x) = 2**k exp(r), within about 1 ulp.  NaN stays NaN."""
    t, ti = x.type, ir.VectorType(I32, x.type.count)
    x = builder.select(builder.fcmp_ordered("<", x, constant(t, _EXP_MIN)), constant(t, _EXP_MIN), x)
    x = builder.select(builder.fcmp_ordered(">", x, constant(t, _EXP_MAX)), constant(t, _EXP_MAX), x)
    k = emit_call(builder, f"llvm.rint.v{t.count}f32", t, builder.fmul(x, constant(t, _LOG2_E)))
    r = emit_fma(builder, k, constant(t, -_LN2_HIGH), x)
    r = emit_fma(builder, k, constant(t, -_LN2_LOW), r)
    p = _polynomial(
        builder, r, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
    )
    p = builder.fadd(emit_fma(builder, p, builder.fmul(r, r), r), constant(t, 1.0))
    exponent = builder.shl(builder.add(builder.fptosi(k, ti), constant(ti, 127)), constant(ti, 23))
    return builder.fmul(p, builder.bitcast(exponent, t))


def _emit_log(builder, x):
    """Cephes' logf for normal x > 0: x = 2**e m, log(x) = e ln 2 + log(m), within about 1 ulp.  NaN stays NaN."""
    t, ti = x.type, ir.VectorType(I32, x.type.count)
    bits = builder.bitcast(x, ti)
    e = builder.sitofp(builder.sub(builder.lshr(bits, constant(ti, 23)), constant(ti, 126)), t)
    m = builder.or_(builder.and_(bits, constant(ti, 0x007FFFFF)), constant(ti, 0x3F000000))
    m = builder.bitcast(m, t)  # in [0.5, 1)
    small = builder.fcmp_ordered("<", m, constant(t, 0.5**0.5))
    e = builder.select(small, builder.fsub(e, constant(t, 1.0)), e)
    m = builder.fsub(builder.select(small, builder.fadd(m, m), m), constant(t, 1.0))
    p = _polynomial(
        builder,
        m,
        (
            7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
        ),
    )  # fmt: skip
    square = builder.fmul(m, m)
    y = builder.fmul(builder.fmul(p, m), square)
    y = emit_fma(builder, e, constant(t, _LN2_LOW), y)
    y = emit_fma(builder, square, constant(t, -0.5), y)
    y = emit_fma(builder, e, constant(t, _LN2_HIGH), builder.fadd(m, y))
    return builder.fadd(y, builder.fsub(x, x))  # x - x is NaN for NaN and infinity, else 0


def _unary(python, emit):
    @operation(python)
    def unary(typingctx, x):
        return x(x), lambda context, builder, signature, args: emit(builder, args[0])

    return unary


def _emit_tanh(builder, x):
    """Cephes' tanhf: a polynomial for |x| < 0.625, else 1 - 2 / (exp(2 |x|) + 1) with x's sign."""
    t, ti = x.type, ir.VectorType(I32, x.type.count)
    square = builder.fmul(x, x)
    p = _polynomial(
        builder,
        square,
        (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1),
    )
    near = emit_fma(builder, builder.fmul(p, square), x, x)
    magnitude = emit_call(builder, f"llvm.fabs.v{t.count}f32", t, x)
    e = _emit_exp(builder, builder.fadd(magnitude, magnitude))
    one = constant(t, 1.0)
    far = builder.fsub(one, builder.fdiv(constant(t, 2.0), builder.fadd(e, one)))
    sign = builder.and_(builder.bitcast(x, ti), constant(ti, -(1 << 31)))
    far = builder.bitcast(builder.or_(builder.bitcast(far, ti), sign), t)
    return builder.select(builder.fcmp_ordered("<", magnitude, constant(t, 0.625)), near, far)


def _emit_erf(builder, x):
    """x + x p(x**2) for |x| < 0.9276, else 1 - exp(p(|x|)) with x's sign, p fitted here (Lawson's algorithm)."""
    t, ti = x.type, ir.VectorType(I32, x.type.count)
    p = _polynomial(
        builder,
        builder.fmul(x, x),
        (-0.000596456597, 0.00498806533, -0.0267631658, 0.112817222, -0.376124849, 0.128379148),
    )
    near = emit_fma(builder, p, x, x)
    magnitude = emit_call(builder, f"llvm.fabs.v{t.count}f32", t, x)
    bounded = builder.select(builder.fcmp_ordered(">", magnitude, constant(t, 4.0)), constant(t, 4.0), magnitude)
    p = _polynomial(
        builder,
        bounded,
        (
            -2.10950505e-05, 0.00043446262, -0.00417106305, 0.0251194274, -0.10828009, -0.633346906, -1.12951493,
            0.000174684438,
        ),
    )  # fmt: skip
    sign = builder.and_(builder.bitcast(x, ti), constant(ti, -(1 << 31)))
    far = builder.bitcast(builder.fsub(constant(t, 1.0), _emit_exp(builder, p)), ti)
    far = builder.bitcast(builder.or_(far, sign), t)
    return builder.select(builder.fcmp_ordered("<", magnitude, constant(t, 0.9276)), near, far)


def _log_python(x):
    with np.errstate(divide="ignore", invalid="ignore"):  # whole vectors reach into what nobody reads
        return np.log(x)


def _erf_python(x):
    return np.array([math.erf(value) for value in np.ravel(x)], np.float32).reshape(np.shape(x))


exp = _unary(lambda x: np.exp(np.clip(x, np.float32(_EXP_MIN), np.float32(_EXP_MAX))), _emit_exp)
log = _unary(_log_python, _emit_log)
tanh = _unary(np.tanh, _emit_tanh)
erf = _unary(_erf_python, _emit_erf)
sqrt = _unary(np.sqrt, lambda builder, x: emit_call(builder, f"llvm.sqrt.v{x.type.count}f32", x.type, x))
