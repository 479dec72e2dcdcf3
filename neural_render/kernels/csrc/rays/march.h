// Where samples lie along a ray: the lattice of MarchSpec and the walk over occupied cells.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "field/vec.h"

struct March {
  float step, near, cone_angle, max_step, min_transmittance;
  int cascades, max_samples;
};

// T(s) of MarchSpec and its inverse: constant steps, then proportional to t, then constant again.
struct Lattice {
  float near, step, per_step, cone, max_step, t1, t2, s1, s2;
  explicit Lattice(const March& m)
      : near(m.near),
        step(m.step),
        per_step(1 / m.step),
        cone(m.cone_angle),
        max_step(m.max_step) {
    if (cone <= 0) return;
    t1 = std::max(step / cone, near);
    t2 = std::max(max_step / cone, t1);
    s1 = (t1 - near) / step;
    s2 = s1 + std::log(t2 / t1) / cone;
  }
  float at(float s) const {
    if (cone <= 0 || s <= s1) return near + s * step;
    if (s <= s2) return t1 * std::exp(cone * (s - s1));
    return t2 + (s - s2) * max_step;
  }
  vf at(vf s) const {
    if (cone <= 0) return near + s * step;
    vf t;
    for (int i = 0; i < W; i++) t[i] = at(s[i]);
    return t;
  }
  float inverse(float t) const {
    if (cone <= 0 || t <= t1) return (t - near) * per_step;
    if (t <= t2) return s1 + std::log(t / t1) / cone;
    return s2 + (t - t2) / max_step;
  }
};

constexpr int CELLS = 128;
constexpr int WORDS = CELLS * CELLS * CELLS / 64;  // 4x4x4 cells a word

struct MortonTable {
  uint32_t spread[CELLS];
  MortonTable() {
    for (uint32_t i = 0; i < CELLS; i++) {
      uint32_t v = 0;
      for (int b = 0; b < 7; b++) v |= (i >> b & 1) << (3 * b);
      spread[i] = v;
    }
  }
};
static const MortonTable MORTON;

static inline uint32_t morton(int x, int y, int z) {
  return MORTON.spread[x] | MORTON.spread[y] << 1 | MORTON.spread[z] << 2;
}

static inline int every_third_bit(uint32_t m) {
  int v = 0;
  for (int b = 0; b < 7; b++) v |= (m >> (3 * b) & 1) << b;
  return v;
}

// Occupancy bits with a summary of 16x16x16 blocks, so that empty space is left in long strides,
// and the box around all that is occupied, outside of which no ray begins or ends.
struct Occupancy {
  const uint8_t* bits;
  int cascades;
  std::vector<uint8_t> blocks;  // [cascades 512]
  float low[3] = {1, 1, 1}, high[3] = {0, 0, 0};

  Occupancy(const uint8_t* bits, int cascades) : bits(bits), cascades(cascades) {
    blocks.resize((size_t)cascades * 512);
    for (int c = 0; c < cascades; c++)
      for (int b = 0; b < 512; b++)
        for (int w = 64 * b; w < 64 * (b + 1); w++)
          if (word((size_t)c * WORDS + w)) {
            blocks[(size_t)c * 512 + b] = 1;
            enclose(c, w);
          }
  }
  uint64_t word(size_t index) const {
    uint64_t w;
    std::memcpy(&w, bits + index * 8, 8);
    return w;
  }

 private:
  void enclose(int cascade, uint32_t word_index) {
    float side = std::ldexp(1.0f, cascade - cascades + 1), width = side * 4 / CELLS;
    for (int a = 0; a < 3; a++) {
      float begin = 0.5f - 0.5f * side + every_third_bit(word_index >> a) * width;
      low[a] = std::min(low[a], begin);
      high[a] = std::max(high[a], begin + width);
    }
  }
};

// Rays on their way.
struct Walk {
  float o[3], d[3], inverse[3];
  float jitter, t_exit;
  int k, taken;
  bool ended;
};
struct Walks {
  std::vector<Walk> walks;
  void resize(int rays) { walks.resize(rays); }
  bool ended(int ray) const { return walks[ray].ended; }
  float jitter(int ray) const { return walks[ray].jitter; }
};

// Directions' zero components become tiny ones, so that no division is by zero.
static inline void start_walk(Walks& walks, int ray, const Lattice& lattice, const Occupancy& occupancy,
                              const float* origin, const float* direction, float jitter) {
  Walk& w = walks.walks[ray];
  float t0 = lattice.near, t1 = 1e30f;
  for (int a = 0; a < 3; a++) {
    w.o[a] = origin[a];
    w.d[a] = direction[a];
    w.inverse[a] = 1 / (std::fabs(w.d[a]) < 1e-9f ? std::copysign(1e-9f, w.d[a]) : w.d[a]);
    float a0 = (occupancy.low[a] - w.o[a]) * w.inverse[a];
    float a1 = (occupancy.high[a] - w.o[a]) * w.inverse[a];
    t0 = std::max(t0, std::min(a0, a1));
    t1 = std::min(t1, std::max(a0, a1));
  }
  w.jitter = jitter;
  // A little later, so that rounding cannot cut off the last interval.
  w.t_exit = t1 + 1e-4f;
  w.taken = 0;
  // Also false for NaN rays, which see nothing.
  w.ended = !(t0 < t1) || !(t1 < 1e29f);
  w.k = w.ended ? 0 : std::max(0, (int)std::floor(lattice.inverse(t0) - jitter) - 1);
}

struct Sample {
  float x, y, z, t_near, t_far;
};

// The cascade of an interval: the finest that contains the midpoint and whose cells are no shorter.
static inline int cascade_of(float x, float y, float z, float length, int cascades) {
  float far = std::max(std::fabs(x - 0.5f), std::max(std::fabs(y - 0.5f), std::fabs(z - 0.5f)));
  int c = 0;
  while (c < cascades - 1 && !(far < std::ldexp(1.0f, c - cascades))) c++;
  while (c < cascades - 1 && std::ldexp(1.0f / CELLS, c - cascades + 1) < length) c++;
  return c;
}

// Up to `limit` samples from where the walk stands; gives their number.
template <class Emit>
static inline int walk_on(Walk& w, const Lattice& lattice, const Occupancy& occupancy,
                          int max_samples, int limit, Emit emit) {
  int found = 0;
  const int cascades = occupancy.cascades;
  while (!w.ended && found < limit) {
    Sample q;
    q.t_near = lattice.at(w.k + w.jitter);
    q.t_far = lattice.at(w.k + 1 + w.jitter);
    float t = 0.5f * (q.t_near + q.t_far);
    if (!(t < w.t_exit) || w.taken >= max_samples) {
      w.ended = true;
      break;
    }
    q.x = w.o[0] + t * w.d[0], q.y = w.o[1] + t * w.d[1], q.z = w.o[2] + t * w.d[2];
    if (!(q.x >= 0 && q.x < 1 && q.y >= 0 && q.y < 1 && q.z >= 0 && q.z < 1)) {
      w.k++;
      continue;
    }
    int c = cascades == 1 ? 0 : cascade_of(q.x, q.y, q.z, q.t_far - q.t_near, cascades);
    float zoom = cascades == 1 ? 1.0f : std::ldexp(1.0f, cascades - 1 - c);
    float shrink = cascades == 1 ? 1.0f : std::ldexp(1.0f, c + 1 - cascades);
    float u[3] = {(q.x - 0.5f) * zoom + 0.5f, (q.y - 0.5f) * zoom + 0.5f,
                  (q.z - 0.5f) * zoom + 0.5f};
    int cell[3];
    for (int a = 0; a < 3; a++)
      cell[a] = std::min(CELLS - 1, std::max(0, (int)(u[a] * CELLS)));
    uint32_t index = morton(cell[0], cell[1], cell[2]);
    uint64_t word = occupancy.word((size_t)c * WORDS + (index >> 6));
    if (word >> (index & 63) & 1) {
      emit(w.k);
      w.k++, w.taken++, found++;
      continue;
    }
    // Leave the largest empty block around the point: 1, 4 or 16 cells wide.
    int shift = word ? 0 : occupancy.blocks[(size_t)c * 512 + (index >> 12)] ? 2 : 4;
    float width = (float)(1 << shift) / CELLS, leave = 1e30f;
    for (int a = 0; a < 3; a++) {
      float border = ((cell[a] >> shift) + (w.d[a] > 0)) * width;
      leave = std::min(leave, (border - u[a]) * shrink * w.inverse[a]);
    }
    float s = lattice.inverse(t + std::max(leave, 0.0f)) - w.jitter - 0.5f;
    w.k = std::max(w.k + 1, (int)std::ceil(std::min(s, 1e8f) - 0.01f));
  }
  return found;
}

static inline void march(Walks& walks, const Lattice& lattice, const Occupancy& occupancy,
                         int max_samples, const int* living, int num, int per_ray, int* found,
                         int32_t* intervals) {
  for (int i = 0; i < num; i++) {
    int32_t* to = intervals + (size_t)i * per_ray;
    found[i] = walk_on(walks.walks[living[i]], lattice, occupancy, max_samples, per_ray,
                       [&](int k) { *to++ = k; });
  }
}
