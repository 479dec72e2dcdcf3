// Hash-grid lookup. Points of a tile are planar: one row per coordinate.
#pragma once
#include "field/grid.h"

// Where features go: to rows of lanes (what networks take) or to rows of floats.
struct LaneRows {
  float* rows;
  int stride;
  void pair(int level, int s, vf f0, vf f1) const {
#if defined(NR_BFLOAT16)
    store(rows + (size_t)level * stride + s, lanes_of(f0, f1));
#else
    store(rows + (size_t)(2 * level) * stride + s, f0);
    store(rows + (size_t)(2 * level + 1) * stride + s, f1);
#endif
  }
  void sample(int s, const float* f, int n) const {
    for (int j = 0; j < n; j += PER)
      rows[(size_t)(j / PER) * stride + s] = lane_of(f[j], j + 1 < n ? f[j + PER - 1] : 0.0f);
  }
};

struct FloatRows {
  float* rows;
  int stride;
  void pair(int level, int s, vf f0, vf f1) const {
    store(rows + (size_t)(2 * level) * stride + s, f0);
    store(rows + (size_t)(2 * level + 1) * stride + s, f1);
  }
  void sample(int s, const float* f, int n) const {
    for (int j = 0; j < n; j++) rows[(size_t)j * stride + s] = f[j];
  }
};

#if defined(NR_GATHERS)  // where they are fast, as on Intel's processors: eight pairs at once

// Lanes 0, 0, 1, 1, ... of v, or, for the second half, W / 2, W / 2, ...
template <int Half, size_t... I>
ALWAYS_INLINE vf each_twice(vf v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, (int)(Half * W / 2 + I / 2)...);
}

// Half of the samples: sums of their four pairs, left and right by turns.
template <int Half>
ALWAYS_INLINE void weighted_half(const Pairs& q, const Entry* t, vf& f0, vf& f1) {
  f0 = f1 = vf{};
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++) {
    __m256i at;
    std::memcpy(&at, q.at[r] + Half * W / 2, sizeof at);
    vf pairs = (vf)_mm512_i32gather_epi64(at, t, sizeof(Entry));
    vf weight = each_twice<Half>(q.weight[r], LaneNumbers());
    f0 += weight * first_of(pairs);
    f1 += weight * second_of(pairs);
  }
}

ALWAYS_INLINE void encode_pairs(const Pairs& q, const Entry* t, uint32_t, vf& f0, vf& f1) {
  vf a0, a1, b0, b1, left, right;
  weighted_half<0>(q, t, a0, a1);
  weighted_half<1>(q, t, b0, b1);
  split_pairs(a0, b0, left, right);
  f0 = q.left * left + q.right * right;
  split_pairs(a1, b1, left, right);
  f1 = q.left * left + q.right * right;
}

#else

// The pair that starts at `at`, its right half taken from the level's start where it wraps.
static inline v4 load_pair(const Entry* level_table, uint32_t at, uint32_t rows) {
  const Entry* p = level_table + at;
  const Entry* q = at / 2 + 1 < rows ? p + 2 : level_table;
  return v4{float_of(p[0]), float_of(p[1]), float_of(q[0]), float_of(q[1])};
}

// The rare vector in which some pair wraps, one sample after another.
__attribute__((noinline)) static void encode_wrapping(const Pairs& q, const Entry* t, uint32_t rows, vf& f0, vf& f1) {
  for (int i = 0; i < W; i++) {
    v4 a = q.weight[0][i] * load_pair(t, q.at[0][i], rows);
    for (int r = 1; r < 4; r++) a += q.weight[r][i] * load_pair(t, q.at[r][i], rows);
    f0[i] = q.left[i] * a[0] + q.right[i] * a[2];
    f1[i] = q.left[i] * a[1] + q.right[i] * a[3];
  }
}

// Sample 4 i + G of each quad i: its four pairs, weighted; a quad holds left and right features.
template <int G>
ALWAYS_INLINE vf weighted_pairs(const Pairs& q, const Entry* t) {
  return quad_splat<G>(q.weight[0]) * load_quads(t, q.at[0] + G) +
         quad_splat<G>(q.weight[1]) * load_quads(t, q.at[1] + G) +
         quad_splat<G>(q.weight[2]) * load_quads(t, q.at[2] + G) +
         quad_splat<G>(q.weight[3]) * load_quads(t, q.at[3] + G);
}

ALWAYS_INLINE void encode_pairs(const Pairs& q, const Entry* t, uint32_t rows, vf& f0, vf& f1) {
  if (__builtin_expect(q.wraps, 0)) return encode_wrapping(q, t, rows, f0, f1);
  vf z[4] = {weighted_pairs<0>(q, t), weighted_pairs<1>(q, t), weighted_pairs<2>(q, t),
             weighted_pairs<3>(q, t)};
  quad_transpose(z);
  f0 = q.left * z[0] + q.right * z[2];
  f1 = q.left * z[1] + q.right * z[3];
}

#endif

static inline vf footprint_weights(const float* footprint, float scale) {
  vf weight;
  for (int i = 0; i < W; i++) weight[i] = footprint_weight(footprint[i], scale);
  return weight;
}

template <bool Prefetch, class Out>
static inline void encode_level(const Grid& g, int l, const Entry* t, const float* const* p,
                                const float* footprint, int n, const Out& out) {
  const Level& level = g.levels[l];
  auto find = [&](int s, Pairs& q) {
    if (s >= n) return;
    find_pairs<SPARE_ROWS == 0>(g, level, p, s, q);
    if (Prefetch) prefetch_pairs(q, t);
  };
  Pairs ring[RING];
  constexpr int ahead = Prefetch ? LATER : SOON;
  for (int i = 0; i < ahead; i++) find(i * W, ring[i]);
  for (int s = 0, b = 0; s < n; s += W, b++) {
    find(s + ahead * W, ring[(b + ahead) % RING]);
    const Pairs& q = ring[b % RING];
    vf f0, f1;
    encode_pairs(q, t, level.rows, f0, f1);
    if (footprint) {
      vf weight = footprint_weights(footprint + s, level.scale);
      f0 *= weight, f1 *= weight;
    }
    out.pair(l, s, f0, f1);
  }
}

// One sample of any grid: features of all levels.
static inline void encode_sample(const Grid& g, const Entry* table, const float* x, float footprint,
                                 float* f) {
  const int F = g.features;
  Corners c;
  for (int l = 0; l < g.num_levels(); l++, f += F) {
    const Entry* t = table + entry_offset(g, l);
    find_corners(g, g.levels[l], x, c);
    float weight = footprint_weight(footprint, g.levels[l].scale);
    for (int j = 0; j < F; j++) f[j] = 0;
    for (int k = 0; k < 1 << g.dims; k++)
      for (int j = 0; j < F; j++)
        f[j] += weight * c.weight[k] * float_of(t[(size_t)c.row[k] * F + j]);
  }
}

// Features of n points, a multiple of W; `footprint` may be null. Level after level, for a level is
// what fits into the second cache.
template <class Out>
static inline void encode_tile(const Grid& g, const Entry* table, const float* const* p,
                               const float* footprint, int n, const Out& out) {
  if (n <= 0) return;
  if (is_hot(g)) {
    for (int l = 0; l < g.num_levels(); l++) {
      const Entry* t = table + entry_offset(g, l);
      if (g.levels[l].rows * 2 * sizeof(Entry) > PREFETCH_BYTES)
        encode_level<true>(g, l, t, p, footprint, n, out);
      else
        encode_level<false>(g, l, t, p, footprint, n, out);
    }
    return;
  }
  std::vector<float> f(g.num_outputs());
  for (int s = 0; s < n; s++) {
    float x[4];
    for (int d = 0; d < g.dims; d++) x[d] = p[d][s];
    encode_sample(g, table, x, footprint ? footprint[s] : 0, f.data());
    out.sample(s, f.data(), g.num_outputs());
  }
}

// Gradient to the points: derivative of the interpolation weights within the cell. `d` has a row of
// floats for every feature.
static inline void encode_backward_points(const Grid& g, const Entry* table, const float* const* p,
                                          const float* footprint, const float* d, int64_t stride,
                                          int n, float* const* to_points) {
  const int F = g.features;
  Corners c;
  for (int l = 0; l < g.num_levels(); l++) {
    const Level& level = g.levels[l];
    const Entry* t = table + entry_offset(g, l);
    for (int s = 0; s < n; s++) {
      float x[4];
      for (int k = 0; k < g.dims; k++) x[k] = p[k][s];
      find_corners(g, level, x, c);
      float scale = level.scale * (footprint ? footprint_weight(footprint[s], level.scale) : 1);
      for (int k = 0; k < 1 << g.dims; k++) {
        float dot = 0;
        for (int j = 0; j < F; j++)
          dot += d[(size_t)(l * F + j) * stride + s] * float_of(t[(size_t)c.row[k] * F + j]);
        for (int e = 0; e < g.dims; e++) {
          float slope = (k >> e & 1) ? scale : -scale;
          for (int o = 0; o < g.dims; o++)
            if (o != e) slope *= (k >> o & 1) ? c.fraction[o] : 1 - c.fraction[o];
          to_points[e][s] += dot * slope;
        }
      }
    }
  }
}
