// Where samples lie along a ray: the lattice of MarchSpec and the walk over occupied cells, many
// rays at a time, one a lane. Legend: k number of an interval, s lattice coordinate, t = T(s).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "field/vec.h"
#include "rays/cells.h"

struct March {
  float step, near, cone_angle, max_step, min_transmittance;
  int cascades, max_samples;
};

// From here on float32 cannot tell interval from interval: no ray goes further.
constexpr int LAST_INTERVAL = 1 << 24;
constexpr float NEVER = 1e30f;

// T(s) of MarchSpec and its inverse: constant steps, then proportional to t, then constant again.
struct Lattice {
  float near, step, per_step, cone, per_cone, max_step, per_max_step;
  float t1 = 1, t2 = 1, s1 = 0, s2 = 0;
  // Subtracted where a distance becomes an interval: an interval's midpoint lies up to cone / 8
  // beyond its middle coordinate, and logarithms are rounded. To look too early costs nothing.
  float slack;
  // Per cascade a coordinate before which no interval is longer than the cascade's cells.
  std::vector<float> coarser;

  explicit Lattice(const March& m)
      : near(m.near),
        step(m.step),
        per_step(1 / m.step),
        cone(m.cone_angle),
        per_cone(cone > 0 ? 1 / cone : 0),
        max_step(m.max_step),
        per_max_step(1 / m.max_step),
        slack(0.01f + cone / 8 + 4e-7f * per_cone),
        coarser(m.cascades, NEVER) {
    if (cone <= 0) return;
    double begin = std::max((double)step / cone, (double)near);
    double end = std::max((double)max_step / cone, begin), grown = (begin - near) / step;
    t1 = (float)begin, t2 = (float)end, s1 = (float)grown;
    s2 = (float)(grown + std::log(end / begin) / cone);
    for (int c = 0; c + 1 < m.cascades; c++) {
      float side = std::ldexp(1.0f / CELLS, c - m.cascades + 1);
      if (side < max_step) coarser[c] = inverse(side / cone) * (1 - 1e-6f) - 1 - slack;
    }
  }
  float at(float s) const {
    if (cone <= 0 || s <= s1) return near + s * step;
    if (s <= s2) return t1 * std::exp(cone * (s - s1));
    return t2 + (s - s2) * max_step;
  }
  float inverse(float t) const {
    if (cone <= 0 || t <= t1) return (t - near) * per_step;
    if (t <= t2) return s1 + std::log(t / t1) * per_cone;
    return s2 + (t - t2) * per_max_step;
  }
  vf at(vf s) const {
    vf constant = near + s * step;
    if (cone <= 0) return constant;
    vf growing = t1 * vexp(cone * (s - s1)), beyond = t2 + (s - s2) * max_step;
    return s <= s1 ? constant : s <= s2 ? growing : beyond;
  }
  vf inverse(vf t) const {
    vf constant = (t - near) * per_step;
    if (cone <= 0) return constant;
    vf growing = s1 + vlog(vmax(t / t1, splat(1.0f))) * per_cone;
    vf beyond = s2 + (t - t2) * per_max_step;
    return t <= t1 ? constant : t <= t2 ? growing : beyond;
  }
};

// The lowest seven bits of each lane, moved to every third place.
static inline vu spread_bits(vu v) {
  v = (v | v << 8) & 0x700fu;
  v = (v | v << 4) & 0x430c3u;
  return (v | v << 2) & 0x49249u;
}

// Rays on their way. `k` is the next interval to look at, `rounding` how far a computed position
// may be off.
struct Walks {
  std::vector<float> o[3], d[3], inverse[3], jitter, t_exit, rounding;
  std::vector<int32_t> k, taken, over, octant;

  // What was there before is forgotten, its memory is not.
  void resize(int rays) {
    for (auto* v : {o, d, inverse})
      for (int a = 0; a < 3; a++) v[a].resize(rays);
    for (auto* v : {&jitter, &t_exit, &rounding}) v->resize(rays);
    for (auto* v : {&k, &taken, &over, &octant}) v->resize(rays);
  }
  bool ended(int ray) const { return over[ray]; }
};

// Where a ray enters and leaves the box of all that is occupied, made a little larger, so that
// rounding cuts nothing off; begin > end if it misses the box.
struct Span {
  float begin, end;
};

static inline Span span_in_box(const Walks& w, int ray, const Occupancy& occupancy, float near) {
  Span span{near, NEVER};
  float margin = 4 * w.rounding[ray];
  for (int a = 0; a < 3; a++) {
    float to_low = occupancy.low[a] - margin - w.o[a][ray];
    float to_high = occupancy.high[a] + margin - w.o[a][ray];
    if (w.d[a][ray] == 0) {
      if (to_low > 0 || to_high < 0) return {0, -1};
      continue;
    }
    float t0 = to_low * w.inverse[a][ray], t1 = to_high * w.inverse[a][ray];
    span.begin = std::max(span.begin, std::min(t0, t1));
    span.end = std::min(span.end, std::max(t0, t1));
  }
  return span;
}

// Rays that are not finite or have no direction have no samples.
static inline void start_walk(Walks& w, int ray, const Lattice& lattice, const Occupancy& occupancy,
                              const float* origin, const float* direction, float jitter) {
  float size = std::fabs(jitter), farthest = 1;
  w.octant[ray] = 0;
  for (int a = 0; a < 3; a++) {
    float d = direction[a];
    // Components too small to move anything are none; their border is far ahead, never behind.
    bool still = std::fabs(d) < 1e-20f;
    w.o[a][ray] = origin[a];
    w.d[a][ray] = still ? 0.0f : d;
    w.inverse[a][ray] = still ? 1e20f : 1 / d;
    w.octant[ray] |= (w.inverse[a][ray] > 0) << a;
    farthest = std::max(farthest, std::fabs(origin[a]));
    size += std::fabs(origin[a]) + std::fabs(d);
  }
  w.jitter[ray] = jitter;
  w.rounding[ray] = 2.4e-7f * farthest;
  w.taken[ray] = 0;
  w.k[ray] = 0;
  w.over[ray] = 1;
  // Written so that NaN fails, too.
  if (!(size < NEVER) || occupancy.empty()) return;
  Span span = span_in_box(w, ray, occupancy, lattice.near);
  w.t_exit[ray] = std::min(span.end, lattice.at((float)LAST_INTERVAL));
  float first = lattice.inverse(span.begin) * (1 - 1e-6f) - jitter - lattice.slack;
  if (!(span.begin < span.end && span.end < NEVER && first < LAST_INTERVAL)) return;
  w.k[ray] = std::max(0, (int)std::floor(first) - 1);
  w.over[ray] = 0;
}

// Groups of rays that advance together: the latency of one hides behind the others.
constexpr int GROUPS = 2;
constexpr int LANES = GROUPS * W;
constexpr int ROUNDS = 4;  // between two looks for lanes that stand still

struct Crew {
  alignas(64) float o[3][LANES], d[3][LANES], inverse[3][LANES];
  alignas(64) float jitter[LANES], t_exit[LANES], rounding[LANES];
  alignas(64) int32_t k[LANES], active[LANES];
  alignas(64) int32_t octant[LANES];
  alignas(64) int32_t place[LANES], end[LANES];  // where the next sample goes, where none may
  int item[LANES];                               // in the list of living rays; -1: none
  bool busy[GROUPS];
};

// The cascade of each interval: the finest that contains the midpoint and whose cells are no
// shorter. `stay`: the coordinate up to which steps are short enough for it.
struct Cascades {
  vi number;
  vf stay;
};

static inline Cascades cascades_of(vf extent, vf length, const Lattice& lattice, int cascades) {
  Cascades found{vi{}, splat(lattice.coarser[0])};
  float half = power_of_two(vi{} - cascades)[0];
  for (int c = 0; c + 1 < cascades; c++, half *= 2) {
    vi coarser = (extent >= half) | (length > half * 2 / CELLS);
    found.number -= coarser;
    found.stay = coarser ? splat(lattice.coarser[c + 1]) : found.stay;
  }
  return found;
}

// The byte at `at` of each lane in the lowest bits of a number, the three behind it above.
static inline vu numbers_at(const uint8_t* from, vu at) {
#if defined(NR_GATHERS)
  return (vu)_mm512_i32gather_epi32((__m512i)at, from, 1);
#else
  vu found;
  for (int i = 0; i < W; i++) {
    uint32_t number;
    std::memcpy(&number, from + at[i], sizeof number);
    found[i] = number;
  }
  return found;
#endif
}

// Whether cells, by their Morton index and the place of their word, are occupied (0 or 1), and the
// side of the empty cube ahead of them.
static inline void look_up(const Occupancy& occupancy, vu index, vu word, vi& bit, vi& side) {
  vu bits = numbers_at(occupancy.bits(), index >> 5 << 2);
  bit = (vi)(bits >> (index & 31u) & 1u);
  vi byte = (vi)(bits >> (index & 24u) & 255u);
  side = (vi)(numbers_at(occupancy.ahead(), word) & 255u);
  side = byte != 0 ? vi{} + 1 : side;
}

// One look of W rays at their next interval. Samples go to their places; what is none goes to
// `spare`, so that nothing is asked twice.
static inline void advance(Crew& l, int lane, const Lattice& lattice, const Occupancy& occupancy,
                           int32_t* intervals, int spare) {
  const int cascades = occupancy.cascades;
  vi k = load(l.k + lane), active = load(l.active + lane), place = load(l.place + lane);
  vf jitter = load(l.jitter + lane);
  vf t_near = lattice.at(to_floats(k) + jitter), t_far = lattice.at(to_floats(k + 1) + jitter);
  vf t = 0.5f * (t_near + t_far), q[3], extent{};
  active &= t < load(l.t_exit + lane);
  vi inside = active;
  for (int a = 0; a < 3; a++) {
    vf p = load(l.o[a] + lane) + t * load(l.d[a] + lane);
    inside &= (p >= 0.0f) & (p < 1.0f);
    q[a] = p - 0.5f;
    extent = vmax(extent, vabs(q[a]));
  }
  vf zoom = splat(1.0f), shrink = zoom, stay = splat(NEVER);
  vu index{};
  if (cascades > 1) {
    Cascades found = cascades_of(extent, t_far - t_near, lattice, cascades);
    zoom = power_of_two(cascades - 1 - found.number);
    shrink = power_of_two(found.number + 1 - cascades);
    // On the very border of a finer cascade nothing is known about what lies ahead.
    stay = (extent * zoom == 0.25f) & (found.number > 0) ? splat(0.0f) : found.stay;
    index = (vu)found.number * (uint32_t)CASCADE_BITS;
  }
  vi cell[3];
  vu word{};
  for (int a = 0; a < 3; a++) {
    q[a] = q[a] * zoom + 0.5f;
    vi c = to_ints(q[a] * (float)CELLS);
    c = c < 0 ? vi{} : c;
    cell[a] = c > CELLS - 1 ? vi{} + (CELLS - 1) : c;
    index |= spread_bits((vu)cell[a]) << a;
    word |= (vu)cell[a] / 4 << 5 * a;
  }
  word += ((index >> 21) * (uint32_t)OCTANTS + (vu)load(l.octant + lane)) * (uint32_t)WORDS;
  vi bit, side;
  look_up(occupancy, index, word, bit, side);
  vi hit = inside & (bit != 0);

  // Otherwise leave the empty cube ahead, whose hindmost cell, byte or word the point is in: along
  // no axis do computed positions ever go back.
  vf leave = splat(NEVER), rounding = load(l.rounding + lane);
  vi hindmost = side < 4 ? side : vi{} + 4;
  for (int a = 0; a < 3; a++) {
    vf inverse = load(l.inverse[a] + lane);
    vi border = (cell[a] & -hindmost) + (inverse > 0.0f ? side : hindmost - side);
    vf distance = (to_floats(border) * (1.0f / CELLS) - q[a]) * shrink;
    leave = vmin(leave, distance * inverse - rounding * vabs(inverse));
  }
  vf s = lattice.inverse(t + vmax(leave, splat(0.0f))) * (1 - 2.4e-7f) - 0.5f - lattice.slack;
  s = vmin(vmin(s, stay) - jitter, splat((float)LAST_INTERVAL));
  vi next = to_ints(s);
  next -= to_floats(next) < s;
  next = inside & ~hit & (next > k) ? next : k + 1;

  alignas(64) int32_t slot[W], number[W];
  store(slot, hit ? place : vi{} + spare);
  store(number, k);
  for (int i = 0; i < W; i++) intervals[slot[i]] = number[i];
  place -= hit;
  store(l.k + lane, active ? next : k);
  store(l.place + lane, place);
  store(l.active + lane, active & (place < load(l.end + lane)));
}

// Puts a lane's ray back among the walks.
static inline void retire(const Crew& l, int lane, Walks& w, int max_samples, const int* living,
                          int per_ray, int* found) {
  int item = l.item[lane], ray = living[item];
  found[item] = l.place[lane] - item * per_ray;
  w.k[ray] = l.k[lane];
  w.taken[ray] += found[item];
  w.over[ray] = l.place[lane] < l.end[lane] || w.taken[ray] >= max_samples;
}

static inline void board(Crew& l, int lane, const Walks& w, int ray, int place, int room) {
  for (int a = 0; a < 3; a++) {
    l.o[a][lane] = w.o[a][ray];
    l.d[a][lane] = w.d[a][ray];
    l.inverse[a][lane] = w.inverse[a][ray];
  }
  l.octant[lane] = w.octant[ray];
  l.jitter[lane] = w.jitter[ray], l.t_exit[lane] = w.t_exit[ray];
  l.rounding[lane] = w.rounding[ray], l.k[lane] = w.k[ray];
  l.place[lane] = place, l.end[lane] = place + room;
  l.active[lane] = -1;
}

// Advances rays living[0..num) by up to per_ray samples each, which are none where it has ended:
// found[i] samples of ray living[i], in the intervals intervals[i * per_ray + 0..found[i]).
// `intervals` has room for num * per_ray + 1 numbers.
static inline void march(Walks& w, const Lattice& lattice, const Occupancy& occupancy,
                         int max_samples, const int* living, int num, int per_ray, int* found,
                         int32_t* intervals) {
  Crew l{};
  std::fill(l.item, l.item + LANES, -1);
  int next = 0;
  for (bool any = true; any;) {
    any = false;
    for (int lane = 0; lane < LANES; lane++) {
      if (lane % W == 0) l.busy[lane / W] = false;
      if (!l.active[lane]) {
        if (l.item[lane] >= 0) retire(l, lane, w, max_samples, living, per_ray, found);
        l.item[lane] = -1;
        for (; next < num && l.item[lane] < 0; next++) {
          int room = std::min(per_ray, max_samples - w.taken[living[next]]);
          found[next] = 0;
          if (w.over[living[next]] || room <= 0) continue;
          l.item[lane] = next;
          board(l, lane, w, living[next], next * per_ray, room);
        }
      }
      if (l.active[lane]) l.busy[lane / W] = any = true;
    }
    for (int round = 0; any && round < ROUNDS; round++)
      for (int group = 0; group < GROUPS; group++)
        if (l.busy[group]) advance(l, group * W, lattice, occupancy, intervals, num * per_ray);
  }
}
