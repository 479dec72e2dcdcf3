// Which splats each tile of a picture draws, front to back; the same with any number of threads.
#pragma once
#include <algorithm>
#include <vector>

#include "pool.h"
#include "splats/project.h"

namespace splats {

constexpr int TILE = 16;          // pixels along a side
constexpr int PROJECTED = 2048;   // splats a task
constexpr int LISTED = 2048;

// A splat in a tile. What the tile finds out about the splat goes to the place `slot`.
struct Pair {
  uint32_t splat, slot;
};

// Tiles [begin, end) of one row of tiles.
struct Band {
  int row, begin, end;
};

// The tiles that an ellipse a splat is drawn in touches, row by row of tiles.
template <class Use>
static inline void each_band(const Projected& s, int across, int down, const Use& use) {
  const int top = std::max(0, (int)std::floor((s.y - s.reach_y) / TILE));
  const int bottom = std::min(down, (int)std::floor((s.y + s.reach_y) / TILE) + 1);
  // Where the ellipse is widest, from its centre; elsewhere it ends on a border of the band.
  const float widest = -s.xy / s.yy * s.reach_x, cut = -2 * s.cut;
  for (int row = top; row < bottom; row++) {
    const float low = (float)(row * TILE) - s.y, high = low + TILE;
    const auto edge = [&](float dy, float side) {
      dy = std::min(std::max(dy, low), high);
      dy = std::min(std::max(dy, -s.reach_y), s.reach_y);
      const float inside = s.xy * dy * s.xy * dy - s.xx * (s.yy * dy * dy - cut);
      return (-s.xy * dy + side * std::sqrt(std::max(0.0f, inside))) / s.xx;
    };
    // A hundredth of a pixel makes up for rounding.
    const float left = s.x + edge(-widest, -1) - 0.01f, right = s.x + edge(widest, 1) + 0.01f;
    const int begin = std::max(0, (int)std::floor(left / TILE));
    const int end = std::min(across, (int)std::floor(right / TILE) + 1);
    if (begin < end) use(Band{row, begin, end});
  }
}

struct Lists {
  int across, down;
  std::vector<Projected> projected;    // of all splats
  std::vector<uint32_t> order;         // those in the picture, front to back
  std::vector<uint32_t> first_slot;    // of each of `order`, and behind the last
  std::vector<uint32_t> first_pair;    // of each tile, and behind the last
  std::vector<Pair> pairs;             // tile after tile
  int tiles() const { return across * down; }

  void make(const Camera& c, const Given& in) {
    across = (c.width + TILE - 1) / TILE, down = (c.height + TILE - 1) / TILE;
    project_all(c, in);
    sort_by_depth();
    list();
  }

 private:
  std::vector<std::vector<uint32_t>> found_;
  std::vector<uint32_t> keys_, spare_keys_, spare_order_, counts_;
  std::vector<std::vector<Band>> bands_;
  std::vector<std::vector<int>> bands_end_;

  void project_all(const Camera& c, const Given& in) {
    projected.resize(in.count);
    const int tasks = (int)((in.count + PROJECTED - 1) / PROJECTED);
    found_.resize(tasks);
    parallel_for(tasks, [&](int task, int) {
      const int64_t begin = (int64_t)task * PROJECTED, end = std::min(in.count, begin + PROJECTED);
      found_[task].clear();
      for (int64_t first = begin; first < end; first += W) {
        const int lanes = (int)std::min<int64_t>(W, end - first);
        project(c, in, first, lanes, &projected[first]);
        for (int i = 0; i < lanes; i++)
          if (projected[first + i].depth > 0) found_[task].push_back((uint32_t)(first + i));
      }
    });
    order.clear();
    for (const auto& found : found_) order.insert(order.end(), found.begin(), found.end());
  }

  // Positive floats sort as the integers that their bits are; three stable passes of 11 bits.
  void sort_by_depth() {
    const size_t n = order.size();
    keys_.resize(n), spare_keys_.resize(n), spare_order_.resize(n);
    for (size_t i = 0; i < n; i++) std::memcpy(&keys_[i], &projected[order[i]].depth, 4);
    for (int shift = 0; shift < 33; shift += 11) {
      uint32_t place[2049] = {};
      for (size_t i = 0; i < n; i++) place[(keys_[i] >> shift & 2047) + 1]++;
      for (int b = 0; b < 2048; b++) place[b + 1] += place[b];
      for (size_t i = 0; i < n; i++) {
        const uint32_t to = place[keys_[i] >> shift & 2047]++;
        spare_keys_[to] = keys_[i], spare_order_[to] = order[i];
      }
      keys_.swap(spare_keys_), order.swap(spare_order_);
    }
  }

  void list() {
    const int n = (int)order.size(), tasks = (n + LISTED - 1) / LISTED, all = tiles();
    bands_.resize(tasks), bands_end_.resize(tasks);
    counts_.assign((size_t)tasks * all, 0);
    first_slot.assign(n + 1, 0);
    parallel_for(tasks, [&](int task, int) { count(task, &counts_[(size_t)task * all]); });
    for (uint32_t i = 0, next = 0; i <= (uint32_t)n; i++)
      next += std::exchange(first_slot[i], next);
    first_pair.resize(all + 1);
    uint32_t next = 0;  // counts become places
    for (int tile = 0; tile < all; tile++) {
      first_pair[tile] = next;
      for (int task = 0; task < tasks; task++)
        next += std::exchange(counts_[(size_t)task * all + tile], next);
    }
    first_pair[all] = next;
    pairs.resize(next);
    parallel_for(tasks, [&](int task, int) { fill(task, &counts_[(size_t)task * all]); });
  }

  void count(int task, uint32_t* counts) {
    auto& bands = bands_[task];
    auto& ends = bands_end_[task];
    bands.clear(), ends.clear();
    for_listed(task, [&](int i) {
      first_slot[i] = 0;
      each_band(projected[order[i]], across, down, [&](const Band& band) {
        bands.push_back(band);
        first_slot[i] += band.end - band.begin;
        for (int x = band.begin; x < band.end; x++) counts[band.row * across + x]++;
      });
      ends.push_back((int)bands.size());
    });
  }

  void fill(int task, uint32_t* places) {
    int band = 0, number = 0;
    for_listed(task, [&](int i) {
      uint32_t slot = first_slot[i];
      for (; band < bands_end_[task][number]; band++) {
        const Band& here = bands_[task][band];
        for (int x = here.begin; x < here.end; x++)
          pairs[places[here.row * across + x]++] = {order[i], slot++};
      }
      number++;
    });
  }

  template <class Use>
  void for_listed(int task, const Use& use) {
    const int end = std::min((int)order.size(), (task + 1) * LISTED);
    for (int i = task * LISTED; i < end; i++) use(i);
  }
};

}  // namespace splats
