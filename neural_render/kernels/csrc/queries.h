// The ops that ask at given points: encoding, networks, field, density; forward and backward.
#pragma once
#include "drivers.h"

struct QueryInputs {
  const float *points, *directions, *conditions, *footprint;
  const int64_t* ray_index;
  int64_t num_samples;
};

struct QueryGradients {
  float *points, *directions, *conditions, *table, *density, *color;  // table zeroed by the caller
};

static inline int num_tiles(int64_t n) { return (int)((n + TILE - 1) / TILE); }

static inline const float* load_points(const float* points, const float* footprint, int64_t first,
                                       int n, Workspace& t) {
  const float* p = points + 3 * first;
  for (int s = 0; s < n; s++) t.set_point(s, p[3 * s], p[3 * s + 1], p[3 * s + 2]);
  t.pad_points(n);
  bool any = false;
  for (int s = 0; s < pad_block(n); s++) {
    t.points.row(3)[s] = s < n ? footprint[first + s] : 0;
    any |= t.points.row(3)[s] > 0;
  }
  return any ? t.points.row(3) : nullptr;
}

static inline void query_tile(const FieldShape& f, const FieldWeights& w, const QueryInputs& in,
                              int64_t first, int n, Workspace& t) {
  density_tile(f, w, t, n, load_points(in.points, in.footprint, first, n, t));
  const int sh = f.sh_degree * f.sh_degree;
  for (int j = 0; j < f.latent; j++)
    std::memcpy(t.inputs.row(j), t.latent.row(j), pad_block(n) * sizeof(float));
  for (int s = 0; s < n; s++) {
    float h[16];
    spherical_harmonics(in.directions + 3 * (first + s), f.sh_degree, h);
    for (int j = 0; j < sh; j++) t.inputs.row(f.latent + j)[s] = h[j];
    for (int j = 0; j < f.num_conditions; j++)
      t.inputs.row(f.latent + sh + j)[s] =
          in.conditions[in.ray_index[first + s] * f.num_conditions + j];
  }
  for (int j = f.latent; j < f.color.inputs; j++)
    for (int s = n; s < pad_block(n); s++) t.inputs.row(j)[s] = 0;
  color_tile(f, w, t, n);
}

static inline void query_forward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                 float* density, float* radiance) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int C = f.shape.num_channels;
  parallel_for(num_tiles(in.num_samples), [&](int tile, int worker) {
    Workspace& t = f.workspace(worker);
    int64_t first = (int64_t)tile * TILE;
    int n = (int)std::min<int64_t>(TILE, in.num_samples - first);
    query_tile(f.shape, w, in, first, n, t);
    std::memcpy(density + first, t.sigma.row(0), n * sizeof(float));
    for (int s = 0; s < n; s++)
      for (int c = 0; c < C; c++) radiance[(first + s) * C + c] = t.outputs.row(c)[s];
  });
}

static inline void density_forward(NativeField& f, const FieldWeights& w, const float* points,
                                   const float* footprint, int64_t num_samples, float* density) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  parallel_for(num_tiles(num_samples), [&](int tile, int worker) {
    Workspace& t = f.workspace(worker);
    int64_t first = (int64_t)tile * TILE;
    int n = (int)std::min<int64_t>(TILE, num_samples - first);
    density_tile(f.shape, w, t, n, load_points(points, footprint, first, n, t));
    std::memcpy(density + first, t.sigma.row(0), n * sizeof(float));
  });
}

// Gradients of a tile to points and directions, from t.d_features and t.d_inputs (may be unused).
static inline void points_backward(const FieldShape& f, const FieldWeights& w,
                                   int64_t first, int n, float* to, Workspace& t) {

  float* rows[3] = {t.d_points.row(0), t.d_points.row(1), t.d_points.row(2)};
  for (auto* row : rows) std::memset(row, 0, n * sizeof(float));
  encode_backward_points(f.grid, w.table, t.p, t.points.row(3), t.d_features.row(0), STRIDE, n,
                         rows);
  for (int s = 0; s < n; s++)
    for (int a = 0; a < 3; a++) to[3 * (first + s) + a] = rows[a][s];
}

// Planar points and feature gradients of all samples, for the scatter after the tiles.
struct Factored {
  std::vector<float> points, features;
  int64_t n;
  Factored(const FieldShape& f, int64_t n)
      : points(3 * n), features((size_t)f.grid.num_outputs() * n), n(n) {}
  void take(const FieldShape& f, const Workspace& t, int64_t first, int count) {
    for (int a = 0; a < 3; a++)
      std::memcpy(&points[a * n + first], t.p[a], count * sizeof(float));
    for (int j = 0; j < f.grid.num_outputs(); j++)
      for (int s = 0; s < count; s++)
        features[j * n + first + s] =
            t.d_features.row(j)[s] *
            footprint_weight(t.points.row(3)[s], f.grid.levels[j / f.grid.features].scale);
  }
  void scatter(const FieldShape& f, float* table) const {
    const float* p[3] = {&points[0], &points[n], &points[2 * n]};
    if (n) scatter_table(f.grid, p, features.data(), n, table);
  }
};

static inline void query_tile_backward(const FieldShape& f, const FieldWeights& w,
                                       const QueryInputs& in, const float* g_density,
                                       const float* g_radiance, int64_t first, int n,
                                       const QueryGradients& out, float* sums, float* to_condition,
                                       Workspace& t) {
  query_tile(f, w, in, first, n, t);
  const int sh = f.sh_degree * f.sh_degree;
  for (int s = 0; s < n; s++) {
    for (int c = 0; c < f.num_channels; c++)
      t.d_outputs.row(c)[s] = g_radiance[(first + s) * f.num_channels + c];
    t.d_points.row(3)[s] = g_density[first + s];
  }
  field_backward_tile(f, w, t, n, sums, sums + f.density.num_weights());
  points_backward(f, w, first, n, out.points, t);
  for (int s = 0; s < n; s++) {
    float g[16], d[3] = {0, 0, 0};
    for (int j = 0; j < sh; j++) g[j] = t.d_inputs.row(f.latent + j)[s];
    spherical_harmonics_backward(in.directions + 3 * (first + s), f.sh_degree, g, d);
    std::memcpy(out.directions + 3 * (first + s), d, sizeof d);
    for (int j = 0; j < f.num_conditions; j++)
      to_condition[(first + s) * f.num_conditions + j] = t.d_inputs.row(f.latent + sh + j)[s];
  }
}

static inline void query_backward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                  const float* g_density, const float* g_radiance,
                                  const QueryGradients& out) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int64_t N = in.num_samples;
  const int tiles = num_tiles(N), nd = f.shape.density.num_weights();
  GroupSums sums(tiles, nd + f.shape.color.num_weights());
  Factored factored(f.shape, N);
  std::vector<float> to_condition((size_t)N * f.shape.num_conditions);
  parallel_for(sums.groups(), [&](int group, int worker) {
    for (int tile = sums.begin(group); tile < sums.end(group, tiles); tile++) {
      int64_t first = (int64_t)tile * TILE;
      int n = (int)std::min<int64_t>(TILE, N - first);
      query_tile_backward(f.shape, w, in, g_density, g_radiance, first, n, out, sums.of(group),
                          to_condition.data(), f.workspace(worker));
      factored.take(f.shape, f.workspace(worker), first, n);
    }
  });
  for (int64_t s = 0; s < N; s++)
    for (int j = 0; j < f.shape.num_conditions; j++)
      out.conditions[in.ray_index[s] * f.shape.num_conditions + j] +=
          to_condition[s * f.shape.num_conditions + j];
  std::vector<float> total(nd + f.shape.color.num_weights());
  sums.reduce(total.data());
  std::memcpy(out.density, total.data(), nd * sizeof(float));
  std::memcpy(out.color, total.data() + nd, f.shape.color.num_weights() * sizeof(float));
  factored.scatter(f.shape, out.table);
}

static inline void density_backward(NativeField& f, const FieldWeights& w, const float* points,
                                    const float* footprint, int64_t N, const float* g,
                                    const QueryGradients& out) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int tiles = num_tiles(N), nd = f.shape.density.num_weights();
  const float limit = 3269017.25f;  // exp(15)
  GroupSums sums(tiles, nd);
  Factored factored(f.shape, N);
  parallel_for(sums.groups(), [&](int group, int worker) {
    Workspace& t = f.workspace(worker);
    for (int tile = sums.begin(group); tile < sums.end(group, tiles); tile++) {
      int64_t first = (int64_t)tile * TILE;
      int n = (int)std::min<int64_t>(TILE, N - first), padded = pad_block(n);
      density_tile(f.shape, w, t, n, load_points(points, footprint, first, n, t));
      for (int j = 0; j < f.shape.latent; j++)
        std::memset(t.d_latent.row(j), 0, padded * sizeof(float));
      for (int s = 0; s < n; s++)
        t.d_latent.row(0)[s] = g[first + s] * std::min(t.sigma.row(0)[s], limit);
      network_backward(w.density, t.features.row(0), t.hidden_d, t.d_latent.row(0),
                       t.d_features.row(0), t.temp, sums.of(group), STRIDE, padded);
      points_backward(f.shape, w, first, n, out.points, t);
      factored.take(f.shape, t, first, n);
    }
  });
  sums.reduce(out.density);
  factored.scatter(f.shape, out.table);
}
