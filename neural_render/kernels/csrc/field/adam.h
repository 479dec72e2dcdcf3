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

static inline void adam_scalar(const Adam& a, float rate, float epsilon, float* w, float* m,
                               float* v, float g) {
  g += a.weight_decay * *w;
  *m = a.beta1 * *m + (1 - a.beta1) * g;
  *v = a.beta2 * *v + (1 - a.beta2) * g * g;
  *w -= rate * *m / (std::sqrt(*v) + epsilon);
}

// n values (n a multiple of `features`); features == 0: nothing is skipped. Clears g if `clear`.
// `entries` (may be null) are kept as the rounded copy of w.
static inline void adam_range(const Adam& a, float* w, float* m, float* v, float* g, int64_t n,
                              int features, bool clear, Entry* entries) {
  const float rate = a.corrected_rate(), epsilon = a.corrected_epsilon();
  const bool vector = features == 0 || (features <= W && (features & (features - 1)) == 0);
  int64_t i = 0;
  for (; vector && i + W <= n; i += W) {
    vf gradient = load(g + i);
    vi mask = features ? touched_rows(gradient, features) : vi{} - 1;
    if (features && !any_lane(mask)) continue;
    vf w0 = load(w + i), m0 = load(m + i), v0 = load(v + i);
    gradient += a.weight_decay * w0;
    vf m1 = a.beta1 * m0 + (1 - a.beta1) * gradient;
    vf v1 = a.beta2 * v0 + (1 - a.beta2) * gradient * gradient;
    vf w1 = w0 - rate * m1 / (vsqrt(v1) + epsilon);
    store(w + i, mask ? w1 : w0);
    store(m + i, mask ? m1 : m0);
    store(v + i, mask ? v1 : v0);
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
