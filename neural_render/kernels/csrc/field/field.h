// The fused field on one tile: encoding, density network, direction, colour network; and back.
#pragma once
#include "field/encode.h"
#include "field/harmonics.h"
#include "networks/network.h"
#include "phases.h"

// Samples that are encoded together, level after level: what they touch of a level then stays in
// the second cache until the next level.
constexpr int TILE = 4096;
// Not a multiple of 4096 bytes, so that the rows of a tile do not fall into one cache set; and
// room behind the last sample for a whole vector.
constexpr int STRIDE = TILE + 48;
constexpr float GRADIENT_LIMIT = 3269017.25f;  // exp(15): the clamp of gradients through exp

struct FieldShape {
  Grid grid;
  NetworkShape density, color;
  int latent, sh_degree, num_conditions, num_channels, reflection_degree;
  float density_bias;
  bool exp_radiance;
  int feature_rows() const { return rows_of(grid.num_outputs()); }
  int latent_rows() const { return rows_of(latent); }
  // Harmonics of the reflected direction, and its angle: what each sample has of its own.
  int reflected() const { return color.middle; }
  int own_rows() const { return latent_rows() + rows_of(reflected()); }
  // Harmonics and conditions: what all samples of a ray share.
  int ray_inputs() const { return sh_degree * sh_degree + num_conditions; }
  int ray_rows() const { return rows_of(ray_inputs()); }
  int ray_column() const { return own_rows() * PER; }
};

struct FieldWeights {
  const Entry* table;
  Network density, color;
  FieldWeights(const FieldShape& f, const Entry* table, const float* density, const float* color)
      : table(table), density(f.density, density), color(f.color, color) {}
};

// One thread's buffers.
struct Workspace {
  Stopwatch watch;
  NetworkBuffers networks;
  Plane tile;                         // rows of floats: see below
  Plane features, latent;             // of a tile, lanes
  Plane inputs, d_outputs, d_latent;  // of a run, lanes
  Plane outputs, d_rays, d_features;  // of a run, floats
  bool pulled = false;
  Plane pull;  // of a run whose normals are drawn to others: these, and how strongly
  Plane views, d_views;  // of a run, where directions are reflected: x, y, z
  std::vector<Plane> color_planes;    // of a run, lanes: the colour network's hidden layers
  Hidden color_hidden;
  float *x, *y, *z, *footprint, *length, *middle, *sigma, *passed;
  const float* p[3];

  void prepare(const FieldShape& f) {
    const int run = NetworkBuffers::STRIDE;
    int width = std::max(f.density.width, f.color.width);
    int layers = std::max(f.density.hidden_layers, f.color.hidden_layers);
    int most = std::max({f.grid.num_outputs(), f.latent + f.reflected() + f.ray_inputs(), f.num_channels});
    networks.reserve(width, layers, most + 8);
    tile.reserve(8, STRIDE);
    features.reserve(f.feature_rows() + 8, STRIDE);
    latent.reserve(f.latent_rows() + 8, STRIDE);
    inputs.reserve(f.own_rows() + f.ray_rows() + 8, run);
    d_outputs.reserve(f.num_channels + 8, run);
    d_latent.reserve(f.latent + 8, run);
    pull.reserve(4, run);
    views.reserve(3, run);
    d_views.reserve(3, run);
    outputs.reserve(f.num_channels + 8, run);
    d_rays.reserve(f.ray_column() + f.ray_inputs() + 2 * PER + 8, run);
    d_features.reserve(f.grid.num_outputs() + 8, run);
    for (int l = 0; l < f.color.hidden_layers; l++) {
      color_planes.emplace_back(rows_of(f.color.width) + 8, run);
      color_hidden[l] = color_planes[l];
    }
    float** rows[8] = {&x, &y, &z, &footprint, &length, &middle, &sigma, &passed};
    for (int r = 0; r < 8; r++) *rows[r] = tile.row(r);
    p[0] = x, p[1] = y, p[2] = z;
  }
  // Padding samples get a valid point, so that whole vectors may be computed.
  void pad_points(int n) {
    for (int s = n; s < pad_block(n); s++) {
      x[s] = y[s] = z[s] = 0.5f;
      footprint[s] = length[s] = 0;
    }
  }
};

// Written so that NaN becomes 0: no lookup ever leaves the table.
static inline float into_cube(float x) { return x >= 0 ? std::min(x, 1.0f) : 0.0f; }
static inline vf into_cube(vf x) { return x >= 0 ? vmin(x, splat(1.0f)) : vf{}; }

// Density of the n points of the tile, and with `Latents` their latent lanes.
template <bool Latents>
static inline void density_tile(const FieldShape& f, const FieldWeights& w, Workspace& t, int n,
                                const float* footprint) {
  const int padded = pad_block(n);
  encode_tile(f.grid, w.table, t.p, footprint, padded, LaneRows{t.features.row(0), STRIDE});
  t.watch.lap(ENCODE);
  for (int first = 0; first < padded; first += FORWARD_RUN)
    network_forward(w.density, Lanes(t.features).from(first), std::min(FORWARD_RUN, padded - first),
                    t.networks.by_turns, Latents ? f.latent : 1,
                    [&](int j, int s, vf(*acc)[2]) {
                      s += first;
                      if (j == 0)
                        for (int h = 0; h < 2; h++)
                          store(t.sigma + s + h * W, vexp(acc[0][h] + f.density_bias));
                      if (Latents) store_block(t.latent.row(j / PER) + s, STRIDE, acc);
                    });
  t.watch.lap(DENSITY);
}

// Radiance of a run of `count` samples from t.inputs, a channel a row.
static inline void color_run(const FieldShape& f, const FieldWeights& w, Workspace& t, int count,
                             const Hidden& hidden, Lanes to) {
  network_forward(w.color, t.inputs, pad_block(count), hidden, f.num_channels,
                  [&](int j, int s, vf(*acc)[2]) {
                    for (int c = j; c < std::min(j + JB, f.num_channels); c++)
                      for (int h = 0; h < 2; h++) {
                        int at = s + h * W;
                        if (at >= count) break;
                        vf x = acc[c - j][h];
                        vf y = f.exp_radiance ? vexp(x) : 1 / (1 + vexp(-x));
                        store_some(to.row(c) + at, y, count - at);
                      }
                  });
}

// A ray's harmonics and conditions as lanes.
static inline void ray_lanes(const FieldShape& f, const float* direction, const float* conditions,
                             float* to) {
  const int sh = f.sh_degree * f.sh_degree;
  float h[MAX_HARMONICS];
  spherical_harmonics(direction, f.sh_degree, h);
  auto value = [&](int j) {
    return j < sh ? h[j] : j < f.ray_inputs() ? conditions[j - sh] : 0.0f;
  };
  for (int r = 0; r < f.ray_rows(); r++) to[r] = lane_of(value(r * PER), value(r * PER + PER - 1));
}

// What a backward run of n samples reads. Features are readable, and finite, up to a multiple of
// BLOCK.
struct RunInputs {
  Lanes features, radiance, d_radiance;
  const float *sigma, *d_sigma;
  int n;
};

static inline void store_floats(const Plane& to, int j, int s, vf (*acc)[2]) {
  for (int i = 0; i < JB; i++)
    for (int h = 0; h < 2; h++) store(to.row(j + i) + s + h * W, acc[i][h]);
}

// Gradient before the activation into t.d_outputs, as lanes, zero behind the run's end.
static inline void activation_backward(const FieldShape& f, const RunInputs& in, Workspace& t) {
  const int padded = pad_block(in.n);
  for (int r = 0; r < rows_of(f.num_channels); r++)
    for (int s = 0; s < padded; s++) {
      float d[PER];
      for (int i = 0; i < PER; i++) {
        int c = r * PER + i;
        d[i] = 0;
        if (c >= f.num_channels || s >= in.n) continue;
        float y = in.radiance.row(c)[s];
        d[i] = in.d_radiance.row(c)[s] *
               (f.exp_radiance ? std::min(y, GRADIENT_LIMIT) : y * (1 - y));
      }
      t.d_outputs.row(r)[s] = lane_of(d[0], d[PER - 1]);
    }
}

// The reflected inputs of n samples (a multiple of W), from t.inputs' latents and t.views.
static inline void reflect_run(const FieldShape& f, int n, Workspace& t) {
  if (!f.reflection_degree) return;
  const int stride = t.inputs.stride();
  for (int s = 0; s < n; s += W)
    reflected_lanes(reflection_of(t.inputs.row(0) + s, stride, t.views.row(0) + s, t.views.stride()),
                    f.reflection_degree, t.inputs.row(f.latent_rows()) + s, stride);
}

// t.d_views, the gradient to the directions, from those to the reflected inputs in t.d_rays.
static inline void reflect_backward(const FieldShape& f, int n, Workspace& t) {
  const float* from = t.d_rays.row(f.latent_rows() * PER);
  for (int s = 0; s < n; s += W) {
    vf to_d[3];
    reflected_backward(reflection_of(t.inputs.row(0) + s, t.inputs.stride(), t.views.row(0) + s,
                                     t.views.stride()),
                       f.reflection_degree, from + s, t.d_rays.stride(), to_d);
    for (int a = 0; a < 3; a++) store(t.d_views.row(a) + s, to_d[a]);
  }
}

// What t.pull adds to the gradient to the latents: to the floats of t.d_rays and the lanes made of
// them.
static inline void pull_backward(int n, Workspace& t) {
  const int first = FIRST_NORMAL / PER, last = (FIRST_NORMAL + 2) / PER;
  for (int s = 0; s < n; s += W) {
    for (int a = 0; a < 3; a++) {
      float* row = t.d_rays.row(FIRST_NORMAL + a) + s;
      vf v = neuron(t.inputs.row(0) + s, t.inputs.stride(), FIRST_NORMAL + a);
      store(row, load(row) + load(t.pull.row(3) + s) * (v - load(t.pull.row(a) + s)));
    }
    for (int r = first; r <= last; r++)
      store(t.d_latent.row(r) + s, lanes_of_neurons(load(t.d_rays.row(r * PER) + s),
                                                    load(t.d_rays.row(r * PER + PER - 1) + s)));
  }
}

// Backward over a run of at most BACKWARD_RUN samples, from `in`, t.inputs (latents and ray rows)
// and the colour network's hidden layers. The density network's are computed anew: that is cheaper
// than to keep them of all samples that are marched. Weight gradients are added; the gradient to the
// features goes as floats to t.d_features, that to the colour network's inputs, where it is wanted,
// to t.d_rays: to the latents where they are pulled, to all for rays.
static inline void field_backward_run(const FieldShape& f, const FieldWeights& w,
                                      const RunInputs& in, const Hidden& color_hidden,
                                      bool rays_too, float* sums, Workspace& t) {
  const int padded = pad_block(in.n), latent = f.latent_rows() * PER;
  const bool floats_too = rays_too || t.pulled;
  activation_backward(f, in, t);
  network_backward(
      w.color, t.inputs, padded, color_hidden, t.networks, t.d_outputs,
      rays_too ? f.ray_column() + f.ray_inputs() : latent, sums + f.density.num_sums(),
      [&](int j, int s, vf(*acc)[2]) {
        if (j == 0)
          for (int h = 0; h < 2; h++) {
            // Beyond the run's end the sums are zero already.
            alignas(64) float d[W];
            for (int i = 0; i < W; i++) {
              int at = s + h * W + i;
              d[i] = at < in.n ? in.d_sigma[at] * std::min(in.sigma[at], GRADIENT_LIMIT) : 0.0f;
            }
            acc[0][h] += load(d);
          }
        if (floats_too) store_floats(t.d_rays, j, s, acc);
        if (j < latent) store_block(t.d_latent.row(j / PER) + s, t.d_latent.stride(), acc);
      });
  if (t.pulled) pull_backward(padded, t);
  if (rays_too && f.reflection_degree) reflect_backward(f, padded, t);
  network_hidden(w.density, in.features, padded, t.networks.all);
  network_backward(w.density, in.features, padded, t.networks.all, t.networks, t.d_latent,
                   f.grid.num_outputs(), sums,
                   [&](int j, int s, vf(*acc)[2]) { store_floats(t.d_features, j, s, acc); });
}
