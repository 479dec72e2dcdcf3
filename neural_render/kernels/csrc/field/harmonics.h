// Spherical harmonics of directions, and back, for floats and for vectors of them (see
// `kernels/reference/networks.py`); and directions reflected about normals that the density network
// predicts (Verbin et al. 2022, "Ref-NeRF"; see `kernels/reference/field.py`).
#pragma once
#include <array>
#include <cmath>

#include "field/numbers.h"

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
template <class T>
struct Turn {
  T real, imaginary, real_before, imaginary_before;
};

// Calls use(l, m, q, dq, turn) for all m >= 0: the harmonics (l, m) and (l, -m) are q times the
// turn's parts, q a polynomial in z and dq its derivative.
template <class T, class Use>
ALWAYS_INLINE void each_harmonic(const T* d, int degree, const Use& use) {
  const auto& norms = harmonic_norms();
  const T x = d[0], y = d[1], z = d[2];
  Turn<T> turn{T{} + 1.0f, T{}, T{}, T{}};
  float first = 1;  // the associated Legendre polynomial (m, m) over sin^m
  for (int m = 0; m < degree; m++) {
    T p = T{} + first, dp = {}, before = {}, d_before = {};
    for (int l = m; l < degree; l++) {
      if (l > m) {
        float a = (float)(2 * l - 1), b = (float)(l + m - 1), c = 1.0f / (float)(l - m);
        T next = (a * z * p - b * before) * c;
        T d_next = (a * (p + z * dp) - b * d_before) * c;
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
template <class T>
ALWAYS_INLINE void spherical_harmonics(const T* d, int degree, T* o) {
  each_harmonic(d, degree, [&](int l, int m, T q, T, const Turn<T>& turn) {
    o[l * l + l + m] = q * turn.real;
    if (m > 0) o[l * l + l - m] = q * turn.imaginary;
  });
}

// d[3] += the gradient to the direction, g being the gradient to the harmonics.
template <class T>
ALWAYS_INLINE void spherical_harmonics_backward(const T* v, int degree, const T* g, T* d) {
  each_harmonic(v, degree, [&](int l, int m, T q, T dq, const Turn<T>& turn) {
    const T even = g[l * l + l + m], odd = m > 0 ? g[l * l + l - m] : T{};
    const T slope = q * (float)m;
    d[0] += slope * (even * turn.real_before + odd * turn.imaginary_before);
    d[1] += slope * (odd * turn.real_before - even * turn.imaginary_before);
    d[2] += dq * (even * turn.real + odd * turn.imaginary);
  });
}

constexpr int FIRST_NORMAL = 1;         // of the latents
constexpr float SMOOTH_NORMAL = 1e-4f;  // added to squared lengths: a normal may be nothing

// n: normal, c: d.n, r: reflected direction; of a direction d and v, what n is made of.
struct Reflection {
  vf n[3], r[3], c;
  Reflection(const vf (&d)[3], const vf (&v)[3]) {
    const vf length = root(v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + SMOOTH_NORMAL);
    for (int a = 0; a < 3; a++) n[a] = v[a] / length;
    c = d[0] * n[0] + d[1] * n[1] + d[2] * n[2];
    for (int a = 0; a < 3; a++) r[a] = d[a] - 2.0f * c * n[a];
  }
  // The gradient to d from those to r and c; n is taken as given.
  void backward(const vf (&to_r)[3], vf to_c, vf (&to_d)[3]) const {
    const vf along = to_r[0] * n[0] + to_r[1] * n[1] + to_r[2] * n[2];
    const vf scale = to_c - 2.0f * along;
    for (int a = 0; a < 3; a++) to_d[a] = to_r[a] + scale * n[a];
  }
};

// Neuron j of W samples, of rows of lanes.
static inline vf neuron(const float* rows, size_t stride, int j) {
  const vf lanes = load(rows + j / PER * stride);
#if defined(NR_BFLOAT16)
  return j % 2 ? second_of(lanes) : first_of(lanes);
#else
  return first_of(lanes);
#endif
}

// The reflection of W samples.
static inline Reflection reflection_of(const float* latents, size_t stride, const float* directions,
                                       size_t directions_stride) {
  vf d[3], v[3];
  for (int a = 0; a < 3; a++) {
    d[a] = load(directions + a * directions_stride);
    v[a] = neuron(latents, stride, FIRST_NORMAL + a);
  }
  return Reflection(d, v);
}

static inline vf lanes_of_neurons(vf first, vf second) {
#if defined(NR_BFLOAT16)
  return lanes_of(first, second);
#else
  (void)second;
  return first;
#endif
}

// Harmonics of the reflected direction and, last, d.n, as rows of lanes from `to` on.
static inline void reflected_lanes(const Reflection& at, int degree, float* to, size_t stride) {
  vf values[MAX_HARMONICS + 2];
  spherical_harmonics(at.r, degree, values);
  const int num = degree * degree + 1;
  values[num - 1] = at.c, values[num] = vf{};
  for (int j = 0; j < num; j += PER)
    store(to + j / PER * stride, lanes_of_neurons(values[j], values[j + PER - 1]));
}

// The gradient to d from rows of floats, as `reflected_lanes` orders them.
static inline void reflected_backward(const Reflection& at, int degree, const float* from,
                                      size_t stride, vf (&to_d)[3]) {
  vf g[MAX_HARMONICS], to_r[3] = {};
  for (int j = 0; j < degree * degree; j++) g[j] = load(from + j * stride);
  spherical_harmonics_backward(at.r, degree, g, to_r);
  at.backward(to_r, load(from + degree * degree * stride), to_d);
}
