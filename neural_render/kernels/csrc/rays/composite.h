// Sums along the rays of a chunk, and back.
// Legend: T transmittance, w weight, m interval midpoint, d interval length, g gradient.
#pragma once
#include "rays/chunk.h"

struct RenderProblem {
  const float *origins, *directions, *footprint, *jitter, *background, *conditions;
  float *values, *opacity, *distance, *distortion;
};

// The rays' sums from the rows of all samples.
static inline void sum_samples(ChunkState& chunk) {
  const float *weight = chunk.row(WEIGHT), *middle = chunk.row(MIDDLE), *length = chunk.row(LENGTH);
  for (const Segment& e : chunk.segments)
    for (int s = e.first; s < e.first + e.count; s++)
      chunk.sums[e.ray].add(weight[s], middle[s], length[s]);
}

// Values, opacity, distance, distortion, given the rays' sums. `light` holds what passed through.
static inline void composite_chunk(const RenderProblem& in, const ChunkState& chunk,
                                   const std::vector<float>& light) {
  const int C = chunk.channels;
  for (int ray = 0; ray < chunk.num_rays; ray++)
    for (int c = 0; c < C; c++) in.values[(size_t)(chunk.first_ray + ray) * C + c] = 0;
  const float* weight = chunk.row(WEIGHT);
  for (const Segment& e : chunk.segments) {
    float* value = in.values + (size_t)(chunk.first_ray + e.ray) * C;
    for (int c = 0; c < C; c++) {
      const float* radiance = chunk.radiance(c);
      for (int s = e.first; s < e.first + e.count; s++) value[c] += weight[s] * radiance[s];
    }
  }
  for (int ray = 0; ray < chunk.num_rays; ray++) {
    size_t at = chunk.first_ray + ray;
    const RaySums& a = chunk.sums[ray];
    for (int c = 0; c < C; c++) in.values[at * C + c] += light[ray] * in.background[at * C + c];
    in.opacity[at] = a.opacity;
    in.distance[at] = a.opacity > 0 ? a.moment / a.opacity : 0;
    in.distortion[at] = a.distortion;
  }
}

struct RenderGradientsIn {
  const float *values, *opacity, *distance, *distortion;
};

// dL/dsigma and dL/dradiance of a chunk's survivors: `channels` rows of `stride`, which has room for
// whole vectors.
struct CompositeGradients {
  std::vector<float> sigma, radiance;
  size_t stride;
  void resize(int count, int channels) {
    stride = pad_block(count);
    sigma.resize(stride);
    radiance.resize(stride * channels);
  }
};

struct RayTotals {
  float opacity = 0, moment = 0, light = 1;
};

static inline std::vector<RayTotals> ray_totals(const ChunkState& chunk) {
  std::vector<RayTotals> totals(chunk.num_rays);
  const float *weight = chunk.row(WEIGHT), *middle = chunk.row(MIDDLE);
  for (const Segment& e : chunk.segments) {
    RayTotals& a = totals[e.ray];
    for (int s = e.first; s < e.first + e.count; s++) {
      a.opacity += weight[s];
      a.moment += weight[s] * middle[s];
    }
    int last = e.first + e.count - 1;
    a.light = chunk.row(TRANSMITTANCE)[last] - weight[last];
  }
  return totals;
}

// The gradients to one segment's weights and radiance, `before` holding the sums up to it.
static inline void segment_backward(const ChunkState& chunk, const RenderGradientsIn& g,
                                    const float* extra, const Segment& e, const RayTotals& all,
                                    RayTotals& before, float* to_weight, CompositeGradients& to) {
  const size_t at = chunk.first_ray + e.ray;
  const float *weight = chunk.row(WEIGHT), *middle = chunk.row(MIDDLE), *length = chunk.row(LENGTH);
  float mean = all.opacity > 0 ? all.moment / all.opacity : 0;
  float to_mean = all.opacity > 0 ? g.distance[at] / all.opacity : 0;
  for (int s = e.first; s < e.first + e.count; s++) {
    float w = weight[s], m = middle[s];
    float spread =
        m * (2 * before.opacity + w - all.opacity) - (2 * before.moment + w * m - all.moment);
    to_weight[s] = g.opacity[at] + to_mean * (m - mean) +
                   g.distortion[at] * (2 * spread + 2.0f / 3 * w * length[s]);
    if (extra) to_weight[s] += extra[s];
    before.opacity += w;
    before.moment += w * m;
  }
  for (int c = 0; c < chunk.channels; c++) {
    const float value = g.values[at * chunk.channels + c], *radiance = chunk.radiance(c);
    float* to_radiance = &to.radiance[c * to.stride];
    for (int s = e.first; s < e.first + e.count; s++) {
      to_weight[s] += value * radiance[s];
      to_radiance[s] = value * weight[s];
    }
  }
}

// Samples nearer than `reach` count for less: see `LossSpec.near_fade`.
static inline void fade_near(const ChunkState& chunk, float reach, CompositeGradients& g) {
  const float *middle = chunk.row(MIDDLE), per_reach = 1 / reach;
  const vf one = splat(1.0f);
  for (int s = 0; s < chunk.count; s += W) {
    vf ratio = vmin(load(middle + s) * per_reach, one), share = ratio * ratio;
    store(&g.sigma[s], load(&g.sigma[s]) * share);
    for (int c = 0; c < chunk.channels; c++) {
      float* to = &g.radiance[c * g.stride + s];
      store(to, load(to) * share);
    }
  }
}

// `extra` (may be null): a gradient to the weights themselves.
// g_i = dL/dw_i by prefix sums along each ray, then
// dL/dsigma_i = d_i (T_{i+1} g_i - sum_{j>i} w_j g_j - T_end g_background) by suffix sums.
static inline void composite_backward_chunk(const RenderProblem& in, const RenderGradientsIn& g,
                                            const float* extra, const ChunkState& chunk,
                                            float* to_background, CompositeGradients& to) {
  const int C = chunk.channels;
  std::vector<RayTotals> totals = ray_totals(chunk), before(chunk.num_rays);
  std::vector<float> to_weight(chunk.count), behind(chunk.num_rays);
  to.resize(chunk.count, C);
  for (int ray = 0; ray < chunk.num_rays; ray++) {
    size_t at = chunk.first_ray + ray;
    float through = 0;
    for (int c = 0; c < C; c++) {
      through += g.values[at * C + c] * in.background[at * C + c];
      to_background[at * C + c] = g.values[at * C + c] * totals[ray].light;
    }
    behind[ray] = totals[ray].light * through;
  }
  for (const Segment& e : chunk.segments)
    segment_backward(chunk, g, extra, e, totals[e.ray], before[e.ray], to_weight.data(), to);
  const float *weight = chunk.row(WEIGHT), *length = chunk.row(LENGTH);
  const float* transmittance = chunk.row(TRANSMITTANCE);
  for (auto e = chunk.segments.rbegin(); e != chunk.segments.rend(); ++e) {
    float later = behind[e->ray];
    for (int s = e->first + e->count - 1; s >= e->first; s--) {
      to.sigma[s] = length[s] * ((transmittance[s] - weight[s]) * to_weight[s] - later);
      later += weight[s] * to_weight[s];
    }
    behind[e->ray] = later;
  }
}
