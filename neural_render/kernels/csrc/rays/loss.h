// The loss of a batch of rays and its gradient. See `kernels/reference/compositing.py`.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "pool.h"

struct ColorTargets {
  const float *colors, *opacity, *background, *weights;
};

struct LossOut {
  float *squared, *gradient;  // [rays], [rays channels]
};

// The loss is summed in blocks of a fixed size, so that threads change nothing.
static inline double color_loss(const float* values, const ColorTargets& t, int channels,
                                int64_t rays, float delta, const LossOut& out) {
  constexpr int64_t BLOCK_RAYS = 1024;
  const int blocks = (int)((rays + BLOCK_RAYS - 1) / BLOCK_RAYS);
  std::vector<double> sums(blocks);
  parallel_for(blocks, [&](int block, int) {
    double sum = 0;
    for (int64_t r = block * BLOCK_RAYS; r < std::min(rays, (block + 1) * BLOCK_RAYS); r++) {
      const float share = t.weights[r] / (float)rays;
      float loss = 0, squared = 0;
      for (int64_t i = r * channels; i < (r + 1) * channels; i++) {
        float behind = t.background[i];
        float error = values[i] - (behind + t.opacity[r] * (t.colors[i] - behind));
        float size = std::fabs(error);
        loss += size <= delta ? error * error : 2 * delta * size - delta * delta;
        squared += error * error;
        out.gradient[i] = 2 * std::min(std::max(error, -delta), delta) * share;
        // Written so that NaN stays NaN.
        if (error != error) out.gradient[i] = error;
      }
      out.squared[r] = squared / (float)channels;
      sum += (double)loss * share;
    }
    sums[block] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}
