// The way back through a chunk: compositing, colour network, density network, features, rays.
#pragma once
#include "rays/render.h"

struct RenderGradientsOut {
  float *points, *features;  // planar: [3 samples], [level_features samples]
  int64_t num_samples;
  float *origins, *directions, *background, *conditions;  // [rays ...]; zeroed by the caller
  bool rays_too;
};

// Gradients to ray origins, directions and conditions from a run's d_features and d_rays.
static inline void rays_backward(const Renderer& r, const FieldWeights& weights,
                                 const RenderProblem& in, const ChunkState& chunk, RaysInOrder rays,
                                 int first, int n, const RenderGradientsOut& out, Workspace& t) {
  const FieldShape& f = r.field;
  const int sh = f.sh_degree * f.sh_degree, column = rows_of(f.latent) * PER;
  const float* p[3] = {chunk.row(X) + first, chunk.row(Y) + first, chunk.row(Z) + first};
  const float* middle = chunk.row(MIDDLE) + first;
  float* to_points[3] = {t.x, t.y, t.z};  // the tile is free in the backward pass
  RaysInOrder again = rays;
  if (out.rays_too) {
    rays.visit(first, n, [&](int ray, int at, int count) {
      for (int s = at; s < at + count; s++)
        t.footprint[s] = in.footprint[chunk.first_ray + ray] * middle[s];
    });
    for (auto* row : to_points) std::memset(row, 0, n * sizeof(float));
  }
  if (out.rays_too)
    encode_backward_points(f.grid, weights.table, p, t.footprint, t.d_features.row(0),
                           t.d_features.stride(), n, to_points);
  again.visit(first, n, [&](int local, int at, int count) {
    size_t ray = (size_t)chunk.first_ray + local;
    for (int s = at; s < at + count; s++) {
      for (int j = 0; j < f.num_conditions; j++)
        out.conditions[ray * f.num_conditions + j] += t.d_rays.row(column + sh + j)[s];
      if (!out.rays_too) continue;
      float g[MAX_HARMONICS];
      for (int j = 0; j < sh; j++) g[j] = t.d_rays.row(column + j)[s];
      float *to_origin = out.origins + 3 * ray, *to_direction = out.directions + 3 * ray;
      spherical_harmonics_backward(in.directions + 3 * ray, f.sh_degree, g, to_direction);
      for (int a = 0; a < 3; a++) {
        to_origin[a] += to_points[a][s];
        to_direction[a] += to_points[a][s] * middle[s];
      }
    }
  });
}

// Writes a run's points and feature gradients to their place among all survivors.
static inline void store_factored(const Renderer& r, const RenderProblem& in,
                                  const ChunkState& chunk, RaysInOrder rays, bool footprints,
                                  int first, int n, int64_t place, const Workspace& t,
                                  const RenderGradientsOut& out) {
  for (int a = 0; a < 3; a++)
    std::memcpy(out.points + a * out.num_samples + place, chunk.row(X + a) + first,
                n * sizeof(float));
  const Grid& grid = r.field.grid;
  for (int j = 0; j < grid.num_outputs(); j++) {
    float* to = out.features + j * out.num_samples + place;
    std::memcpy(to, t.d_features.row(j), n * sizeof(float));
    if (!footprints) continue;
    float scale = grid.levels[j / grid.features].scale;
    RaysInOrder again = rays;
    again.visit(first, n, [&](int ray, int at, int count) {
      float per_unit = in.footprint[chunk.first_ray + ray];
      for (int s = at; s < at + count; s++)
        to[s] *= footprint_weight(per_unit * chunk.row(MIDDLE)[first + s], scale);
    });
  }
}

// Backward over one chunk from what compositing left, the samples beginning at `place` among all;
// weight gradients are added.
static inline void render_chunk_backward(const Renderer& r, const FieldWeights& weights,
                                         const RenderProblem& in,
                                         CompositeGradients& composite,
                                         const ChunkState& chunk, int64_t place,
                                         const RenderGradientsOut& out, float* sums,
                                         Workspace& t) {
  std::vector<float> lanes = lanes_of_rays(r, in, chunk);
  bool footprints = false;
  for (int ray = 0; ray < chunk.num_rays; ray++)
    footprints |= in.footprint[chunk.first_ray + ray] > 0;
  const bool rays_too = out.rays_too || r.field.num_conditions > 0;
  RaysInOrder rays(chunk.segments);
  for (int first = 0; first < chunk.count; first += BACKWARD_RUN) {
    int n = std::min(BACKWARD_RUN, chunk.count - first);
    RaysInOrder here = rays;
    color_inputs(r.field, chunk, lanes, rays, first, n, t);
    RunInputs run{{chunk.features(0) + first, chunk.columns.stride()},
                  {chunk.radiance(0) + first, chunk.columns.stride()},
                  {composite.radiance.data() + first, composite.stride},
                  chunk.row(SIGMA) + first,
                  composite.sigma.data() + first,
                  n};
    field_backward_run(r.field, weights, run, chunk.hidden(first), rays_too, sums, t);
    t.watch.lap(NETWORKS_BACKWARD);
    store_factored(r, in, chunk, here, footprints, first, n, place + first, t, out);
    if (rays_too) rays_backward(r, weights, in, chunk, here, first, n, out, t);
    t.watch.lap(STORE_GRADIENTS);
  }
}
