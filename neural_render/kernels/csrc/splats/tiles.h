// The pixels of one tile: splats blended front to back, and the gradient back to front.
#pragma once
#include "splats/lists.h"

namespace splats {

constexpr int AREA = TILE * TILE, PER_ROW = TILE / W;  // pixels, and vectors in a row
constexpr int CHECKED = 8;  // after so many splats it is looked whether a row still has light
static_assert(TILE * PER_ROW <= 64, "a bit for each vector of a tile");

// Where a tile lies, its pixels' centres, and the light that is left in each: `living` is 0 where
// the pixel has ended, `left` what was left then.
struct TilePixels {
  int across, down;
  float y0;
  uint32_t rows = 0;  // those that still have light
  vf x[PER_ROW];
  alignas(64) float living[AREA], left[AREA], color[3][AREA];

  TilePixels(const Camera& c, const Lists& lists, int tile) {
    across = tile % lists.across * TILE, down = tile / lists.across * TILE;
    y0 = (float)down + 0.5f;
    for (int v = 0; v < PER_ROW; v++)
      for (int i = 0; i < W; i++) x[v][i] = (float)(across + v * W + i) + 0.5f;
    std::memset(color, 0, sizeof color);
    for (int row = 0; row < TILE; row++) {
      const bool inside = down + row < c.height;
      if (inside) rows |= 1u << row;
      for (int i = 0; i < TILE; i++) {
        left[row * TILE + i] = 1;
        living[row * TILE + i] = inside && across + i < c.width ? 1.0f : 0.0f;
      }
    }
  }
  void look_for_light() {
    for (int row = 0; row < TILE; row++) {
      if (!(rows >> row & 1)) continue;
      vi any = {};
      for (int v = 0; v < PER_ROW; v++) any |= load(living + row * TILE + v * W) > 0;
      if (!any_lane(any)) rows &= ~(1u << row);
    }
  }
};

static inline float lane_sum(vf v) {
  v4 sum = quad<0>(v);
#if defined(__AVX2__)
  sum += quad<1>(v);
#endif
#if defined(__AVX512F__)
  sum += quad<2>(v) + quad<3>(v);
#endif
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// What the way there leaves for the way back: of each splat a bit for each vector that it changed,
// and the alphas there.
struct Trace {
  std::vector<uint64_t> touched;
  std::vector<float> alphas;
  size_t used = 0;
  void clear() { touched.clear(), used = 0; }
  void begin_splat() {
    touched.push_back(0);
    if (alphas.size() < used + AREA) alphas.resize(2 * used + AREA);
  }
  void add(int number, vf alpha) {
    touched.back() |= (uint64_t)1 << number;
    store(&alphas[used], alpha);
    used += W;
  }
};

// The rows of a tile that a splat may touch.
struct Rows {
  int begin, end;
  Rows(const Projected& s, const TilePixels& t) {
    begin = (int)std::ceil(std::max(0.0f, s.y - s.reach_y - t.y0 - 0.01f));
    end = (int)std::floor(std::min((float)(TILE - 1), s.y + s.reach_y - t.y0 + 0.01f)) + 1;
  }
};

// One splat over the tile's pixels; `trace` may be null.
static inline void blend(const Projected& s, TilePixels& t, Trace* trace) {
  const Rows rows(s, t);
  const vf cut = splat(s.cut - 1e-3f);
  for (int row = rows.begin; row < rows.end; row++) {
    if (!(t.rows >> row & 1)) continue;
    const float y = t.y0 + (float)row - s.y;
    const float across = -s.xy * y, rest = -0.5f * s.yy * y * y;
    for (int v = 0; v < PER_ROW; v++) {
      const vf x = t.x[v] - s.x;
      const vf exponent = (-0.5f * s.xx * x + across) * x + rest;
      if (!any_lane(exponent > cut)) continue;
      const int at = row * TILE + v * W;
      vf alpha = vmin(s.opacity * vexp(exponent), splat(MOST_ALPHA));
      const vf light = load(t.living + at), next = light - alpha * light;
      const vi goes_on = next >= LEAST_LIGHT;
      alpha = (alpha >= LEAST_ALPHA) & goes_on ? alpha : vf{};
      const vf weight = alpha * light;
      store(t.living + at, goes_on ? light - weight : vf{});
      store(t.left + at, goes_on ? light - weight : load(t.left + at));
      for (int c = 0; c < 3; c++)
        store(t.color[c] + at, load(t.color[c] + at) + weight * s.color[c]);
      if (trace) trace->add(row * PER_ROW + v, alpha);
    }
  }
}

// All splats of a tile, until no pixel has light left; the number of them that were looked at.
static inline int blend_all(const Lists& lists, int tile, TilePixels& t, Trace* trace) {
  const uint32_t begin = lists.first_pair[tile], end = lists.first_pair[tile + 1];
  for (uint32_t i = begin; i < end; i++) {
    if ((i - begin) % CHECKED == 0) {
      t.look_for_light();
      if (!t.rows) return (int)(i - begin);
    }
    if (trace) trace->begin_splat();
    blend(lists.projected[lists.pairs[i].splat], t, trace);
  }
  return (int)(end - begin);
}

// The gradient to a tile's colours, and what is needed on the way back: `behind` is the sum over
// the splats behind of weight times (gradient to the colour) . colour, less what the opacity's
// gradient makes of the light that is left at the end.
struct TileGradient {
  alignas(64) float to[3][AREA], behind[AREA];

  TileGradient(const Camera& c, const TilePixels& t, const float* to_picture) {
    std::memset(to, 0, sizeof to), std::memset(behind, 0, sizeof behind);
    const int rows = std::min(TILE, c.height - t.down);
    const int columns = std::min(TILE, c.width - t.across);
    for (int row = 0; row < rows; row++) {
      const float* from = to_picture + 4 * ((size_t)(t.down + row) * c.width + t.across);
      for (int i = 0; i < columns; i++) {
        const int at = row * TILE + i;
        for (int k = 0; k < 3; k++) to[k][at] = from[4 * i + k];
        behind[at] = -from[4 * i + 3] * t.left[at];
      }
    }
  }
};

// The sums of one splat, whose alphas end at `alphas`; `t.left` goes back to the light before it.
static inline const float* unblend(const Projected& s, uint64_t touched, const float* alphas,
                                   TilePixels& t, TileGradient& g, float* sums) {
  vf total[SUMS] = {};
  while (touched) {
    const int number = 63 - __builtin_clzll(touched);
    touched ^= (uint64_t)1 << number;
    const int row = number / PER_ROW, at = number * W;
    const vf x = t.x[number % PER_ROW] - s.x, alpha = load(alphas -= W);
    const float y = t.y0 + (float)row - s.y;
    const vf rest = 1 / (1 - alpha), light = load(t.left + at) * rest, weight = alpha * light;
    store(t.left + at, light);
    vf shown = {};
    for (int c = 0; c < 3; c++) {
      const vf to = load(g.to[c] + at);
      shown += to * s.color[c];
      total[SUM_RED + c] += weight * to;
    }
    const vf behind = load(g.behind + at);
    store(g.behind + at, behind + weight * shown);
    vf change = alpha * (light * shown - behind * rest);
    change = alpha < MOST_ALPHA ? change : vf{};
    const vf u = s.xx * x + s.xy * y, v = s.xy * x + s.yy * y, to_u = change * u;
    total[SUM_G] += change, total[SUM_U] += to_u, total[SUM_V] += change * v;
    total[SUM_UU] += to_u * u, total[SUM_UV] += to_u * v, total[SUM_VV] += change * v * v;
    total[SUM_W] += weight;
  }
  for (int k = 0; k < SUMS; k++) sums[k] = lane_sum(total[k]);
  return alphas;
}

}  // namespace splats
