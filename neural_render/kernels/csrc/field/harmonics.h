// Spherical harmonics of the view direction, and back. See `kernels/reference/networks.py`.
#pragma once
#include <array>
#include <cmath>

constexpr int MAX_SH_DEGREE = 8;
constexpr int MAX_HARMONICS = MAX_SH_DEGREE * MAX_SH_DEGREE;

// What the harmonics (l, m) and (l, -m) are multiplied by, at l * MAX_SH_DEGREE + m.
static inline const std::array<float, MAX_HARMONICS>& harmonic_norms() {
  static const std::array<float, MAX_HARMONICS> norms = [] {
    std::array<float, MAX_HARMONICS> found{};
    for (int l = 0; l < MAX_SH_DEGREE; l++) {
      double ratio = 1;  // (l - m)! / (l + m)!
      for (int m = 0; m <= l; m++) {
        if (m > 0) ratio /= (double)(l - m + 1) * (l + m);
        const double pi = 3.14159265358979323846;
        double square = (2 * l + 1) / (4 * pi) * ratio * (m > 0 ? 2 : 1);
        found[l * MAX_SH_DEGREE + m] = (float)std::sqrt(square);
      }
    }
    return found;
  }();
  return norms;
}

// The real part (or the imaginary one) of (x + iy)^m, and that of the power before.
struct Turn {
  float real, imaginary, real_before, imaginary_before;
};

// Calls use(l, m, q, dq, turn) for all m >= 0: the harmonics (l, m) and (l, -m) are q times the
// turn's parts, q a polynomial in z and dq its derivative.
template <class Use>
static inline void each_harmonic(const float* d, int degree, const Use& use) {
  const auto& norms = harmonic_norms();
  const float x = d[0], y = d[1], z = d[2];
  Turn turn{1, 0, 0, 0};
  float first = 1;  // the associated Legendre polynomial (m, m) over sin^m
  for (int m = 0; m < degree; m++) {
    float p = first, dp = 0, before = 0, d_before = 0;
    for (int l = m; l < degree; l++) {
      if (l > m) {
        float a = (float)(2 * l - 1), b = (float)(l + m - 1), c = 1.0f / (float)(l - m);
        float next = (a * z * p - b * before) * c;
        float d_next = (a * (p + z * dp) - b * d_before) * c;
        before = p, d_before = dp, p = next, dp = d_next;
      }
      const float norm = norms[l * MAX_SH_DEGREE + m];
      use(l, m, norm * p, norm * dp, turn);
    }
    turn = {x * turn.real - y * turn.imaginary, x * turn.imaginary + y * turn.real, turn.real,
            turn.imaginary};
    first *= -(float)(2 * m + 1);
  }
}

// degree^2 real spherical harmonics, at l * l + l + m; signs as in tiny-cuda-nn.
static inline void spherical_harmonics(const float* d, int degree, float* o) {
  each_harmonic(d, degree, [&](int l, int m, float q, float, const Turn& turn) {
    o[l * l + l + m] = q * turn.real;
    if (m > 0) o[l * l + l - m] = q * turn.imaginary;
  });
}

// d[3] += the gradient to the direction, g being the gradient to the harmonics.
static inline void spherical_harmonics_backward(const float* v, int degree, const float* g,
                                                float* d) {
  each_harmonic(v, degree, [&](int l, int m, float q, float dq, const Turn& turn) {
    const float even = g[l * l + l + m], odd = m > 0 ? g[l * l + l - m] : 0;
    const float slope = q * (float)m;
    d[0] += slope * (even * turn.real_before + odd * turn.imaginary_before);
    d[1] += slope * (odd * turn.real_before - even * turn.imaginary_before);
    d[2] += dq * (even * turn.real + odd * turn.imaginary);
  });
}
