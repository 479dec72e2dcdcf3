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
  bool alike = true;  // photos of one size are found by a product, others by a search
  double per_pixel = 1, per_block = 1;

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
    per_pixel = 1 / (double)pixels, per_block = 1 / (double)blocks;
  }
  // Quotients are taken of doubles at half steps: exact here, since nothing is nearer than half a
  // step to a boundary (1e-9 of a photo), and faster than dividing 64-bit integers.
  int view_of_pixel(int64_t pixel) const {
    if (alike) return (int)(((double)pixel + 0.5) * per_pixel);
    return (int)(std::upper_bound(offsets, offsets + num_views, pixel) - offsets) - 1;
  }
  int view_of_block(int64_t block) const {
    if (alike) return (int)(((double)block + 0.5) * per_block);
    return (int)(std::upper_bound(first_blocks, first_blocks + num_views, block) - first_blocks) - 1;
  }
  int32_t width(int view) const { return (int32_t)sizes[2 * view]; }
  int32_t height(int view) const { return (int32_t)sizes[2 * view + 1]; }
  int32_t blocks_across(int view) const {
    return (width(view) + (1 << block_shift) - 1) >> block_shift;
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

// What one task works on: places in the photos, then directions in camera axes.
struct PixelTile {
  int view[PIXEL_RAYS];
  float column[PIXEL_RAYS], row[PIXEL_RAYS];
  float x[PIXEL_RAYS], y[PIXEL_RAYS], z[PIXEL_RAYS], footprint[PIXEL_RAYS];

  // left = 0.5 - cx, top = 0.5 - cy, factor: the footprint on the axis.
  void pinhole(int i, float fx, float fy, float left, float top, float factor) {
    float u = (column[i] + left) / fx, v = (row[i] + top) / fy;
    float cosine = 1.0f / std::sqrt(u * u + v * v + 1.0f);
    x[i] = u * cosine, y[i] = v * cosine, z[i] = cosine;
    footprint[i] = factor * cosine * std::sqrt(cosine);
  }
};

// False if a pixel does not exist.
static inline bool locate_pixels(const PixelViews& in, const int64_t* pixel, int n, PixelTile& tile,
                                 int64_t* view_out, int64_t* block_out) {
  const PixelLayout& layout = in.layout;
  for (int i = 0; i < n; i++) {
    if (pixel[i] < 0 || pixel[i] >= layout.num_pixels) return false;
    // Pixels lie all over the memory: all are on their way before the first is needed.
    __builtin_prefetch(in.pixels + in.channels * pixel[i]);
    int view = layout.view_of_pixel(pixel[i]);
    int32_t within = (int32_t)(pixel[i] - layout.offsets[view]);
    int32_t width = layout.width(view);
    int32_t row = (int32_t)((uint32_t)within / (uint32_t)width), column = within - row * width;
    if (in.table) __builtin_prefetch(in.table + 4 * (in.table_starts[view] + within));
    tile.view[i] = view, tile.column[i] = (float)column, tile.row[i] = (float)row;
    view_out[i] = view;
    block_out[i] = layout.first_blocks[view] +
                   (int64_t)(row >> layout.block_shift) * layout.blocks_across(view) +
                   (column >> layout.block_shift);
  }
  return true;
}

static inline void aim_rays(const PixelViews& in, const int64_t* pixel, int n, PixelTile& tile) {
  if (in.table) {
    for (int i = 0; i < n; i++) {
      int64_t within = pixel[i] - in.layout.offsets[tile.view[i]];
      const float* found = in.table + 4 * (in.table_starts[tile.view[i]] + within);
      tile.x[i] = found[0], tile.y[i] = found[1], tile.z[i] = found[2];
      tile.footprint[i] = found[3];
    }
  } else if (in.intrinsics_stride == 0) {
    const float* k = in.intrinsics;
    float fx = k[0], fy = k[1], left = 0.5f - k[2], top = 0.5f - k[3], factor = k[4];
    for (int i = 0; i < n; i++) tile.pinhole(i, fx, fy, left, top, factor);
  } else {
    for (int i = 0; i < n; i++) {
      const float* k = in.intrinsics + (int64_t)in.intrinsics_stride * tile.view[i];
      tile.pinhole(i, k[0], k[1], 0.5f - k[2], 0.5f - k[3], k[4]);
    }
  }
}

static inline void write_rays(const PixelViews& in, const int64_t* pixel, int n,
                              const PixelTile& tile, int64_t first, const PixelRays& out) {
  float unit[256];
  for (int i = 0; i < 256; i++) unit[i] = (float)i / 255.0f;
  for (int i = 0; i < n; i++) {
    const float* pose = in.poses + 12 * (int64_t)tile.view[i];
    int64_t r = first + i;
    for (int d = 0; d < 3; d++) {
      out.directions[3 * r + d] =
          pose[d] * tile.x[i] + pose[3 + d] * tile.y[i] + pose[6 + d] * tile.z[i];
      out.origins[3 * r + d] = pose[9 + d];
    }
    out.footprint[r] = tile.footprint[i];
    const uint8_t* color = in.pixels + in.channels * pixel[i];
    for (int c = 0; c < 3; c++) out.colors[3 * r + c] = unit[color[c]];
    out.opacity[r] = in.channels == 4 ? unit[color[3]] : 1.0f;
  }
}

// False, and nothing is promised of `out`, if an index lies outside of the photos.
static inline bool shoot_rays(const PixelViews& in, const int64_t* pixel, int64_t n,
                              const PixelRays& out) {
  std::atomic<bool> inside{true};
  parallel_beside((int)((n + PIXEL_RAYS - 1) / PIXEL_RAYS), [&](int task, int) {
    int64_t first = (int64_t)task * PIXEL_RAYS;
    int count = (int)std::min<int64_t>(PIXEL_RAYS, n - first);
    const int64_t* mine = pixel + first;
    PixelTile tile;
    if (locate_pixels(in, mine, count, tile, out.view + first, out.block + first)) {
      aim_rays(in, mine, count, tile);
      write_rays(in, mine, count, tile, first, out);
    } else {
      inside = false;
    }
  });
  return inside;
}

// The usable pixel at `place` in [0, 1) among those of a block, in row order; -1 if it has none.
static inline int64_t pick_pixel(const PixelLayout& layout, const uint8_t* masks, int64_t block,
                                 double place) {
  int view = layout.view_of_block(block);
  uint32_t across = layout.blocks_across(view), local = block - layout.first_blocks[view];
  int32_t side = 1 << layout.block_shift, width = layout.width(view);
  int32_t x = (int32_t)(local % across) * side, y = (int32_t)(local / across) * side;
  int32_t wide = std::min(side, width - x), high = std::min(side, layout.height(view) - y);
  int64_t corner = layout.offsets[view] + (int64_t)y * width + x;
  if (!masks) {
    int32_t chosen = std::min((int32_t)(place * (double)(wide * high)), wide * high - 1);
    return corner + (int64_t)(chosen / wide) * width + chosen % wide;
  }
  auto usable = [&](int64_t row) {
    int count = 0;
    for (int32_t c = 0; c < wide; c++) count += masks[corner + row * width + c] != 0;
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
  parallel_beside((int)((n + PIXEL_RAYS - 1) / PIXEL_RAYS), [&](int task, int) {
    int64_t first = (int64_t)task * PIXEL_RAYS, end = std::min(n, first + PIXEL_RAYS);
    for (int64_t r = first; r < end; r++) {
      bool known = block[r] >= 0 && block[r] < layout.num_blocks;
      pixel[r] = known ? pick_pixel(layout, masks, block[r], place[r]) : -1;
      if (pixel[r] < 0) found = false;
    }
  });
  return found;
}
