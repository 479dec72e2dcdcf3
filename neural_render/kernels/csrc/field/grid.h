// Hash-grid encoding: lookup and scatter (Mueller et al. 2022, section 3). Layouts: specs.py.
// Points and features of a tile are planar: one row per coordinate or feature, `stride` floats apart.
#pragma once
#include <algorithm>
#include <vector>

#include "field/vec.h"

struct Level {
  float scale;
  uint32_t resolution, offset, rows;
  bool dense;
};

struct Grid {
  int dims, features;
  bool xor_hash;
  uint32_t multipliers[3];
  std::vector<Level> levels;
  int num_outputs() const { return (int)levels.size() * features; }
};

// The 2^dims corners of the cell of one point: rows of the level, weights, any dims and hash.
struct Corners {
  uint32_t row[16];
  float weight[16];
  float fraction[4];
};

static inline void find_corners(const Grid& g, const Level& level, const float* x, Corners& out) {
  uint32_t cell[4];
  for (int d = 0; d < g.dims; d++) {
    float at = x[d] * level.scale + 0.5f;
    cell[d] = (uint32_t)(int32_t)std::floor(at);
    out.fraction[d] = at - std::floor(at);
  }
  const uint32_t primes[4] = {1, 2654435761u, 805459861u, 3674653429u};
  for (int c = 0; c < 1 << g.dims; c++) {
    float weight = 1;
    uint32_t index = 0, stride = 1;
    for (int d = 0; d < g.dims; d++) {
      bool right = c >> d & 1;
      weight *= right ? out.fraction[d] : 1 - out.fraction[d];
      uint32_t at = cell[d] + right;
      if (level.dense) {
        index += at * stride;
        stride *= level.resolution;
      } else if (g.xor_hash) {
        index ^= at * primes[d];
      } else {
        index += d == 0 ? at : at * g.multipliers[d - 1];
      }
    }
    out.row[c] = index % level.rows;
    out.weight[c] = weight;
  }
}

// Zip-NeRF's weight of a level for a sample of this footprint (Barron et al. 2023, eq. 5).
static inline float footprint_weight(float footprint, float scale) {
  return footprint > 0 ? std::erf(1 / (2.82842712f * footprint * scale)) : 1.0f;
}

// W samples of one level, three dims, linear hash, two features: the hot case. A corner pair
// (left and right x) is one load of four floats; `wraps` marks a pair that leaves the level's end.
struct Pairs {
  uint32_t at[4][W];  // first float of the pair, within the level
  vf weight[4], left, right;
  bool wraps;
};

static inline void find_pairs(const Grid& g, const Level& level, const float* const* p, int s,
                              Pairs& out) {
  vf x = load(p[0] + s) * level.scale + 0.5f, y = load(p[1] + s) * level.scale + 0.5f,
     z = load(p[2] + s) * level.scale + 0.5f;
  vi ix = __builtin_convertvector(x, vi), iy = __builtin_convertvector(y, vi),
     iz = __builtin_convertvector(z, vi);
  vf wx = x - __builtin_convertvector(ix, vf), wy = y - __builtin_convertvector(iy, vf),
     wz = z - __builtin_convertvector(iz, vf);
  vf uy = 1 - wy, uz = 1 - wz;
  out.left = 1 - wx;
  out.right = wx;
  out.weight[0] = uy * uz;
  out.weight[1] = wy * uz;
  out.weight[2] = uy * wz;
  out.weight[3] = wy * wz;
  uint32_t m1 = level.dense ? level.resolution : g.multipliers[0];
  uint32_t m2 = level.dense ? level.resolution * level.resolution : g.multipliers[1];
  uint32_t mask = level.dense ? 0xffffffffu : level.rows - 1;
  vu y0 = (vu)iy * m1, z0 = (vu)iz * m2, base = (vu)ix + z0;
  vu rows[4] = {(base + y0) & mask, (base + y0 + m1) & mask, (base + y0 + m2) & mask,
                (base + y0 + (m1 + m2)) & mask};
  vi last = (vi){};
  for (int r = 0; r < 4; r++) {
    last |= (vi)(rows[r] == mask);
    store(out.at[r], rows[r] * 2);
  }
  int any = 0;
  for (int i = 0; i < W; i++) any |= last[i];
  out.wraps = any != 0;
}

// The pair that starts at `at`, its right half taken from the level's start where it wraps.
static inline v4 load_pair(const float* level_table, uint32_t at, uint32_t rows) {
  const float* p = level_table + at;
  if (at / 2 + 1 < rows) return load4(p);
  return v4{p[0], p[1], level_table[0], level_table[1]};
}

// The rare vector in which some pair wraps, one sample after another.
static inline void encode_wrapping(const Pairs& q, const float* t, uint32_t rows, float* f0,
                                   float* f1) {
  for (int i = 0; i < W; i++) {
    v4 a = q.weight[0][i] * load_pair(t, q.at[0][i], rows);
    for (int r = 1; r < 4; r++) a += q.weight[r][i] * load_pair(t, q.at[r][i], rows);
    f0[i] = q.left[i] * a[0] + q.right[i] * a[2];
    f1[i] = q.left[i] * a[1] + q.right[i] * a[3];
  }
}

// Sample 4 i + G of each quad i: its four pairs, weighted; a quad holds left and right features.
template <int G>
static inline vf weighted_pairs(const Pairs& q, const float* t) {
  return quad_splat<G>(q.weight[0]) * load_quads(t, q.at[0] + G) +
         quad_splat<G>(q.weight[1]) * load_quads(t, q.at[1] + G) +
         quad_splat<G>(q.weight[2]) * load_quads(t, q.at[2] + G) +
         quad_splat<G>(q.weight[3]) * load_quads(t, q.at[3] + G);
}

static inline void encode_pairs(const Pairs& q, const float* t, uint32_t rows, float* f0,
                                float* f1) {
  if (__builtin_expect(q.wraps, 0)) return encode_wrapping(q, t, rows, f0, f1);
  vf z[4] = {weighted_pairs<0>(q, t), weighted_pairs<1>(q, t), weighted_pairs<2>(q, t),
             weighted_pairs<3>(q, t)};
  quad_transpose(z);
  store(f0, q.left * z[0] + q.right * z[2]);
  store(f1, q.left * z[1] + q.right * z[3]);
}

static inline bool is_hot(const Grid& g) { return g.dims == 3 && g.features == 2 && !g.xor_hash; }

static inline void prefetch_pairs(const Pairs& q, const float* t) {
  for (int r = 0; r < 4; r++)
    for (int i = 0; i < W; i++) __builtin_prefetch(t + q.at[r][i]);
}

static inline void encode_level_hot(const Grid& g, const Level& level, const float* table,
                                    const float* const* p, int n, float* f0, float* f1) {
  const float* t = table + (size_t)level.offset * 2;
  const bool prefetch = level.rows > 1u << 14;  // below, the level sits in the second cache
  Pairs q[2];
  find_pairs(g, level, p, 0, q[0]);
  for (int s = 0, b = 0; s < n; s += W, b ^= 1) {
    if (s + W < n) {
      find_pairs(g, level, p, s + W, q[b ^ 1]);
      if (prefetch) prefetch_pairs(q[b ^ 1], t);
    }
    encode_pairs(q[b], t, level.rows, f0 + s, f1 + s);
  }
}

static inline void encode_level_any(const Grid& g, const Level& level, const float* table,
                                    const float* const* p, int n, float* out, int stride) {
  const int F = g.features;
  const float* t = table + (size_t)level.offset * F;
  Corners c;
  for (int s = 0; s < n; s++) {
    float x[4], f[16] = {0};
    for (int d = 0; d < g.dims; d++) x[d] = p[d][s];
    find_corners(g, level, x, c);
    for (int k = 0; k < 1 << g.dims; k++)
      for (int j = 0; j < F; j++) f[j] += c.weight[k] * t[(size_t)c.row[k] * F + j];
    for (int j = 0; j < F; j++) out[(size_t)j * stride + s] = f[j];
  }
}

// Features of n points (buffers readable and writable up to a multiple of W).
static inline void encode_tile(const Grid& g, const float* table, const float* const* p,
                               const float* footprint, int n, float* out, int stride) {
  if (n <= 0) return;
  for (size_t l = 0; l < g.levels.size(); l++) {
    float* rows = out + l * g.features * stride;
    if (is_hot(g))
      encode_level_hot(g, g.levels[l], table, p, n, rows, rows + stride);
    else
      encode_level_any(g, g.levels[l], table, p, n, rows, stride);
    if (footprint)
      for (int s = 0; s < n; s++) {
        float weight = footprint_weight(footprint[s], g.levels[l].scale);
        for (int j = 0; j < g.features; j++) rows[(size_t)j * stride + s] *= weight;
      }
  }
}

// The slow way: some pair wraps, or the vector is not full.
static inline void scatter_each(const Pairs& q, const float* g0, const float* g1, int count,
                                uint32_t rows, float* grad) {
  for (int i = 0; i < count; i++)
    for (int r = 0; r < 4; r++) {
      float* left = grad + q.at[r][i];
      float* right = q.at[r][i] / 2 + 1 < rows ? left + 2 : grad;
      float l = q.weight[r][i] * q.left[i], h = q.weight[r][i] * q.right[i];
      left[0] += l * g0[i], left[1] += l * g1[i];
      right[0] += h * g0[i], right[1] += h * g1[i];
    }
}

template <int G>
static inline void add_pairs(const Pairs& q, vf d, float* grad) {
  for (int r = 0; r < 4; r++) add_quads(grad, q.at[r] + G, d * quad_splat<G>(q.weight[r]));
}

static inline void scatter_pairs(const Pairs& q, const float* g0, const float* g1, int count,
                                 uint32_t rows, float* grad) {
  if (__builtin_expect(q.wraps || count < W, 0)) return scatter_each(q, g0, g1, count, rows, grad);
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
  const bool prefetch = level.rows > 1u << 14;
  float rest[3][W];  // the last, incomplete vector, filled up with a valid point
  int whole = n / W * W;
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < W; i++) rest[k][i] = whole + i < n ? p[k][whole + i] : 0.5f;
  const float* tail[3] = {rest[0], rest[1], rest[2]};
  auto find = [&](int s, Pairs& q) {
    if (s < whole)
      find_pairs(g, level, p, s, q);
    else
      find_pairs(g, level, tail, 0, q);
    if (prefetch) prefetch_pairs(q, grad);
  };
  Pairs q[2];
  find(0, q[0]);
  for (int s = 0, b = 0; s < n; s += W, b ^= 1) {
    if (s + W < n) find(s + W, q[b ^ 1]);
    scatter_pairs(q[b], d + s, d + stride + s, std::min(W, n - s), level.rows, grad);
  }
}

// Adds the gradient of one level of n points to `grad` ([rows features], that level alone).
static inline void scatter_level(const Grid& g, const Level& level, const float* const* p,
                                 const float* d, int64_t stride, int n, float* grad) {
  if (n <= 0) return;
  if (is_hot(g)) return scatter_level_hot(g, level, p, d, stride, n, grad);
  const int F = g.features;
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

// Gradient to the points: derivative of the interpolation weights within the cell.
static inline void encode_backward_points(const Grid& g, const float* table, const float* const* p,
                                          const float* footprint, const float* d, int64_t stride,
                                          int n, float* const* to_points) {
  const int F = g.features;
  Corners c;
  for (size_t l = 0; l < g.levels.size(); l++) {
    const Level& level = g.levels[l];
    const float* t = table + (size_t)level.offset * F;
    for (int s = 0; s < n; s++) {
      float x[4];
      for (int k = 0; k < g.dims; k++) x[k] = p[k][s];
      find_corners(g, level, x, c);
      float scale = level.scale * (footprint ? footprint_weight(footprint[s], level.scale) : 1);
      for (int k = 0; k < 1 << g.dims; k++) {
        float dot = 0;
        for (int j = 0; j < F; j++)
          dot += d[(l * F + j) * stride + s] * t[(size_t)c.row[k] * F + j];
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
