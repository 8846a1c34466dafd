"""Random draws without a state: each is a hash of what it is for.

A draw is a function of (seed, strategy, instrument, bar close, preset, component) and of nothing else: not of
the stream, nor of how many draws were made before. So a batch answers what single requests would.
Only integer operations, `+ - * /` and sqrt: the same bits on every machine.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from mei.jit import compiled

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S12 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(12)
_ONE = np.uint64(1)
_TWO_POW_MINUS_52 = 2.0**-52
_LN_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476


def series_key(seed: int, strategy: str, instrument: str) -> np.uint64:
    """The 64 bits that stand for (seed, strategy, instrument)."""
    return _digest(f"series\0{seed}\0{strategy}\0{instrument}")


def preset_key(preset: str) -> np.uint64:
    """The 64 bits that stand for a preset: its name, so that a new preset moves no other's draws."""
    return _digest(f"preset\0{preset}")


def _digest(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _mix(h: Any) -> Any:
    """Finaliser of splitmix64: every input bit reaches every output bit."""
    h = (h ^ (h >> _S30)) * _MIX_1
    h = (h ^ (h >> _S27)) * _MIX_2
    return h ^ (h >> _S31)


mix = compiled(_mix)


def _uniform(series: Any, close_ms: Any, preset: Any, component: Any) -> Any:
    """Uniform on (0, 1), never 0 or 1: an odd multiple of 2**-53."""
    h = mix(series + np.uint64(close_ms) * _GOLDEN)
    h = mix(h ^ preset)
    h = mix(h + (np.uint64(component) + _ONE) * _GOLDEN)
    return (np.float64(h >> _S12) + 0.5) * _TWO_POW_MINUS_52


uniform = compiled(_uniform)


def _log(x: Any) -> Any:
    """Natural logarithm of a positive number by 2·atanh((m-1)/(m+1)); libm's differs between machines."""
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa = mantissa * 2.0
        exponent = exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    q = s * s
    series = 1.0 / 23.0
    for k in range(10, -1, -1):
        series = series * q + 1.0 / (2.0 * k + 1.0)
    return exponent * _LN_2 + 2.0 * s * series


log = compiled(_log)


def _central(q: Any) -> Any:
    """AS241 for |u - 1/2| <= 0.425."""
    r = 0.180625 - q * q
    top = 2.5090809287301226727e3
    top = top * r + 3.3430575583588128105e4
    top = top * r + 6.7265770927008700853e4
    top = top * r + 4.5921953931549871457e4
    top = top * r + 1.3731693765509461125e4
    top = top * r + 1.9715909503065514427e3
    top = top * r + 1.3314166789178437745e2
    top = top * r + 3.3871328727963666080e0
    low = 5.2264952788528545610e3
    low = low * r + 2.8729085735721942674e4
    low = low * r + 3.9307895800092710610e4
    low = low * r + 2.1213794301586595867e4
    low = low * r + 5.3941960214247511077e3
    low = low * r + 6.8718700749205790830e2
    low = low * r + 4.2313330701600911252e1
    low = low * r + 1.0
    return top * q / low


central = compiled(_central)


def _tail(r: Any) -> Any:
    """AS241 for r = sqrt(-log(tail probability)) <= 5."""
    r = r - 1.6
    top = 7.74545014278341407640e-4
    top = top * r + 2.27238449892691845833e-2
    top = top * r + 2.41780725177450611770e-1
    top = top * r + 1.27045825245236838258e0
    top = top * r + 3.64784832476320460504e0
    top = top * r + 5.76949722146069140550e0
    top = top * r + 4.63033784615654529590e0
    top = top * r + 1.42343711074968357734e0
    low = 1.05075007164441684324e-9
    low = low * r + 5.47593808499534494600e-4
    low = low * r + 1.51986665636164571966e-2
    low = low * r + 1.48103976427480074590e-1
    low = low * r + 6.89767334985100004550e-1
    low = low * r + 1.67638483018380384940e0
    low = low * r + 2.05319162663775882187e0
    low = low * r + 1.0
    return top / low


tail = compiled(_tail)


def _far_tail(r: Any) -> Any:
    """AS241 for r = sqrt(-log(tail probability)) > 5."""
    r = r - 5.0
    top = 2.01033439929228813265e-7
    top = top * r + 2.71155556874348757815e-5
    top = top * r + 1.24266094738807843860e-3
    top = top * r + 2.65321895265761230930e-2
    top = top * r + 2.96560571828504891230e-1
    top = top * r + 1.78482653991729133580e0
    top = top * r + 5.46378491116411436990e0
    top = top * r + 6.65790464350110377720e0
    low = 2.04426310338993978564e-15
    low = low * r + 1.42151175831644588870e-7
    low = low * r + 1.84631831751005468180e-5
    low = low * r + 7.86869131145613259100e-4
    low = low * r + 1.48753612908506148525e-2
    low = low * r + 1.36929880922735805310e-1
    low = low * r + 5.99832206555887937690e-1
    low = low * r + 1.0
    return top / low


far_tail = compiled(_far_tail)


def _normal_of_uniform(u: Any) -> Any:
    """Standard normal quantile of u in (0, 1): Wichura, AS241 (1988), relative error about 1e-16."""
    q = u - 0.5
    if -0.425 <= q <= 0.425:
        return central(q)
    nearer = u if q < 0.0 else 1.0 - u
    r = math.sqrt(-log(nearer))
    x = tail(r) if r <= 5.0 else far_tail(r)
    return -x if q < 0.0 else x


normal_of_uniform = compiled(_normal_of_uniform)


def _normal(series: Any, close_ms: Any, preset: Any, component: Any) -> Any:
    """Standard normal draw of one component of one preset at one bar close."""
    return normal_of_uniform(uniform(series, close_ms, preset, component))


normal = compiled(_normal)
