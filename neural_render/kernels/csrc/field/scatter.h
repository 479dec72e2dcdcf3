// The gradient of one level of the hash grid from that of its features: scatter, without atomics,
// since a level belongs to one thread.
#pragma once
#include "field/grid.h"

// A level's gradient with one row more than the level: what falls behind its end is folded back.
static inline size_t gradient_size(const Level& level, int features) {
  return ((size_t)level.rows + 1) * features;
}

// The last, incomplete vector.
__attribute__((noinline)) static void scatter_each(const Pairs& q, const float* g0, const float* g1, int count,
                                float* grad) {
  for (int i = 0; i < count; i++)
    for (int r = 0; r < 4; r++) {
      float* at = grad + q.at[r][i];
      float l = q.weight[r][i] * q.left[i], h = q.weight[r][i] * q.right[i];
      at[0] += l * g0[i], at[1] += l * g1[i], at[2] += h * g0[i], at[3] += h * g1[i];
    }
}

template <int G>
ALWAYS_INLINE void add_pairs(const Pairs& q, vf d, float* grad) {
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++) add_quads(grad, q.at[r] + G, d * quad_splat<G>(q.weight[r]));
}

ALWAYS_INLINE void scatter_pairs(const Pairs& q, const float* g0, const float* g1, int count,
                                 float* grad) {
  if (count < W) return scatter_each(q, g0, g1, count, grad);
  vf a = load(g0), b = load(g1);
  vf d[4] = {q.left * a, q.left * b, q.right * a, q.right * b};
  quad_transpose(d);
  add_pairs<0>(q, d[0], grad);
  add_pairs<1>(q, d[1], grad);
  add_pairs<2>(q, d[2], grad);
  add_pairs<3>(q, d[3], grad);
}

static inline void scatter_level_hot(const Grid& g, const Level& level, const float* const* p,
                                     const float* d, int64_t stride, int n, float* grad) {
  float rest[3][W];  // the last, incomplete vector, filled up with a valid point
  int whole = n / W * W;
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < W; i++) rest[k][i] = whole + i < n ? p[k][whole + i] : 0.5f;
  const float* tail[3] = {rest[0], rest[1], rest[2]};
  auto find = [&](int s, Pairs& q) {
    if (s < whole)
      find_pairs<false>(g, level, p, s, q);
    else if (s < n)
      find_pairs<false>(g, level, tail, 0, q);
  };
  Pairs ring[RING];
  for (int i = 0; i < SOON; i++) find(i * W, ring[i]);
  for (int s = 0, b = 0; s < n; s += W, b++) {
    find(s + SOON * W, ring[(b + SOON) % RING]);
    scatter_pairs(ring[b % RING], d + s, d + stride + s, std::min(W, n - s), grad);
  }
}

// Adds the gradient of n points to `grad` (`gradient_size` floats, that level alone); `d` has a row
// of floats for each feature of the level. What fell behind the level's end is still to be folded.
static inline void scatter_level(const Grid& g, const Level& level, const float* const* p,
                                 const float* d, int64_t stride, int n, float* grad) {
  const int F = g.features;
  if (n <= 0) return;
  if (is_hot(g)) return scatter_level_hot(g, level, p, d, stride, n, grad);
  Corners c;
  for (int s = 0; s < n; s++) {
    float x[4];
    for (int k = 0; k < g.dims; k++) x[k] = p[k][s];
    find_corners(g, level, x, c);
    for (int k = 0; k < 1 << g.dims; k++)
      for (int j = 0; j < F; j++)
        grad[(size_t)c.row[k] * F + j] += c.weight[k] * d[(size_t)j * stride + s];
  }
}

// Adds what fell behind a level's end to its first row, once all points are in: so it makes no
// difference how many parts they came in.
static inline void fold_last_row(const Level& level, int features, float* grad) {
  float* behind = grad + (size_t)level.rows * features;
  for (int j = 0; j < features; j++) grad[j] += behind[j], behind[j] = 0;
}
