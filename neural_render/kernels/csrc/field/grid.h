// The hash grid's levels, cells and corners (Mueller et al. 2022, section 3). Layouts: specs.py.
#pragma once
#include <algorithm>
#include <vector>

#include "field/numbers.h"

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
  int num_levels() const { return (int)levels.size(); }
  int num_outputs() const { return num_levels() * features; }
};

// Rows behind each level of a table of entries: the first of them repeats the level's first row, so
// that a right neighbour is always the next row. A float32 table is the caller's own and has none.
constexpr int SPARE_ROWS = PER == 2 ? 8 : 0;
static inline size_t entry_offset(const Grid& g, int level) {
  return ((size_t)g.levels[level].offset + (size_t)level * SPARE_ROWS) * g.features;
}

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
// (left and right x) is one load of four numbers; `wraps` marks a pair that leaves the level's end.
struct Pairs {
  uint32_t at[4][W];  // first number of the pair, within the level
  vf weight[4], left, right;
  bool wraps;
};

static inline bool is_hot(const Grid& g) { return g.dims == 3 && g.features == 2 && !g.xor_hash; }

// `Wraps`: whether a pair at the level's end must be known, for want of a row behind it.
template <bool Wraps>
ALWAYS_INLINE void find_pairs(const Grid& g, const Level& level, const float* const* p, int s,
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
  for (int r = 0; r < 4; r++) store(out.at[r], rows[r] * 2);
  out.wraps = false;
  if (Wraps)
    out.wraps = any_lane((rows[0] == mask) | (rows[1] == mask) | (rows[2] == mask) |
                         (rows[3] == mask));
}

// Pairs are found some vectors before they are used, because places that were just stored as a
// vector are slow to read one by one; earlier where they are to be fetched from afar.
constexpr int SOON = 1, LATER = 3;
constexpr unsigned RING = 4;

template <class T>
ALWAYS_INLINE void prefetch_pairs(const Pairs& q, const T* t) {
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) __builtin_prefetch(t + q.at[r][i]);
}
// Rows of larger levels are asked for ahead. Alone, a lookup is faster without that while a level
// fits into the second cache; in a training step Adam has driven it out.
#if defined(NR_GATHERS)
constexpr uint32_t PREFETCH_BYTES = 1 << 21;  // gathers ask for enough at once by themselves
#else
constexpr uint32_t PREFETCH_BYTES = 1 << 17;
#endif
