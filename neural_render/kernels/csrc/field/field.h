// The fused field on one tile: encoding, density network, direction, colour network; and back.
#pragma once
#include <memory>

#include "field/grid.h"
#include "field/network.h"

constexpr int TILE = 1024;
// Not a multiple of 4096 bytes, so that the rows of a tile do not fall into one cache set.
constexpr int STRIDE = TILE + 48;

struct FieldShape {
  Grid grid;
  NetworkShape density, color;
  int latent, sh_degree, num_conditions, num_channels;
  float density_bias;
  bool exp_radiance;
};

struct FieldWeights {
  const float* table;
  Network density, color;
  FieldWeights(const FieldShape& f, const float* table, const float* density, const float* color)
      : table(table), density(f.density, density), color(f.color, color) {}
};

// Rows of tile-sized floats, 64-byte aligned.
class Rows {
 public:
  void reserve(int rows) {
    size_t bytes = (size_t)pad8(rows) * STRIDE * sizeof(float);
    if (bytes <= size_) return;
    data_.reset(static_cast<float*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    std::memset(data_.get(), 0, bytes);
    size_ = bytes;
  }
  float* row(int r) const { return data_.get() + (size_t)r * STRIDE; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  size_t size_ = 0;
};

// One thread's buffers for a tile.
struct Workspace {
  Rows points, features, latent, inputs, outputs, sigma, density_hidden, color_hidden, scratch;
  Rows d_outputs, d_inputs, d_latent, d_features, d_points;
  float *hidden_d[8], *hidden_c[8], *temp[2];
  const float* p[3];

  void prepare(const FieldShape& f) {
    points.reserve(8);
    features.reserve(f.grid.num_outputs());
    latent.reserve(f.latent);
    inputs.reserve(f.color.inputs);
    outputs.reserve(f.num_channels);
    sigma.reserve(8);
    density_hidden.reserve(f.density.hidden_layers * pad8(f.density.width));
    color_hidden.reserve(f.color.hidden_layers * pad8(f.color.width));
    scratch.reserve(2 * std::max(pad8(f.density.width), pad8(f.color.width)));
    d_outputs.reserve(f.num_channels);
    d_inputs.reserve(f.color.inputs);
    d_latent.reserve(f.latent);
    d_features.reserve(f.grid.num_outputs());
    d_points.reserve(8);
    for (int l = 0; l < f.density.hidden_layers; l++)
      hidden_d[l] = density_hidden.row(l * pad8(f.density.width));
    for (int l = 0; l < f.color.hidden_layers; l++)
      hidden_c[l] = color_hidden.row(l * pad8(f.color.width));
    temp[0] = scratch.row(0);
    temp[1] = scratch.row(std::max(pad8(f.density.width), pad8(f.color.width)));
    for (int d = 0; d < 3; d++) p[d] = points.row(d);
  }
  // Padding samples get a valid point, so that whole vectors may be computed.
  void pad_points(int n) {
    for (int d = 0; d < 3; d++)
      for (int s = n; s < pad_block(n); s++) points.row(d)[s] = 0.5f;
  }
  void set_point(int s, float x, float y, float z) {
    // Written so that NaN becomes 0: no lookup ever leaves the table.
    points.row(0)[s] = x >= 0 ? std::min(x, 1.0f) : 0.0f;
    points.row(1)[s] = y >= 0 ? std::min(y, 1.0f) : 0.0f;
    points.row(2)[s] = z >= 0 ? std::min(z, 1.0f) : 0.0f;
  }
};

// Real spherical harmonics up to degree 4 (16 values), signs as in tiny-cuda-nn.
static inline void spherical_harmonics(const float* d, int degree, float* o) {
  float x = d[0], y = d[1], z = d[2], xy = x * y, xz = x * z, yz = y * z;
  float x2 = x * x, y2 = y * y, z2 = z * z;
  o[0] = 0.28209479177387814f;
  if (degree <= 1) return;
  o[1] = -0.48860251190291987f * y;
  o[2] = 0.48860251190291987f * z;
  o[3] = -0.48860251190291987f * x;
  if (degree <= 2) return;
  o[4] = 1.0925484305920792f * xy;
  o[5] = -1.0925484305920792f * yz;
  o[6] = 0.94617469575755997f * z2 - 0.31539156525251999f;
  o[7] = -1.0925484305920792f * xz;
  o[8] = 0.54627421529603959f * (x2 - y2);
  if (degree <= 3) return;
  o[9] = 0.59004358992664352f * y * (-3 * x2 + y2);
  o[10] = 2.8906114426405538f * xy * z;
  o[11] = 0.45704579946446572f * y * (1 - 5 * z2);
  o[12] = 0.3731763325901154f * z * (5 * z2 - 3);
  o[13] = 0.45704579946446572f * x * (1 - 5 * z2);
  o[14] = 1.4453057213202769f * z * (x2 - y2);
  o[15] = 0.59004358992664352f * x * (-x2 + 3 * y2);
}

// d[3] += the gradient to the direction, g being the gradient to the harmonics.
static inline void spherical_harmonics_backward(const float* v, int degree, const float* g,
                                                float* d) {
  float x = v[0], y = v[1], z = v[2];
  if (degree > 1) {
    const float a = 0.48860251190291987f;
    d[1] -= a * g[1], d[2] += a * g[2], d[0] -= a * g[3];
  }
  if (degree > 2) {
    const float b = 1.0925484305920792f;
    d[0] += b * (y * g[4] - z * g[7] + x * g[8]);
    d[1] += b * (x * g[4] - z * g[5] - y * g[8]);
    d[2] += b * (-y * g[5] - x * g[7]) + 2 * 0.94617469575755997f * z * g[6];
  }
  if (degree > 3) {
    const float c = 0.59004358992664352f, e = 2.8906114426405538f, h = 0.45704579946446572f;
    const float q = 0.3731763325901154f, r = 1.4453057213202769f;
    d[0] += -6 * c * x * y * g[9] + e * y * z * g[10] + h * (1 - 5 * z * z) * g[13] +
            2 * r * x * z * g[14] + 3 * c * (y * y - x * x) * g[15];
    d[1] += 3 * c * (y * y - x * x) * g[9] + e * x * z * g[10] + h * (1 - 5 * z * z) * g[11] -
            2 * r * y * z * g[14] + 6 * c * x * y * g[15];
    d[2] += e * x * y * g[10] - 10 * h * y * z * g[11] + q * (15 * z * z - 3) * g[12] -
            10 * h * x * z * g[13] + r * (x * x - y * y) * g[14];
  }
}

// Features, latent values and density of the workspace's n points.
static inline void density_tile(const FieldShape& f, const FieldWeights& w, Workspace& t, int n,
                                const float* footprint) {
  int padded = pad_block(n);
  encode_tile(f.grid, w.table, t.p, footprint, padded, t.features.row(0), STRIDE);
  network_forward(w.density, t.features.row(0), t.hidden_d, t.latent.row(0), STRIDE, padded);
  for (int s = 0; s < padded; s += W)
    store(t.sigma.row(0) + s, vexp(load(t.latent.row(0) + s) + f.density_bias));
}

// Radiance (in t.outputs) from t.inputs.
static inline void color_tile(const FieldShape& f, const FieldWeights& w, Workspace& t, int n) {
  int padded = pad_block(n);
  network_forward(w.color, t.inputs.row(0), t.hidden_c, t.outputs.row(0), STRIDE, padded);
  for (int c = 0; c < f.num_channels; c++) {
    float* row = t.outputs.row(c);
    for (int s = 0; s < padded; s += W) {
      vf x = load(row + s);
      store(row + s, f.exp_radiance ? vexp(x) : 1 / (1 + vexp(-x)));
    }
  }
}

// Turns the gradient to radiance, in t.d_outputs, into the gradient before the activation.
static inline void activation_backward(const FieldShape& f, Workspace& t, int n) {
  const float limit = 3269017.25f;  // exp(15)
  for (int c = 0; c < f.num_channels; c++) {
    const float* y = t.outputs.row(c);
    float* d = t.d_outputs.row(c);
    for (int s = 0; s < n; s++)
      d[s] *= f.exp_radiance ? std::min(y[s], limit) : y[s] * (1 - y[s]);
  }
}

// Backward over one tile. In: t.features, t.inputs, t.outputs, t.sigma, t.d_outputs (gradient to
// radiance) and t.d_points row 3 (gradient to density), all zero-padded gradients. Out: weight
// gradients added, t.d_inputs, t.d_features.
static inline void field_backward_tile(const FieldShape& f, const FieldWeights& w, Workspace& t,
                                       int n, float* to_density, float* to_color) {
  int padded = pad_block(n);
  const float limit = 3269017.25f;  // exp(15): the clamp of the density's gradient
  activation_backward(f, t, n);
  for (int c = 0; c < f.num_channels; c++)
    for (int s = n; s < padded; s++) t.d_outputs.row(c)[s] = 0;
  network_hidden(w.color, t.inputs.row(0), t.hidden_c, STRIDE, padded);
  network_backward(w.color, t.inputs.row(0), t.hidden_c, t.d_outputs.row(0), t.d_inputs.row(0),
                   t.temp, to_color, STRIDE, padded);
  for (int j = 0; j < f.latent; j++)
    std::memcpy(t.d_latent.row(j), t.d_inputs.row(j), padded * sizeof(float));
  float* first = t.d_latent.row(0);
  const float* d_sigma = t.d_points.row(3);
  for (int s = 0; s < n; s++) first[s] += d_sigma[s] * std::min(t.sigma.row(0)[s], limit);
  network_hidden(w.density, t.features.row(0), t.hidden_d, STRIDE, padded);
  network_backward(w.density, t.features.row(0), t.hidden_d, t.d_latent.row(0),
                   t.d_features.row(0), t.temp, to_density, STRIDE, padded);
}
