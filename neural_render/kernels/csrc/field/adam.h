// Adam (Kingma and Ba 2015) on flat arrays, and its lighter variant for the rows of a table.
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

static inline void adam_scalar(const Adam& a, float rate, float epsilon, float* w, float* m,
                               float* v, float g) {
  g += a.weight_decay * *w;
  *m = a.beta1 * *m + (1 - a.beta1) * g;
  *v = a.beta2 * *v + (1 - a.beta2) * g * g;
  *w -= rate * *m / (std::sqrt(*v) + epsilon);
}

static inline void adam_range(const Adam& a, float* w, float* m, float* v, const float* g,
                              int64_t n) {
  const float rate = a.corrected_rate(), epsilon = a.corrected_epsilon();
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    vf w0 = load(w + i), gradient = load(g + i) + a.weight_decay * w0;
    vf m1 = a.beta1 * load(m + i) + (1 - a.beta1) * gradient;
    vf v1 = a.beta2 * load(v + i) + (1 - a.beta2) * gradient * gradient;
    store(w + i, w0 - rate * m1 / (root(v1) + epsilon));
    store(m + i, m1);
    store(v + i, v1);
  }
  for (; i < n; i++) adam_scalar(a, rate, epsilon, w + i, m + i, v + i, g[i]);
}

// The step of a table's rows, see `ops.row_adam_step`. All is scaled by what corrects the bias of v.
struct RowStep {
  float rate, beta2, epsilon;
  explicit RowStep(const Adam& a) {
    const double correction = 1 - std::pow((double)a.beta2, (double)a.step);
    rate = (float)(a.rate * std::sqrt(correction)), beta2 = a.beta2;
    epsilon = (float)(a.epsilon * std::sqrt(correction));
  }
  // A row's learning rate over the root of its second moment, which takes in `square`, the mean of
  // the row's squared gradients.
  template <class T>
  T scale(T square, T before, T& after) const {
    after = beta2 * before + (1 - beta2) * square;
    return rate / (root(after) + epsilon);
  }
};

static inline void step_row(const RowStep& a, float* w, float* v, float* g, int features,
                            Entry* entries) {
  float square = 0;
  bool touched = false;
  for (int j = 0; j < features; j++) square += g[j] * g[j], touched |= g[j] != 0;
  if (!touched) return;
  const float scale = a.scale(square / features, *v, *v);
  for (int j = 0; j < features; j++) {
    w[j] -= scale * g[j];
    g[j] = 0;
    if (PER == 2 && entries) entries[j] = entry_of(w[j]);
  }
}

// Rows of `features` values each: their weights, second moments and gradients, which are cleared.
// `entries` (may be null) are kept as the rounded copy of w.
static inline void step_rows(const RowStep& a, float* w, float* v, float* g, int64_t rows,
                             int features, Entry* entries) {
  int64_t i = 0;
  for (; features == 2 && i + W <= rows; i += W) {
    float *weights = w + 2 * i, *gradients = g + 2 * i;
    vf first, second, after;
    split_pairs(load(gradients), load(gradients + W), first, second);
    vi touched = (first != 0) | (second != 0);
    if (!any_lane(touched)) continue;
    vf before = load(v + i);
    vf scale = a.scale(0.5f * (first * first + second * second), before, after);
    store(v + i, touched ? after : before);
    scale = touched ? scale : vf{};
    vf low, high;
    join_pairs(scale * first, scale * second, low, high);
    low = load(weights) - low, high = load(weights + W) - high;
    store(weights, low), store(weights + W, high);
    store(gradients, vf{}), store(gradients + W, vf{});
#if defined(NR_BFLOAT16)
    if (entries) store_entries(entries + 2 * i, low), store_entries(entries + 2 * i + W, high);
#endif
  }
  for (; i < rows; i++)
    step_row(a, w + i * features, v + i, g + i * features, features,
             entries ? entries + i * features : nullptr);
}
