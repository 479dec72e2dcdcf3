// Rays through pixels of photos that lie one after another in memory, and random pixels of blocks.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "pool.h"

constexpr int PIXEL_RAYS = 1024;  // of one task

struct PixelLayout {
  const int64_t *offsets, *sizes, *first_blocks;  // sizes: width and height of each view
  int num_views;
  int64_t num_pixels, num_blocks;
  int block_shift;
  bool alike = true;  // photos of one size are found by a quotient, others by a search
  double area = 1, blocks_each = 1;

  PixelLayout(const int64_t* offsets, const int64_t* sizes, const int64_t* first_blocks,
              const int64_t* numbers)
      : offsets(offsets),
        sizes(sizes),
        first_blocks(first_blocks),
        num_views((int)numbers[0]),
        num_pixels(numbers[1]),
        num_blocks(numbers[2]),
        block_shift((int)numbers[3]) {
    if (num_views == 0) return;
    int64_t pixels = sizes[0] * sizes[1], blocks = num_blocks / num_views;
    for (int v = 0; v < num_views; v++)
      alike = alike && sizes[2 * v] == sizes[0] && sizes[2 * v + 1] == sizes[1] &&
              offsets[v] == v * pixels && first_blocks[v] == v * blocks;
    area = (double)pixels, blocks_each = (double)blocks;
  }
  // Quotients are taken of doubles at half steps: exact here, since nothing is nearer than half a
  // step to a boundary, and faster than dividing 64-bit integers.
  int view_of_pixel(int64_t pixel) const {
    if (alike) return (int)(((double)pixel + 0.5) / area);
    return (int)(std::upper_bound(offsets, offsets + num_views, pixel) - offsets) - 1;
  }
  int view_of_block(int64_t block) const {
    if (alike) return (int)(((double)block + 0.5) / blocks_each);
    return (int)(std::upper_bound(first_blocks, first_blocks + num_views, block) - first_blocks) - 1;
  }
  int64_t blocks_across(int view) const {
    return (sizes[2 * view] + (1 << block_shift) - 1) >> block_shift;
  }
};

struct PixelViews {
  PixelLayout layout;
  const uint8_t* pixels;
  const float *poses, *intrinsics, *table;  // no table: null
  const int64_t* table_starts;
  int channels, intrinsics_stride;
};

struct PixelRays {
  float *origins, *directions, *footprint, *colors, *opacity;
  int64_t *view, *block;
};

// A ray's direction in camera axes and its footprint.
struct PixelDirection {
  float x, y, z, footprint;
};

static inline PixelDirection pixel_direction(const PixelViews& in, int view, int64_t column,
                                             int64_t row) {
  if (in.table) {
    int64_t width = in.layout.sizes[2 * view];
    const float* found = in.table + 4 * (in.table_starts[view] + row * width + column);
    return {found[0], found[1], found[2], found[3]};
  }
  const float* k = in.intrinsics + (int64_t)in.intrinsics_stride * view;
  float x = ((float)column + (0.5f - k[2])) / k[0], y = ((float)row + (0.5f - k[3])) / k[1];
  float cosine = 1.0f / std::sqrt(x * x + y * y + 1.0f);
  return {x * cosine, y * cosine, cosine, k[4] * cosine * std::sqrt(cosine)};
}

static inline void shoot_ray(const PixelViews& in, int64_t pixel, int view, int64_t r,
                             const PixelRays& out) {
  const PixelLayout& layout = in.layout;
  int64_t within = pixel - layout.offsets[view], width = layout.sizes[2 * view];
  int64_t row = (int64_t)(((double)within + 0.5) / (double)width), column = within - row * width;
  PixelDirection local = pixel_direction(in, view, column, row);
  const float* pose = in.poses + 12 * (int64_t)view;
  for (int d = 0; d < 3; d++) {
    out.directions[3 * r + d] = pose[d] * local.x + pose[3 + d] * local.y + pose[6 + d] * local.z;
    out.origins[3 * r + d] = pose[9 + d];
  }
  out.footprint[r] = local.footprint;
  const uint8_t* color = in.pixels + in.channels * pixel;
  for (int c = 0; c < 3; c++) out.colors[3 * r + c] = (float)color[c] / 255.0f;
  out.opacity[r] = in.channels == 4 ? (float)color[3] / 255.0f : 1.0f;
  out.view[r] = view;
  out.block[r] = layout.first_blocks[view] +
                 (row >> layout.block_shift) * layout.blocks_across(view) +
                 (column >> layout.block_shift);
}

// False, and nothing is promised of `out`, if an index lies outside of the photos.
static inline bool shoot_rays(const PixelViews& in, const int64_t* pixel, int64_t n,
                              const PixelRays& out) {
  std::atomic<bool> inside{true};
  parallel_for((int)((n + PIXEL_RAYS - 1) / PIXEL_RAYS), [&](int task, int) {
    int64_t first = (int64_t)task * PIXEL_RAYS, end = std::min(n, first + PIXEL_RAYS);
    int view[PIXEL_RAYS];
    for (int64_t r = first; r < end; r++) {
      if (pixel[r] < 0 || pixel[r] >= in.layout.num_pixels) {
        inside = false;
        return;
      }
      // Pixels lie all over the memory: all are on their way before the first is needed.
      __builtin_prefetch(in.pixels + in.channels * pixel[r]);
      view[r - first] = in.layout.view_of_pixel(pixel[r]);
    }
    for (int64_t r = first; r < end; r++) shoot_ray(in, pixel[r], view[r - first], r, out);
  });
  return inside;
}

// The usable pixel at `place` in [0, 1) among those of a block, in row order; -1 if it has none.
static inline int64_t pick_pixel(const PixelLayout& layout, const uint8_t* masks, int64_t block,
                                 double place) {
  int view = layout.view_of_block(block);
  int64_t across = layout.blocks_across(view), local = block - layout.first_blocks[view];
  int64_t side = (int64_t)1 << layout.block_shift, width = layout.sizes[2 * view];
  int64_t x = local % across * side, y = local / across * side;
  int64_t wide = std::min(side, width - x), high = std::min(side, layout.sizes[2 * view + 1] - y);
  int64_t corner = layout.offsets[view] + y * width + x;
  if (!masks) {
    int64_t chosen = std::min((int64_t)(place * (double)(wide * high)), wide * high - 1);
    return corner + chosen / wide * width + chosen % wide;
  }
  auto usable = [&](int64_t row) {
    int count = 0;
    for (int64_t c = 0; c < wide; c++) count += masks[corner + row * width + c] != 0;
    return count;
  };
  int64_t total = 0;
  for (int64_t row = 0; row < high; row++) total += usable(row);
  if (total == 0) return -1;
  int64_t left = std::min((int64_t)(place * (double)total), total - 1), row = 0;
  for (int here; left >= (here = usable(row)); row++) left -= here;
  int64_t pixel = corner + row * width;
  for (;; pixel++)
    if (masks[pixel] && left-- == 0) return pixel;
}

// False if a block does not exist or has no usable pixel.
static inline bool pick_pixels(const PixelLayout& layout, const uint8_t* masks,
                               const int64_t* block, const double* place, int64_t n,
                               int64_t* pixel) {
  std::atomic<bool> found{true};
  parallel_for((int)((n + PIXEL_RAYS - 1) / PIXEL_RAYS), [&](int task, int) {
    int64_t first = (int64_t)task * PIXEL_RAYS, end = std::min(n, first + PIXEL_RAYS);
    for (int64_t r = first; r < end; r++) {
      bool known = block[r] >= 0 && block[r] < layout.num_blocks;
      pixel[r] = known ? pick_pixel(layout, masks, block[r], place[r]) : -1;
      if (pixel[r] < 0) found = false;
    }
  });
  return found;
}
