// The way back through a chunk: compositing, colour network, density network, features, rays.
#pragma once
#include "rays/render.h"

struct RenderGradientsIn {
  const float *values, *opacity, *distance, *distortion;
};

struct RenderGradientsOut {
  float *points, *features;  // planar: [3 samples], [level_features samples]
  int64_t num_samples;
  float *origins, *directions, *background, *conditions;  // [rays ...]; zeroed by the caller
  bool rays_too;
};

// dL/dsigma and dL/dradiance of a chunk's survivors.
struct CompositeGradients {
  std::vector<float> sigma, radiance;
};

struct RayTotals {
  float opacity = 0, moment = 0, light = 1;
};

static inline std::vector<RayTotals> ray_totals(const ChunkState& chunk) {
  std::vector<RayTotals> totals(chunk.num_rays);
  for (const Segment& e : chunk.segments)
    for (int s = e.first; s < e.first + e.count; s++) {
      RayTotals& a = totals[e.ray];
      a.opacity += chunk.weight[s];
      a.moment += chunk.weight[s] * chunk.middle[s];
      a.light = chunk.transmittance[s] - chunk.weight[s];
    }
  return totals;
}

// `extra` (may be null): a gradient to the weights themselves.
// g_i = dL/dw_i by prefix sums along each ray, then
// dL/dsigma_i = d_i (T_{i+1} g_i - sum_{j>i} w_j g_j - T_end g_background) by suffix sums.
static inline void composite_backward_chunk(const Renderer& r, const RenderProblem& in,
                                            const RenderGradientsIn& g, const float* extra,
                                            const ChunkState& chunk, const RenderGradientsOut& out,
                                            CompositeGradients& to) {
  const int C = r.field.num_channels;
  std::vector<RayTotals> totals = ray_totals(chunk);
  std::vector<float> to_weight(chunk.count), behind(chunk.num_rays);
  std::vector<RayTotals> before(chunk.num_rays);
  to.sigma.resize(chunk.count);
  to.radiance.resize((size_t)chunk.count * C);
  for (int ray = 0; ray < chunk.num_rays; ray++) {
    size_t at = chunk.first_ray + ray;
    float through = 0;
    for (int c = 0; c < C; c++) {
      through += g.values[at * C + c] * in.background[at * C + c];
      out.background[at * C + c] = g.values[at * C + c] * totals[ray].light;
    }
    behind[ray] = totals[ray].light * through;
  }
  for (const Segment& e : chunk.segments) {
    size_t at = chunk.first_ray + e.ray;
    const RayTotals& all = totals[e.ray];
    RayTotals& b = before[e.ray];
    float mean = all.opacity > 0 ? all.moment / all.opacity : 0;
    float to_mean = all.opacity > 0 ? g.distance[at] / all.opacity : 0;
    for (int s = e.first; s < e.first + e.count; s++) {
      float w = chunk.weight[s], m = chunk.middle[s];
      float spread = m * (2 * b.opacity + w - all.opacity) - (2 * b.moment + w * m - all.moment);
      float d = g.opacity[at] + to_mean * (m - mean) +
                g.distortion[at] * (2 * spread + 2.0f / 3 * w * chunk.length[s]);
      if (extra) d += extra[s];
      for (int c = 0; c < C; c++) {
        d += g.values[at * C + c] * chunk.radiance[(size_t)s * C + c];
        to.radiance[(size_t)s * C + c] = g.values[at * C + c] * w;
      }
      to_weight[s] = d;
      b.opacity += w;
      b.moment += w * m;
    }
  }
  for (auto e = chunk.segments.rbegin(); e != chunk.segments.rend(); ++e)
    for (int s = e->first + e->count - 1; s >= e->first; s--) {
      float w = chunk.weight[s];
      to.sigma[s] = chunk.length[s] * ((chunk.transmittance[s] - w) * to_weight[s] - behind[e->ray]);
      behind[e->ray] += w * to_weight[s];
    }
}

// Loads survivors [first, first + n) of a chunk and their gradients into the tile.
static inline void load_tile(const Renderer& r, const RenderProblem& in, const ChunkState& chunk,
                             const CompositeGradients& g, const std::vector<int>& ray_of, int first,
                             int n, Workspace& t) {
  const FieldShape& f = r.field;
  const int E = f.grid.num_outputs(), C = f.num_channels;
  for (int s = 0; s < n; s++) {
    int i = first + s;
    t.set_point(s, chunk.x[i], chunk.y[i], chunk.z[i]);
    const float* features = &chunk.features[(size_t)i * E];
    for (int j = 0; j < E; j++) t.features.row(j)[s] = features[j];
    for (int c = 0; c < C; c++) {
      t.outputs.row(c)[s] = chunk.radiance[(size_t)i * C + c];
      t.d_outputs.row(c)[s] = g.radiance[(size_t)i * C + c];
    }
    t.sigma.row(0)[s] = chunk.sigma[i];
    t.d_points.row(3)[s] = g.sigma[i];
    t.points.row(3)[s] = in.footprint[chunk.first_ray + ray_of[i]] * chunk.middle[i];
  }
  for (int s = n; s < pad_block(n); s++) {
    for (int j = 0; j < E; j++) t.features.row(j)[s] = 0;
    t.points.row(3)[s] = 0;
  }
}

// Gradients to ray origins, directions and conditions from a tile's d_features and d_inputs.
static inline void rays_backward(const Renderer& r, const FieldWeights& weights,
                                 const RenderProblem& in, const ChunkState& chunk,
                                 const std::vector<int>& ray_of, int first, int n,
                                 const RenderGradientsOut& out, Workspace& t) {
  const FieldShape& f = r.field;
  const int sh = f.sh_degree * f.sh_degree;
  for (int s = 0; s < n; s++) {
    size_t ray = chunk.first_ray + ray_of[first + s];
    float* to = out.conditions + ray * f.num_conditions;
    for (int j = 0; j < f.num_conditions; j++) to[j] += t.d_inputs.row(f.latent + sh + j)[s];
  }
  if (!out.rays_too) return;
  float* to_points[3] = {t.d_points.row(0), t.d_points.row(1), t.d_points.row(2)};
  for (auto* row : to_points) std::memset(row, 0, n * sizeof(float));
  encode_backward_points(f.grid, weights.table, t.p, t.points.row(3), t.d_features.row(0), STRIDE,
                         n, to_points);
  for (int s = 0; s < n; s++) {
    size_t ray = chunk.first_ray + ray_of[first + s];
    float g[16];
    for (int j = 0; j < sh; j++) g[j] = t.d_inputs.row(f.latent + j)[s];
    spherical_harmonics_backward(in.directions + 3 * ray, f.sh_degree, g, out.directions + 3 * ray);
    for (int a = 0; a < 3; a++) {
      out.origins[3 * ray + a] += to_points[a][s];
      out.directions[3 * ray + a] += to_points[a][s] * chunk.middle[first + s];
    }
  }
}

// Writes a tile's points and feature gradients to their place among all survivors.
static inline void store_factored(const Renderer& r, const Workspace& t, bool footprints, int n,
                                  int64_t place, const RenderGradientsOut& out) {
  for (int a = 0; a < 3; a++)
    std::memcpy(out.points + a * out.num_samples + place, t.p[a], n * sizeof(float));
  const Grid& grid = r.field.grid;
  for (int j = 0; j < grid.num_outputs(); j++) {
    float* to = out.features + j * out.num_samples + place;
    std::memcpy(to, t.d_features.row(j), n * sizeof(float));
    if (!footprints) continue;
    float scale = grid.levels[j / grid.features].scale;
    for (int s = 0; s < n; s++) to[s] *= footprint_weight(t.points.row(3)[s], scale);
  }
}

// Backward over one chunk, whose survivors begin at `place` among all; weight gradients are added.
static inline void render_chunk_backward(const Renderer& r, const FieldWeights& weights,
                                         const RenderProblem& in, const RenderGradientsIn& g,
                                         const ChunkState& chunk, int64_t place,
                                         const RenderGradientsOut& out, float* to_density,
                                         float* to_color, Workspace& t) {
  CompositeGradients composite;
  composite_backward_chunk(r, in, g, nullptr, chunk, out, composite);
  std::vector<int> ray_of = rays_of_samples(chunk);
  std::vector<float> harmonics = harmonics_of_rays(r, in, chunk);
  bool footprints = false;
  for (int ray = 0; ray < chunk.num_rays; ray++)
    footprints |= in.footprint[chunk.first_ray + ray] > 0;
  for (int first = 0; first < chunk.count; first += TILE / 2) {
    int n = std::min(TILE / 2, chunk.count - first);
    load_tile(r, in, chunk, composite, ray_of, first, n, t);
    color_inputs(r, in, chunk, harmonics, ray_of, first, n, t);
    field_backward_tile(r.field, weights, t, n, to_density, to_color);
    store_factored(r, t, footprints, n, place + first, out);
    rays_backward(r, weights, in, chunk, ray_of, first, n, out, t);
  }
}
