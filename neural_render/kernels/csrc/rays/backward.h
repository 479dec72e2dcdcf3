// The way back through a chunk: compositing, colour network, density network, features, rays.
#pragma once
#include "rays/render.h"

struct RenderGradientsOut {
  float *points, *features;  // planar: [3 samples], [level_features samples]
  int64_t num_samples;
  float *origins, *directions, *background, *conditions;  // [rays ...]; zeroed by the caller
  bool rays_too;
  // What draws the normals of samples to those of their rays' first surfaces: see
  // `normal_shares_of_rays`. Null: nothing.
  const float *normals = nullptr, *normal_shares = nullptr;
};

// What the distances of a chunk's normals from those of the rays' first surfaces add to the loss.
static inline double normal_loss_of_chunk(const ChunkState& chunk, const RenderGradientsOut& out) {
  const size_t stride = chunk.columns.stride();
  double sum = 0;
  for (const Segment& e : chunk.segments) {
    const size_t ray = (size_t)chunk.first_ray + e.ray;
    const float* n = out.normals + 3 * ray;
    if (!(out.normal_shares[ray] > 0)) continue;
    float seen = 0;
    for (int s = e.first; s < e.first + e.count; s += W) {
      vf square = {};
      for (int a = 0; a < 3; a++) {
        vf error = neuron(chunk.latent(0) + s, stride, FIRST_NORMAL + a) - n[a];
        square += error * error;
      }
      square *= load(chunk.row(WEIGHT) + s);
      for (int i = 0; i < std::min(W, e.first + e.count - s); i++) seen += square[i];
    }
    sum += (double)seen * out.normal_shares[ray];
  }
  return sum;
}

// The normals that those of a run's samples are drawn to, and how strongly, into t.pull.
static inline void pull_normals(const ChunkState& chunk, RaysInOrder rays, int first, int n,
                                const RenderGradientsOut& out, Workspace& t) {
  t.pulled = out.normals != nullptr;
  if (!t.pulled) return;
  for (int s = n; s < pad_block(n); s++) t.pull.row(3)[s] = 0;
  rays.visit(first, n, [&](int ray, int at, int count) {
    const size_t place = (size_t)chunk.first_ray + ray;
    for (int s = at; s < at + count; s++) {
      for (int a = 0; a < 3; a++) t.pull.row(a)[s] = out.normals[3 * place + a];
      t.pull.row(3)[s] = 2 * out.normal_shares[place] * chunk.row(WEIGHT)[first + s];
    }
  });
}

// Gradients to ray origins, directions and conditions from a run's d_features and d_rays.
static inline void rays_backward(const Renderer& r, const FieldWeights& weights,
                                 const RenderProblem& in, const ChunkState& chunk, RaysInOrder rays,
                                 int first, int n, const RenderGradientsOut& out, Workspace& t) {
  const FieldShape& f = r.field;
  const int sh = f.sh_degree * f.sh_degree, column = f.ray_column();
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
        if (f.reflection_degree) to_direction[a] += t.d_views.row(a)[s];
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
    color_inputs(r.field, in, chunk, lanes, rays, first, n, t);
    RunInputs run{{chunk.features(0) + first, chunk.columns.stride()},
                  {chunk.radiance(0) + first, chunk.columns.stride()},
                  {composite.radiance.data() + first, composite.stride},
                  chunk.row(SIGMA) + first,
                  composite.sigma.data() + first,
                  n};
    pull_normals(chunk, here, first, n, out, t);
    field_backward_run(r.field, weights, run, chunk.hidden(first), rays_too, sums, t);
    t.watch.lap(NETWORKS_BACKWARD);
    store_factored(r, in, chunk, here, footprints, first, n, place + first, t, out);
    if (rays_too) rays_backward(r, weights, in, chunk, here, first, n, out, t);
    t.watch.lap(STORE_GRADIENTS);
  }
}
