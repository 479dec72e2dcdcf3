// Small fully connected networks on planes of lanes (numbers.h): forward and back.
#pragma once
#include <array>
#include <memory>
#include <new>
#include <vector>

#include "field/numbers.h"

constexpr int BLOCK = 2 * W;  // samples per inner block
// Samples that go through all layers together: their hidden rows stay in the first cache forward,
// in the second one backward, where longer runs spare sums over lanes.
constexpr int FORWARD_RUN = 256, BACKWARD_RUN = 512;
static inline int pad4(int n) { return (n + 3) / 4 * 4; }
static inline int pad8(int n) { return (n + 7) / 8 * 8; }
static inline int pad_block(int n) { return (n + BLOCK - 1) / BLOCK * BLOCK; }

// The first `leading` inputs fill whole rows, and so do the `middle` ones; the others begin with a
// row of their own: the parts are written by different hands.
struct NetworkShape {
  int inputs, width, hidden_layers, outputs, leading, middle;
  int num_layers() const { return hidden_layers + 1; }
  int in(int layer) const { return layer == 0 ? inputs : width; }
  int out(int layer) const { return layer == hidden_layers ? outputs : width; }
  int rows_in(int layer) const {
    return layer == 0 ? rows_of(leading) + rows_of(middle) + rows_of(inputs - leading - middle)
                      : rows_of(width);
  }
  // Where input k of a layer stands among the rows' neurons.
  int column(int layer, int k) const {
    if (layer > 0 || k < leading) return k;
    k -= leading;
    if (k < middle) return k + rows_of(leading) * PER;
    return k - middle + (rows_of(leading) + rows_of(middle)) * PER;
  }
  // Weight gradients are summed in blocks of 4 outputs by 4 inputs.
  int num_sums(int layer) const { return pad4(out(layer)) * pad4(rows_in(layer) * PER); }
  int num_sums() const {
    int n = 0;
    for (int l = 0; l < num_layers(); l++) n += num_sums(l);
    return n;
  }
};

// From sums of all layers to the flat gradient of the weights.
static inline void unpack_sums(const NetworkShape& shape, const float* sums, float* to) {
  for (int l = 0; l < shape.num_layers(); l++) {
    const int blocks = pad4(shape.rows_in(l) * PER) / 4;
    for (int j = 0; j < shape.out(l); j++)
      for (int k = 0; k < shape.in(l); k++) {
        int c = shape.column(l, k);
        *to++ = sums[((size_t)(j / 4) * blocks + c / 4) * 16 + j % 4 * 4 + c % 4];
      }
    sums += shape.num_sums(l);
  }
}

// One layer's weights as lanes, packed for the product forward and, transposed, for the one back:
// blocks of JB outputs, for each row of inputs JB neighbouring lanes; padded with zeros.
struct PackedLayer {
  int outs, rows, back_outs, back_rows;
  std::vector<float> forward, backward;

  PackedLayer(const NetworkShape& shape, int l, const float* w)
      : outs(shape.out(l)),
        rows(shape.rows_in(l)),
        back_outs(rows * PER),
        back_rows(rows_of(outs)) {
    const int ins = shape.in(l);
    std::vector<float> wide((size_t)pad8(outs) * (back_outs + 8), 0.0f);  // [outs][columns]
    const int columns = back_outs;
    for (int j = 0; j < outs; j++)
      for (int k = 0; k < ins; k++)
        wide[(size_t)j * columns + shape.column(l, k)] = w[(size_t)j * ins + k];
    forward.assign((size_t)pad8(outs) * rows, 0.0f);
    for (int j = 0; j < outs; j++)
      for (int r = 0; r < rows; r++) {
        const float* pair = &wide[(size_t)j * columns + r * PER];
        forward[((size_t)(j / JB) * rows + r) * JB + j % JB] = lane_of(pair[0], pair[PER - 1]);
      }
    backward.assign((size_t)pad8(back_outs) * back_rows, 0.0f);
    for (int c = 0; c < columns; c++)
      for (int r = 0; r < back_rows; r++)
        backward[((size_t)(c / JB) * back_rows + r) * JB + c % JB] =
            lane_of(wide[(size_t)r * PER * columns + c],
                    wide[(size_t)(r * PER + PER - 1) * columns + c]);
  }
};

struct Network {
  NetworkShape shape;
  std::vector<PackedLayer> layers;
  Network(const NetworkShape& shape, const float* weights) : shape(shape) {
    for (int l = 0; l < shape.num_layers(); l++) {
      layers.emplace_back(shape, l, weights);
      weights += shape.in(l) * shape.out(l);
    }
  }
};

// sum_k w[j][k] in[k] for the first `outs` outputs (whole blocks of JB) of n samples (a multiple of
// BLOCK); `finish(j, s, sums)` gets JB outputs from j on of BLOCK samples from s on.
template <class Finish>
static inline void product(const float* w, int outs, int rows, const float* in, int stride, int n,
                           Finish finish) {
  for (int s = 0; s < n; s += BLOCK)
    for (int jb = 0; jb < outs; jb += JB) {
      vf acc[JB][2];
#pragma GCC unroll 8
      for (int j = 0; j < JB; j++) acc[j][0] = acc[j][1] = vf{};
      const float *a = in + s, *b = w + (size_t)jb * rows;
      for (int k = 0; k < rows; k++, a += stride, b += JB) {
        vf a0 = load(a), a1 = load(a + W);
#pragma GCC unroll 8
        for (int j = 0; j < JB; j++) {
          vf x = splat_lane(b + j);
          acc[j][0] = dot(acc[j][0], a0, x);
          acc[j][1] = dot(acc[j][1], a1, x);
        }
      }
      finish(jb, s, acc);
    }
}

// sums[j][k] += sum over samples of d[j] in[k], in blocks of 4 by 4.
static inline void weight_gradient(BySample d, int outs, BySample in, int columns, int n,
                                   float* sums) {
  const int lanes = n / PER;
  for (int jb = 0; jb < outs; jb += 4)
    for (int kb = 0; kb < columns; kb += 4, sums += 16) {
      vf acc[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) acc[i] = vf{};
      const float *a = d.rows + (size_t)jb * d.stride, *b = in.rows + (size_t)kb * in.stride;
      for (int s = 0; s < lanes; s += W) {
        vf x[4], y[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          x[i] = load(a + (size_t)i * d.stride + s);
          y[i] = load(b + (size_t)i * in.stride + s);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) acc[i] = dot(acc[i], x[i / 4], y[i % 4]);
      }
      vf total[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        vf z[4] = {acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]};
        quad_transpose(z);
        total[j] = (z[0] + z[1]) + (z[2] + z[3]);
      }
      add_quad_sums(sums, total[0], total[1], total[2], total[3]);
    }
}

// Rows of `stride` lanes, 64-byte aligned, zero at first.
class Plane {
 public:
  Plane() = default;
  Plane(int rows, int stride) { reserve(rows, stride); }
  void reserve(int rows, int stride) {
    size_t bytes = ((size_t)pad8(rows) * stride * sizeof(float) + 63) / 64 * 64;
    data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, bytes);
    stride_ = stride;
  }
  float* row(int r) const { return data_.get() + (size_t)r * stride_; }
  int stride() const { return stride_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  int stride_ = 0;
};

// Rows of a plane from some sample on.
struct Lanes {
  float* rows = nullptr;
  int stride = 0;
  Lanes() = default;
  Lanes(float* rows, size_t stride) : rows(rows), stride((int)stride) {}
  Lanes(const Plane& plane) : Lanes(plane.row(0), plane.stride()) {}
  float* row(int r) const { return rows + (size_t)r * stride; }
  Lanes from(int sample) const { return {rows + sample, (size_t)stride}; }
};
constexpr int MOST_LAYERS = 8;
// Where the activations of each hidden layer are.
using Hidden = std::array<Lanes, MOST_LAYERS>;

// One thread's buffers for runs through networks of up to this many layers and neurons. Strides are
// not multiples of 4096 bytes, so that the rows of a plane do not fall into one set of the cache.
struct NetworkBuffers {
  static constexpr int STRIDE = BACKWARD_RUN + 16;
  std::vector<Plane> planes;
  Plane d[2], d_samples, samples;  // gradients by turns; both by sample
  Hidden by_turns, all;            // hidden layers that are forgotten at once, or kept for the run
  void reserve(int width, int layers, int inputs) {
    int rows = std::max(width, inputs) + 2 * PER + JB;
    while ((int)planes.size() < std::max(2, layers)) planes.emplace_back(rows, STRIDE);
    for (int l = 0; l < std::max(2, layers); l++) by_turns[l] = planes[l & 1], all[l] = planes[l];
    for (Plane* plane : {&d[0], &d[1], &d_samples, &samples}) plane->reserve(rows, STRIDE);
  }
};

// Hidden layer by hidden layer, n samples (a multiple of BLOCK) through all of them.
static inline void network_hidden(const Network& net, Lanes in, int n, const Hidden& hidden) {
  const vf zero = vf{};
  for (int l = 0; l < net.shape.hidden_layers; l++) {
    const PackedLayer& layer = net.layers[l];
    const Lanes to = hidden[l];
    product(layer.forward.data(), layer.outs, layer.rows, in.rows, in.stride, n,
            [&](int j, int s, vf(*acc)[2]) {
#pragma GCC unroll 8
              for (int i = 0; i < JB; i++) {
                acc[i][0] = vmax(acc[i][0], zero);
                acc[i][1] = vmax(acc[i][1], zero);
              }
              store_block(to.row(j / PER) + s, to.stride, acc);
            });
    in = to;
  }
}

// Runs the network on n samples (padded to BLOCK by the caller, FORWARD_RUN at most where `hidden`
// is a run's); `finish` as in `product`, for the first `outs` outputs.
template <class Finish>
static inline void network_forward(const Network& net, Lanes in, int n, const Hidden& hidden,
                                   int outs, Finish finish) {
  network_hidden(net, in, n, hidden);
  const PackedLayer& last = net.layers.back();
  if (net.shape.hidden_layers) in = hidden[net.shape.hidden_layers - 1];
  product(last.forward.data(), outs, last.rows, in.rows, in.stride, n, finish);
}

// Gradients of one run of n samples (a multiple of BLOCK, at most BACKWARD_RUN) whose hidden layers
// are known. `d_out` holds the gradient to the outputs as lanes (whole blocks of rows; zero beyond
// the outputs and beyond the real samples). Weight gradients are added to `sums`; the gradient to
// the first `d_inputs` inputs goes to `finish`, as in `product`.
template <class Finish>
static inline void network_backward(const Network& net, Lanes in, int n, const Hidden& hidden,
                                    NetworkBuffers& buffers, const Plane& d_out, int d_inputs,
                                    float* sums, Finish finish) {
  const NetworkShape& shape = net.shape;
  sums += shape.num_sums();
  Lanes d = d_out;
  for (int l = shape.hidden_layers; l >= 0; l--) {
    const PackedLayer& layer = net.layers[l];
    const Lanes from = l == 0 ? in : hidden[l - 1];
    sums -= shape.num_sums(l);
    BySample x = by_sample(d.rows, d.stride, layer.back_rows, n, buffers.d_samples.row(0),
                           NetworkBuffers::STRIDE);
    BySample y = by_sample(from.rows, from.stride, layer.rows, n, buffers.samples.row(0),
                           NetworkBuffers::STRIDE);
    weight_gradient(x, layer.outs, y, layer.back_outs, n, sums);
    if (l == 0)
      return product(layer.backward.data(), d_inputs, layer.back_rows, d.rows, d.stride, n,
                     finish);
    const Lanes to = buffers.d[l & 1];
    product(layer.backward.data(), layer.back_outs, layer.back_rows, d.rows, d.stride, n,
            [&](int j, int s, vf(*acc)[2]) {
              mask_block(from.row(j / PER) + s, from.stride, acc);
              store_block(to.row(j / PER) + s, to.stride, acc);
            });
    d = to;
  }
}
