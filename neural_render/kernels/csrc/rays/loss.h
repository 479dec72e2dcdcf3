// The loss of a batch of rays and its gradient. See `kernels/reference/compositing.py`.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "pool.h"

struct ColorTargets {
  const float *colors, *opacity, *background, *weights, *distance, *normals;
};

// See `LossSpec`.
struct LossNumbers {
  float delta, relative, power, distortion_weight, distance_weight, roulette, normal_weight;
};

struct LossOut {
  float *squared, *gradient;  // [rays], [rays channels]
};

// `loss_of_rays` where errors are relative to what is seen.
static inline double relative_loss_of_rays(const float* values, const ColorTargets& t,
                                           int channels, int64_t first, int64_t end, int64_t rays,
                                           float relative, float power, const LossOut& out) {
  double sum = 0;
  for (int64_t r = first; r < end; r++) {
    const float share = t.weights[r] / (float)rays;
    float loss = 0;
    for (int64_t i = r * channels; i < (r + 1) * channels; i++) {
      float behind = t.background[i];
      float error = values[i] - (behind + t.opacity[r] * (t.colors[i] - behind));
      float scale = 1 / std::pow(values[i] * values[i] + relative, power / 2);
      loss += error * error * scale;
      out.gradient[i] = 2 * error * scale * share;
    }
    out.squared[r] = loss / (float)channels;
    sum += (double)loss * share;
  }
  return sum;
}

// The loss of rays [first, end) out of `rays`; `out` gets their squared errors and gradients.
static inline double loss_of_rays(const float* values, const ColorTargets& t, int channels,
                                  int64_t first, int64_t end, int64_t rays,
                                  const LossNumbers& kind, const LossOut& out) {
  if (kind.relative > 0)
    return relative_loss_of_rays(values, t, channels, first, end, rays, kind.relative, kind.power, out);
  const float delta = kind.delta;
  double sum = 0;
  for (int64_t r = first; r < end; r++) {
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
  return sum;
}

// The distance loss of rays [first, end) out of `rays`; `gradient` ([rays]) gets its own, to
// `distance`.
static inline double distance_loss_of_rays(const float* distance, const float* opacity,
                                           const ColorTargets& t, int64_t first, int64_t end,
                                           int64_t rays, float weight, float* gradient) {
  double sum = 0;
  for (int64_t r = first; r < end; r++) {
    const float wanted = t.distance[r], seen = distance[r];
    gradient[r] = 0;
    if (!(wanted > 0 && wanted < INFINITY && opacity[r] > 0)) continue;
    const float share = weight * t.weights[r] * t.opacity[r] * opacity[r] / (float)rays;
    const float both = seen + wanted, error = 2 * (seen - wanted) / both;
    gradient[r] = 2 * share * error * (4 * wanted / (both * both));
    sum += (double)(error * error) * share;
  }
  return sum;
}

// How strongly the normals of the samples of rays [first, end) are drawn to those of the rays' first
// surfaces: what their squared distance counts for in the loss, 0 where no normal is known.
static inline void normal_shares_of_rays(const ColorTargets& t, int64_t first, int64_t end,
                                         int64_t rays, float weight, float* shares) {
  for (int64_t r = first; r < end; r++) {
    const float* n = t.normals + 3 * r;
    const bool known = n[0] * n[0] + n[1] * n[1] + n[2] * n[2] > 0;
    shares[r] = known ? weight * t.weights[r] * t.opacity[r] / (float)rays : 0.0f;
  }
}

static inline double in_order(const std::vector<double>& parts) {
  double total = 0;
  for (double part : parts) total += part;
  return total;
}

// The loss is summed in blocks of a fixed size, so that threads change nothing.
static inline double color_loss(const float* values, const ColorTargets& t, int channels,
                                int64_t rays, const LossNumbers& kind, const LossOut& out) {
  constexpr int64_t BLOCK_RAYS = 1024;
  std::vector<double> sums((rays + BLOCK_RAYS - 1) / BLOCK_RAYS);
  parallel_for((int)sums.size(), [&](int block, int) {
    int64_t first = block * BLOCK_RAYS, end = std::min(rays, first + BLOCK_RAYS);
    sums[block] = loss_of_rays(values, t, channels, first, end, rays, kind, out);
  });
  return in_order(sums);
}
