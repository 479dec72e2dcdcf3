// Adam (Kingma and Ba 2015) on flat arrays; rows of zero gradient may be left untouched.
#pragma once
#include "field/numbers.h"

struct Adam {
  float rate, beta1, beta2, epsilon, weight_decay;
  int64_t step;
  // rate * sqrt(1 - beta2^t) / (1 - beta1^t), and epsilon scaled alike, fold both corrections.
  float corrected_rate() const {
    return (float)(rate * std::sqrt(1 - std::pow((double)beta2, (double)step)) /
                   (1 - std::pow((double)beta1, (double)step)));
  }
  float corrected_epsilon() const {
    return (float)(epsilon * std::sqrt(1 - std::pow((double)beta2, (double)step)));
  }
};

// All bits set in the lanes of every row (`features` wide, a power of two up to W) that holds a
// non-zero gradient.
static inline vi touched_rows(vf g, int features) {
  vi mask = g != 0;
  if (features > 1) mask |= swap_lanes<1>(mask);
  if (features > 2) mask |= swap_lanes<2>(mask);
  if (features > 4) mask |= swap_lanes<4>(mask);
  if (features > 8) mask |= swap_lanes<8>(mask);
  return mask;
}

// Moments are floats, or entries: half the memory traffic, which is what bounds the table's Adam.
// (Where entries are bfloat16 a second moment moves only by 0.4 % or more at a time: squared
// gradients differ by far more than that.)
template <class M>
static inline M moment_of(float x) {
  if constexpr (sizeof(M) == sizeof(float))
    return x;
  else
    return entry_of(x);
}
template <class M>
static inline float value_of(M moment) {
  if constexpr (sizeof(M) == sizeof(float))
    return moment;
  else
    return float_of(moment);
}
template <class M>
static inline vf load_moments(const M* p) {
  if constexpr (sizeof(M) == sizeof(float))
    return load(p);
  else
    return load_entries(p);
}
template <class M>
static inline void store_moments(M* p, vf v) {
  if constexpr (sizeof(M) == sizeof(float))
    store(p, v);
  else
    store_entries(p, v);
}

template <class M>
static inline void adam_scalar(const Adam& a, float rate, float epsilon, float* w, M* m, M* v,
                               float g) {
  g += a.weight_decay * *w;
  float m1 = a.beta1 * value_of(*m) + (1 - a.beta1) * g;
  float v1 = a.beta2 * value_of(*v) + (1 - a.beta2) * g * g;
  *w -= rate * m1 / (std::sqrt(v1) + epsilon);
  *m = moment_of<M>(m1), *v = moment_of<M>(v1);
}

// n values (n a multiple of `features`); features == 0: nothing is skipped. Clears g if `clear`.
// `entries` (may be null) are kept as the rounded copy of w.
template <class M>
static inline void adam_range(const Adam& a, float* w, M* m, M* v, float* g, int64_t n,
                              int features, bool clear, Entry* entries) {
  const float rate = a.corrected_rate(), epsilon = a.corrected_epsilon();
  const bool vector = features == 0 || (features <= W && (features & (features - 1)) == 0);
  int64_t i = 0;
  for (; vector && i + W <= n; i += W) {
    vf gradient = load(g + i);
    vi mask = features ? touched_rows(gradient, features) : vi{} - 1;
    if (features && !any_lane(mask)) continue;
    vf w0 = load(w + i), m0 = load_moments(m + i), v0 = load_moments(v + i);
    gradient += a.weight_decay * w0;
    vf m1 = a.beta1 * m0 + (1 - a.beta1) * gradient;
    vf v1 = a.beta2 * v0 + (1 - a.beta2) * gradient * gradient;
    vf w1 = w0 - rate * m1 / (vsqrt(v1) + epsilon);
    store(w + i, mask ? w1 : w0);
    store_moments(m + i, mask ? m1 : m0);
    store_moments(v + i, mask ? v1 : v0);
    if (clear) store(g + i, vf{});
#if defined(NR_BFLOAT16)
    if (entries) store_entries(entries + i, mask ? w1 : w0);
#endif
  }
  int row = features ? features : 1;
  for (; i < n; i += row) {
    bool touched = features == 0;
    for (int j = 0; j < row; j++) touched |= g[i + j] != 0;
    for (int j = 0; touched && j < row; j++) {
      adam_scalar(a, rate, epsilon, w + i + j, m + i + j, v + i + j, g[i + j]);
      if (clear) g[i + j] = 0;
      if (PER == 2 && entries) entries[i + j] = entry_of(w[i + j]);
    }
  }
}
