// The loss of a batch of rays and its gradient. See `kernels/reference/compositing.py`.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "pool.h"

struct ColorTargets {
  const float *colors, *opacity, *background, *weights, *distance, *normals;
  const float* gain;  // [rays channels]; null: all ones
};

// See `LossSpec`.
struct LossNumbers {
  float delta, relative, power, distortion_weight, distance_weight, roulette, normal_weight;
  float near_fade;
};

struct LossOut {
  float *squared, *gradient;  // [rays], [rays channels]
  float* to_gain;             // [rays channels]; null where there is no gain
};

// One channel of a ray as a photo shows it: both what is seen and what is wanted lie before the
// background times the gain.
struct GainedChannel {
  float gain, seen, error, without_background;
  GainedChannel(const float* values, const ColorTargets& t, int64_t ray, int64_t i) {
    gain = t.gain ? t.gain[i] : 1.0f;
    seen = gain * values[i];
    const float behind = gain * t.background[i];
    error = seen - (behind + t.opacity[ray] * (t.colors[i] - behind));
    without_background = values[i] - (1 - t.opacity[ray]) * t.background[i];
  }
  void store(float to_seen, int64_t i, const LossOut& out) const {
    out.gradient[i] = gain * to_seen;
    if (out.to_gain) out.to_gain[i] = without_background * to_seen;
  }
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
      const GainedChannel c(values, t, r, i);
      float scale = 1 / std::pow(c.seen * c.seen + relative, power / 2);
      loss += c.error * c.error * scale;
      c.store(2 * c.error * scale * share, i, out);
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
    return relative_loss_of_rays(values, t, channels, first, end, rays, kind.relative, kind.power,
                                 out);
  const float delta = kind.delta;
  double sum = 0;
  for (int64_t r = first; r < end; r++) {
    const float share = t.weights[r] / (float)rays;
    float loss = 0, squared = 0;
    for (int64_t i = r * channels; i < (r + 1) * channels; i++) {
      const GainedChannel c(values, t, r, i);
      const float error = c.error, size = std::fabs(error);
      loss += size <= delta ? error * error : 2 * delta * size - delta * delta;
      squared += error * error;
      // Written so that NaN stays NaN.
      const float clamped = error != error ? error : std::min(std::max(error, -delta), delta);
      c.store(2 * clamped * share, i, out);
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
