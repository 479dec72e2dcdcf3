// Whole pictures of splats, tile by tile, and the gradient to the splats.
#pragma once
#include <memory>
#include <mutex>

#include "splats/tiles.h"

namespace splats {

// What stays between a picture and its backward pass; its memory is used again.
struct Drawing {
  Lists lists;
  std::vector<float> sums;  // SUMS for each slot
  std::vector<uint32_t> place;  // of each splat in the order, if it is there
};

static inline void draw(const Camera& c, const Given& in, Drawing& d, float* picture) {
  d.lists.make(c, in);
  parallel_for(d.lists.tiles(), [&](int tile, int) {
    TilePixels t(c, d.lists, tile);
    blend_all(d.lists, tile, t, nullptr);
    const int rows = std::min(TILE, c.height - t.down);
    const int columns = std::min(TILE, c.width - t.across);
    for (int row = 0; row < rows; row++) {
      float* to = picture + 4 * ((size_t)(t.down + row) * c.width + t.across);
      for (int i = 0; i < columns; i++) {
        const int at = row * TILE + i;
        for (int k = 0; k < 3; k++) to[4 * i + k] = t.color[k][at];
        to[4 * i + 3] = 1 - t.left[at];
      }
    }
  });
}

// The sums of all splats of all tiles.
static inline void sum_tiles(const Camera& c, Drawing& d, const float* to_picture) {
  const Lists& lists = d.lists;
  d.sums.resize((size_t)lists.pairs.size() * SUMS);
  std::vector<Trace> traces(pool_threads());
  parallel_for(lists.tiles(), [&](int tile, int worker) {
    Trace& trace = traces[worker];
    trace.clear();
    TilePixels t(c, lists, tile);
    const int seen = blend_all(lists, tile, t, &trace);
    TileGradient g(c, t, to_picture);
    const Pair* pairs = lists.pairs.data() + lists.first_pair[tile];
    const int all = (int)(lists.first_pair[tile + 1] - lists.first_pair[tile]);
    for (int i = seen; i < all; i++)
      std::fill_n(&d.sums[(size_t)pairs[i].slot * SUMS], (int)SUMS, 0.0f);
    const float* alphas = trace.alphas.data() + trace.used;
    for (int i = seen - 1; i >= 0; i--)
      alphas = unblend(lists.projected[pairs[i].splat], trace.touched[i], alphas, t, g,
                       &d.sums[(size_t)pairs[i].slot * SUMS]);
  });
}

static inline void clear(const Arrays<float>& out, int64_t at) {
  const int num = 3 * out.degree * out.degree;
  std::fill_n(out.means + 3 * at, 3, 0.0f), std::fill_n(out.scales + 3 * at, 3, 0.0f);
  std::fill_n(out.rotations + 4 * at, 4, 0.0f), out.opacities[at] = 0;
  std::fill_n(out.colors + num * at, num, 0.0f);
}

// `out` and `weights`, of all splats, are written as a whole.
static inline void draw_backward(const Camera& c, const Given& in, Drawing& d,
                                 const float* to_picture, const Arrays<float>& out,
                                 float* weights) {
  sum_tiles(c, d, to_picture);
  const Lists& lists = d.lists;
  constexpr uint32_t ABSENT = ~0u;
  d.place.assign(in.count, ABSENT);
  for (size_t i = 0; i < lists.order.size(); i++) d.place[lists.order[i]] = (uint32_t)i;
  const int tasks = (int)((in.count + PROJECTED - 1) / PROJECTED);
  parallel_for(tasks, [&](int task, int) {
    const int64_t begin = (int64_t)task * PROJECTED, end = std::min(in.count, begin + PROJECTED);
    for (int64_t first = begin; first < end; first += W) {
      const int lanes = (int)std::min<int64_t>(W, end - first);
      vf sums[SUMS] = {};
      for (int i = 0; i < lanes; i++) {
        const uint32_t at = d.place[first + i];
        if (at == ABSENT) continue;
        float own[SUMS] = {};
        for (uint32_t slot = lists.first_slot[at]; slot < lists.first_slot[at + 1]; slot++)
          for (int k = 0; k < SUMS; k++) own[k] += d.sums[(size_t)slot * SUMS + k];
        for (int k = 0; k < SUMS; k++) sums[k][i] = own[k];
      }
      project_backward(c, in, sums, first, lanes, out);
      lanes_to(weights, first, lanes, 1, 0, sums[SUM_W]);
      for (int i = 0; i < lanes; i++)  // what is not in the picture has no finite numbers
        if (d.place[first + i] == ABSENT) clear(out, first + i);
    }
  });
}

}  // namespace splats
