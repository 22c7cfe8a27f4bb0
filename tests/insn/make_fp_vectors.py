#!/usr/bin/env python3
"""Writes fp_vectors.txt: floating-point operations with results and flags from exact rational arithmetic.

    make_fp_vectors.py > fp_vectors.txt

A line is: operation, rounding (MXCSR.RC: 0 nearest, 1 down, 2 up, 3 zero), operands, result, exception flags, all but
the rounding in hexadecimal. x87 operations carry their precision in bits. All exceptions are masked. The rules are those
of IEEE 754 as the SDM has them: tininess after rounding, underflow only when inexact, indefinite integers for what does
not fit. Cases whose flags depend on the order of denormal and other checks are left out.
"""

import random
from fractions import Fraction
from math import isqrt

IE, DE, ZE, OE, UE, PE = 1, 2, 4, 8, 16, 32
NEAREST, DOWN, UP, ZERO = range(4)


class Format:
    def __init__(self, name, precision, exponent_bits, explicit=False):
        self.name, self.p, self.ebits, self.explicit = name, precision, exponent_bits, explicit
        self.bias = (1 << exponent_bits - 1) - 1
        self.emin, self.emax = 1 - self.bias, self.bias
        self.bits = 1 + exponent_bits + precision - (not explicit)

    def decode(self, bits):
        """(sign, Fraction) of a finite number."""
        mantissa_bits = self.p - (not self.explicit)
        m = bits & (1 << mantissa_bits) - 1
        e = bits >> mantissa_bits & (1 << self.ebits) - 1
        sign = bits >> self.bits - 1
        assert e != (1 << self.ebits) - 1
        if e and not self.explicit:
            m |= 1 << mantissa_bits
        value = Fraction(m) * Fraction(2) ** (max(e, 1) - self.bias - (self.p - 1))
        return sign, -value if sign else value

    def is_denormal(self, bits):
        mantissa_bits = self.p - (not self.explicit)
        return not bits >> mantissa_bits & (1 << self.ebits) - 1 and bits & (1 << mantissa_bits) - 1

    def encode(self, sign, mantissa, exponent):
        """mantissa has p bits or fewer (then it is denormal), exponent is that of its leading place."""
        if not mantissa:
            return sign << self.bits - 1
        normal = mantissa >> self.p - 1
        biased = exponent + self.bias if normal else 0
        mantissa_bits = self.p - (not self.explicit)
        return sign << self.bits - 1 | biased << mantissa_bits | mantissa & (1 << mantissa_bits) - 1

    def infinity(self, sign):
        mantissa_bits = self.p - (not self.explicit)
        return sign << self.bits - 1 | ((1 << self.ebits) - 1) << mantissa_bits | (self.explicit << mantissa_bits - 1)

    def largest(self, sign, precision):
        return self.encode(sign, ((1 << precision) - 1) << self.p - precision, self.emax)


F32, F64, F80 = Format("f32", 24, 8), Format("f64", 53, 11), Format("f80", 64, 15, True)


def round_integer(value, mode):
    """Rounds a Fraction of any sign; (integer, inexact)."""
    floor = value.numerator // value.denominator
    rest = value - floor
    if not rest:
        return floor, False
    if mode == NEAREST:
        up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor & 1)
    else:
        up = mode == UP or (mode == ZERO and value < 0)
    return floor + up, True


def magnitude_mode(mode, sign):
    """The rounding of a magnitude whose sign is known."""
    return {NEAREST: NEAREST, ZERO: DOWN, UP: DOWN if sign else UP, DOWN: UP if sign else DOWN}[mode]


def exponent_of(value):
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e - 1 if Fraction(2) ** e > value else e


def round_to(fmt, value, mode, zero_sign=0, precision=None):
    """A Fraction to bits and flags."""
    precision = precision or fmt.p
    if not value:
        return zero_sign << fmt.bits - 1, 0
    sign, value = (1, -value) if value < 0 else (0, value)
    mode = magnitude_mode(mode, sign)
    e = exponent_of(value)
    unbounded, _ = round_integer(value / Fraction(2) ** (e - precision + 1), mode)
    e_rounded = e + (unbounded >> precision)
    tiny = e_rounded < fmt.emin
    e = max(e, fmt.emin)
    mantissa, inexact = round_integer(value / Fraction(2) ** (e - precision + 1), mode)
    if mantissa >> precision:
        mantissa >>= 1
        e += 1
    flags = (PE if inexact else 0) | (UE if tiny and inexact else 0)
    if e > fmt.emax:
        to_infinity = mode in (NEAREST, UP)
        return (fmt.infinity(sign) if to_infinity else fmt.largest(sign, precision)), OE | PE
    return fmt.encode(sign, mantissa << fmt.p - precision, e), flags


def exact_sqrt(value, bits=200):
    """A Fraction that rounds as the square root does: exact, or with a sticky bit far below."""
    scale = 4 ** bits
    n = value.numerator * scale * value.denominator
    root = isqrt(n)
    result = Fraction(root, value.denominator * 2 ** bits)
    return result if root * root == n else result + Fraction(1, value.denominator * 2 ** (bits + 4))


def operands(fmt, rng):
    one = fmt.encode(0, 1 << fmt.p - 1, 0)
    top = 1 << fmt.p - 1
    edges = [fmt.encode(0, top, 0), fmt.encode(1, top, 0), fmt.encode(0, top | 1, 0), fmt.encode(0, 2 * top - 1, 0),
             fmt.encode(0, top | top >> 1, 1), fmt.encode(1, top | top >> 1, 1), fmt.encode(0, top, fmt.emin),
             fmt.encode(0, 2 * top - 1, fmt.emax), fmt.encode(1, 2 * top - 1, fmt.emax),
             fmt.encode(0, top, fmt.p), fmt.encode(0, top | 1, fmt.p - 1), fmt.encode(0, top, -fmt.p),
             fmt.encode(0, 1, fmt.emin), fmt.encode(0, top - 1, fmt.emin), 0, 1 << fmt.bits - 1]
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice(edges)
    if kind == 1:
        return fmt.encode(rng.randrange(2), top | rng.randrange(top), rng.randrange(-3, 4))
    if kind == 2:
        return fmt.encode(rng.randrange(2), top | rng.randrange(top), rng.randrange(fmt.emin, fmt.emin + 60))
    if kind == 3:
        return fmt.encode(rng.randrange(2), top | rng.randrange(8) << fmt.p - 5, rng.randrange(-fmt.p, fmt.p))
    return fmt.encode(rng.randrange(2), top | rng.randrange(top), rng.randrange(fmt.emin, fmt.emax + 1))


def denormals(fmt, *values):
    return DE if any(fmt.is_denormal(v) for v in values) else 0


def zero_of_sum(sa, sb, mode):
    return sa if sa == sb else (1 if mode == DOWN else 0)


def arithmetic(fmt, op, a, b, mode, precision=None):
    (sa, x), (sb, y) = fmt.decode(a), fmt.decode(b)
    flags = denormals(fmt, a, b)
    if op in ("add", "sub"):
        if op == "sub":
            sb, y = 1 - sb, -y
        result, more = round_to(fmt, x + y, mode, zero_of_sum(sa, sb, mode), precision)
    elif op == "mul":
        result, more = round_to(fmt, x * y, mode, sa ^ sb, precision)
    else:
        if not y:
            if not x or flags:
                return None
            return fmt.infinity(sa ^ sb), ZE
        result, more = round_to(fmt, x / y, mode, sa ^ sb, precision)
    return result, flags | more


def square_root(fmt, a, mode, precision=None):
    s, x = fmt.decode(a)
    if s and x:
        return None
    flags = denormals(fmt, a)
    if not x:
        return a, flags
    result, more = round_to(fmt, exact_sqrt(x), mode, 0, precision)
    return result, flags | more


def fused(fmt, a, b, c, mode):
    (sa, x), (sb, y), (sc, z) = fmt.decode(a), fmt.decode(b), fmt.decode(c)
    result, more = round_to(fmt, x * y + z, mode, zero_of_sum(sa ^ sb, sc, mode))
    return result, denormals(fmt, a, b, c) | more


def to_integer(fmt, bits, a, mode):
    _, x = fmt.decode(a)
    n, inexact = round_integer(x, mode)
    if not -(1 << bits - 1) <= n < 1 << bits - 1:
        return 1 << bits - 1, IE
    return n & (1 << bits) - 1, PE if inexact else 0


def main():
    rng = random.Random(20231201)
    lines = []

    def add(op, mode, values, answer):
        if answer:
            text = " ".join("%x" % v for v in values)
            lines.append("%s %d %s %x %02x" % (op, mode, text, *answer))

    for mode in range(4):
        for fmt in (F32, F64):
            for op in ("add", "sub", "mul", "div"):
                for _ in range(8):
                    a, b = operands(fmt, rng), operands(fmt, rng)
                    add("%s.%s" % (fmt.name, op), mode, (a, b), arithmetic(fmt, op, a, b, mode))
            for _ in range(7):
                a, b, c = operands(fmt, rng), operands(fmt, rng), operands(fmt, rng)
                add("%s.sqrt" % fmt.name, mode, (a,), square_root(fmt, a, mode))
                add("%s.fma" % fmt.name, mode, (a, b, c), fused(fmt, a, b, c, mode))
            for bits in (32, 64):
                for _ in range(4):
                    a = operands(fmt, rng)
                    add("%s.to_i%d" % (fmt.name, bits), mode, (a,), to_integer(fmt, bits, a, mode))
                    add("%s.trunc_i%d" % (fmt.name, bits), mode, (a,), to_integer(fmt, bits, a, ZERO))
                    n = rng.getrandbits(bits) >> rng.randrange(bits)
                    signed = n - (1 << bits) if n >> bits - 1 else n
                    add("%s.from_i%d" % (fmt.name, bits), mode, (n,), round_to(fmt, Fraction(signed), mode))
        for _ in range(8):
            a = operands(F64, rng)
            s, x = F64.decode(a)
            result, flags = round_to(F32, x, mode, s)
            add("f64.to_f32", mode, (a,), (result, flags | denormals(F64, a)))
        for precision, name in ((24, "f80p24"), (53, "f80p53"), (64, "f80p64")):
            for op in ("add", "sub", "mul", "div"):
                for _ in range(4):
                    a, b = operands(F80, rng), operands(F80, rng)
                    add("%s.%s" % (name, op), mode, (a, b), arithmetic(F80, op, a, b, mode, precision))
            for _ in range(8):
                a = operands(F80, rng)
                add("%s.sqrt" % name, mode, (a,), square_root(F80, a, mode, precision))
    print("# Made by make_fp_vectors.py, which explains it.")
    print("\n".join(lines))


main()
