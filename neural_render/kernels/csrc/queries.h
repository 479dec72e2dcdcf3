// The ops that ask at given points: field and density, forward and backward.
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

// Samples a task, few enough that small queries are shared out.
constexpr int QUERY = 1024;
static inline int num_tiles(int64_t n) { return (int)((n + QUERY - 1) / QUERY); }
static inline int tile_size(int64_t n, int64_t first) {
  return (int)std::min<int64_t>(QUERY, n - first);
}

// Points of a tile into the workspace; its footprints, or null if all are zero.
static inline const float* load_points(const QueryInputs& in, int64_t first, int n, Workspace& t) {
  const float* p = in.points + 3 * first;
  bool any = false;
  for (int s = 0; s < n; s++) {
    t.x[s] = into_cube(p[3 * s]);
    t.y[s] = into_cube(p[3 * s + 1]);
    t.z[s] = into_cube(p[3 * s + 2]);
    t.footprint[s] = in.footprint[first + s];
    any |= t.footprint[s] > 0;
  }
  t.pad_points(n);
  return any ? t.footprint : nullptr;
}

// The colour network's inputs of samples [at, at + n) of a tile that begins at `first`.
static inline void query_inputs(const FieldShape& f, const QueryInputs& in, int64_t first, int at,
                                int n, Workspace& t) {
  std::vector<float> lanes(f.ray_rows());
  const int stride = t.inputs.stride(), rows = f.own_rows() + f.ray_rows();
  copy_lanes(t.latent.row(0) + at, STRIDE, t.inputs.row(0), stride, f.latent_rows(), n);
  for (int s = 0; s < n; s++) {
    int64_t i = first + at + s;
    ray_lanes(f, in.directions + 3 * i, in.conditions + in.ray_index[i] * f.num_conditions,
              lanes.data());
    for (int r = 0; r < f.ray_rows(); r++)
      std::memcpy(t.inputs.row(f.own_rows() + r) + s, &lanes[r], sizeof(float));
    for (int a = 0; a < 3; a++) t.views.row(a)[s] = in.directions[3 * i + a];
  }
  reflect_run(f, pad_block(n), t);
  for (int r = 0; r < rows; r++)
    for (int s = n; s < pad_block(n); s++) t.inputs.row(r)[s] = 0;
}

static inline void query_forward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                 float* density, float* radiance) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int C = f.shape.num_channels;
  parallel_for(num_tiles(in.num_samples), [&](int tile, int worker) {
    Workspace& t = f.workspace(worker);
    int64_t first = (int64_t)tile * QUERY;
    int n = tile_size(in.num_samples, first);
    density_tile<true>(f.shape, w, t, n, load_points(in, first, n, t));
    std::memcpy(density + first, t.sigma, n * sizeof(float));
    for (int at = 0; at < n; at += FORWARD_RUN) {
      int run = std::min(FORWARD_RUN, n - at);
      query_inputs(f.shape, in, first, at, run, t);
      color_run(f.shape, w, t, run, t.networks.by_turns, t.outputs);
      for (int s = 0; s < run; s++)
        for (int c = 0; c < C; c++) radiance[(first + at + s) * C + c] = t.outputs.row(c)[s];
    }
  });
}

static inline void density_forward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                   float* density) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  parallel_for(num_tiles(in.num_samples), [&](int tile, int worker) {
    Workspace& t = f.workspace(worker);
    int64_t first = (int64_t)tile * QUERY;
    int n = tile_size(in.num_samples, first);
    density_tile<false>(f.shape, w, t, n, load_points(in, first, n, t));
    std::memcpy(density + first, t.sigma, n * sizeof(float));
  });
}

// Planar points and feature gradients of all samples, for the scatter after the tiles.
struct Factored {
  std::vector<float> points, features;
  int64_t n;
  Factored(const FieldShape& f, int64_t n)
      : points(3 * n), features((size_t)f.grid.num_outputs() * n), n(n) {}
  // `count` samples from `at` on of the tile, whose gradients are in t.d_features.
  void take(const FieldShape& f, const Workspace& t, int64_t first, int at, int count) {
    for (int a = 0; a < 3; a++)
      std::memcpy(&points[a * n + first + at], t.p[a] + at, count * sizeof(float));
    for (int j = 0; j < f.grid.num_outputs(); j++)
      for (int s = 0; s < count; s++)
        features[j * n + first + at + s] =
            t.d_features.row(j)[s] *
            footprint_weight(t.footprint[at + s], f.grid.levels[j / f.grid.features].scale);
  }
  void scatter(const FieldShape& f, float* table) const {
    if (n) scatter_table(f.grid, {factored_part(points.data(), 3, features.data(), n)}, table);
  }
};

// Gradients of samples [at, at + n) of a tile to points, from t.d_features. Null: not wanted.
static inline void points_backward(const FieldShape& f, const FieldWeights& w, int64_t first,
                                   int at, int n, float* to, Workspace& t) {
  if (!to) return;
  const float* p[3] = {t.x + at, t.y + at, t.z + at};
  float* rows[3] = {t.middle, t.length, t.passed};
  for (auto* row : rows) std::memset(row, 0, n * sizeof(float));
  encode_backward_points(f.grid, w.table, p, t.footprint + at, t.d_features.row(0),
                         t.d_features.stride(), n, rows);
  for (int s = 0; s < n; s++)
    for (int a = 0; a < 3; a++) to[3 * (first + at + s) + a] = rows[a][s];
}

// Gradients to directions and conditions from t.d_rays.
static inline void directions_backward(const FieldShape& f, const QueryInputs& in, int64_t first,
                                       int n, float* to_directions, float* to_condition,
                                       const Workspace& t) {
  const int sh = f.sh_degree * f.sh_degree, column = f.ray_column();
  for (int s = 0; s < n; s++) {
    float g[MAX_HARMONICS], d[3] = {0, 0, 0};
    for (int j = 0; j < sh; j++) g[j] = t.d_rays.row(column + j)[s];
    spherical_harmonics_backward(in.directions + 3 * (first + s), f.sh_degree, g, d);
    for (int a = 0; f.reflection_degree && a < 3; a++) d[a] += t.d_views.row(a)[s];
    if (to_directions) std::memcpy(to_directions + 3 * (first + s), d, sizeof d);
    for (int j = 0; j < f.num_conditions; j++)
      to_condition[(first + s) * f.num_conditions + j] = t.d_rays.row(column + sh + j)[s];
  }
}

struct OutputGradients {
  const float *density, *radiance;
};

// One tile: forward anew, then backward in runs.
static inline void query_tile_backward(const FieldShape& f, const FieldWeights& w,
                                       const QueryInputs& in, const OutputGradients& g,
                                       int64_t first, const QueryGradients& out, float* sums,
                                       float* to_condition, Factored& factored, Workspace& t) {
  const int n = tile_size(in.num_samples, first), C = f.num_channels;
  density_tile<true>(f, w, t, n, load_points(in, first, n, t));
  std::vector<float> d_radiance((size_t)C * BACKWARD_RUN);
  for (int at = 0; at < n; at += BACKWARD_RUN) {
    const int run = std::min(BACKWARD_RUN, n - at);
    query_inputs(f, in, first, at, run, t);
    color_run(f, w, t, run, t.color_hidden, t.outputs);
    for (int s = 0; s < run; s++)
      for (int c = 0; c < C; c++)
        d_radiance[(size_t)c * BACKWARD_RUN + s] = g.radiance[(first + at + s) * C + c];
    RunInputs inputs{Lanes(t.features).from(at),
                     t.outputs,
                     {d_radiance.data(), BACKWARD_RUN},
                     t.sigma + at,
                     g.density + first + at,
                     run};
    t.pulled = false;
    field_backward_run(f, w, inputs, t.color_hidden, true, sums, t);
    factored.take(f, t, first, at, run);
    directions_backward(f, in, first + at, run, out.directions, to_condition, t);
    points_backward(f, w, first, at, run, out.points, t);
  }
}

static inline void query_backward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                  const OutputGradients& g, const QueryGradients& out) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int64_t N = in.num_samples;
  const int tiles = num_tiles(N), nd = f.shape.density.num_sums();
  GroupSums sums(tiles, nd + f.shape.color.num_sums());
  Factored factored(f.shape, N);
  std::vector<float> to_condition((size_t)N * f.shape.num_conditions);
  parallel_for(sums.groups(), [&](int group, int worker) {
    for (int tile = sums.begin(group); tile < sums.end(group, tiles); tile++)
      query_tile_backward(f.shape, w, in, g, (int64_t)tile * QUERY, out, sums.of(group),
                          to_condition.data(), factored, f.workspace(worker));
  });
  for (int64_t s = 0; s < N; s++)
    for (int j = 0; j < f.shape.num_conditions; j++)
      out.conditions[in.ray_index[s] * f.shape.num_conditions + j] +=
          to_condition[s * f.shape.num_conditions + j];
  const float* total = sums.reduce();
  unpack_sums(f.shape.density, total, out.density);
  unpack_sums(f.shape.color, total + nd, out.color);
  factored.scatter(f.shape, out.table);
}

// One tile: forward anew, then the density network backward in runs.
static inline void density_tile_backward(const FieldShape& f, const FieldWeights& w,
                                         const QueryInputs& in, const float* g, int64_t first,
                                         float* to_points, float* sums, Factored& factored,
                                         Workspace& t) {
  const int n = tile_size(in.num_samples, first);
  density_tile<false>(f, w, t, n, load_points(in, first, n, t));
  for (int at = 0; at < n; at += BACKWARD_RUN) {
    const int run = std::min(BACKWARD_RUN, n - at), padded = pad_block(run);
    for (int r = 0; r < f.latent_rows(); r++)
      std::memset(t.d_latent.row(r), 0, padded * sizeof(float));
    for (int s = 0; s < run; s++)
      t.d_latent.row(0)[s] =
          lane_of(g[first + at + s] * std::min(t.sigma[at + s], GRADIENT_LIMIT), 0);
    network_hidden(w.density, Lanes(t.features).from(at), padded, t.networks.all);
    network_backward(w.density, Lanes(t.features).from(at), padded, t.networks.all, t.networks,
                     t.d_latent, f.grid.num_outputs(), sums,
                     [&](int j, int s, vf(*acc)[2]) { store_floats(t.d_features, j, s, acc); });
    factored.take(f, t, first, at, run);
    points_backward(f, w, first, at, run, to_points, t);
  }
}

static inline void density_backward(NativeField& f, const FieldWeights& w, const QueryInputs& in,
                                    const float* g, const QueryGradients& out) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  const int tiles = num_tiles(in.num_samples);
  GroupSums sums(tiles, f.shape.density.num_sums());
  Factored factored(f.shape, in.num_samples);
  parallel_for(sums.groups(), [&](int group, int worker) {
    for (int tile = sums.begin(group); tile < sums.end(group, tiles); tile++)
      density_tile_backward(f.shape, w, in, g, (int64_t)tile * QUERY, out.points, sums.of(group),
                            factored, f.workspace(worker));
  });
  unpack_sums(f.shape.density, sums.reduce(), out.density);
  factored.scatter(f.shape, out.table);
}
