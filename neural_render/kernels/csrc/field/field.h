// The fused field on one tile: encoding, density network, direction, colour network; and back.
#pragma once
#include "field/encode.h"
#include "field/harmonics.h"
#include "field/network.h"
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
  int latent, sh_degree, num_conditions, num_channels;
  float density_bias;
  bool exp_radiance;
  int feature_rows() const { return rows_of(grid.num_outputs()); }
  int latent_rows() const { return rows_of(latent); }
  // Harmonics and conditions: what all samples of a ray share.
  int ray_inputs() const { return sh_degree * sh_degree + num_conditions; }
  int ray_rows() const { return rows_of(ray_inputs()); }
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
  std::vector<Plane> color_planes;    // of a run, lanes: the colour network's hidden layers
  Hidden color_hidden;
  float *x, *y, *z, *footprint, *length, *middle, *sigma, *passed;
  const float* p[3];

  void prepare(const FieldShape& f) {
    const int run = NetworkBuffers::STRIDE;
    int width = std::max(f.density.width, f.color.width);
    int layers = std::max(f.density.hidden_layers, f.color.hidden_layers);
    int most = std::max({f.grid.num_outputs(), f.latent + f.ray_inputs(), f.num_channels});
    networks.reserve(width, layers, most + 8);
    tile.reserve(8, STRIDE);
    features.reserve(f.feature_rows() + 8, STRIDE);
    latent.reserve(f.latent_rows() + 8, STRIDE);
    inputs.reserve(f.latent_rows() + f.ray_rows() + 8, run);
    d_outputs.reserve(f.num_channels + 8, run);
    d_latent.reserve(f.latent + 8, run);
    outputs.reserve(f.num_channels + 8, run);
    d_rays.reserve(f.latent + f.ray_inputs() + 2 * PER + 8, run);
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

// Backward over a run of at most BACKWARD_RUN samples, from `in`, t.inputs (latents and ray rows)
// and the colour network's hidden layers. The density network's are computed anew: that is cheaper
// than to keep them of all samples that are marched. Weight gradients are added; the gradient to the
// features goes as floats to t.d_features,
// that to the ray inputs, if wanted, to t.d_rays.
static inline void field_backward_run(const FieldShape& f, const FieldWeights& w,
                                      const RunInputs& in, const Hidden& color_hidden,
                                      bool rays_too, float* sums, Workspace& t) {
  const int padded = pad_block(in.n), latent = rows_of(f.latent) * PER;
  activation_backward(f, in, t);
  network_backward(
      w.color, t.inputs, padded, color_hidden, t.networks, t.d_outputs,
      rays_too ? latent + f.ray_inputs() : latent, sums + f.density.num_sums(),
      [&](int j, int s, vf(*acc)[2]) {
        if (rays_too) store_floats(t.d_rays, j, s, acc);
        if (j >= latent) return;
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
        store_block(t.d_latent.row(j / PER) + s, t.d_latent.stride(), acc);
      });
  network_hidden(w.density, in.features, padded, t.networks.all);
  network_backward(w.density, in.features, padded, t.networks.all, t.networks, t.d_latent,
                   f.grid.num_outputs(), sums,
                   [&](int j, int s, vf(*acc)[2]) { store_floats(t.d_features, j, s, acc); });
}
