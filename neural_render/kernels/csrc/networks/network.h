// Small fully connected networks on planes of lanes (numbers.h): forward and back.
#pragma once
#include <array>
#include <vector>

#include "networks/products.h"

// Samples that go through all layers together: their hidden rows stay in the first cache forward,
// in the second one backward, where longer runs spare sums over lanes.
constexpr int FORWARD_RUN = 256, BACKWARD_RUN = 512;

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
  int num_sums(int layer) const { return ::num_sums(out(layer), rows_in(layer) * PER); }
  int num_sums() const {
    int n = 0;
    for (int l = 0; l < num_layers(); l++) n += num_sums(l);
    return n;
  }
};

// From sums of all layers to the flat gradient of the weights.
static inline void unpack_sums(const NetworkShape& shape, const float* sums, float* to) {
  for (int l = 0; l < shape.num_layers(); l++) {
    const int columns = shape.rows_in(l) * PER;
    for (int j = 0; j < shape.out(l); j++)
      for (int k = 0; k < shape.in(l); k++)
        *to++ = sums[sum_place(j, shape.column(l, k), columns)];
    sums += shape.num_sums(l);
  }
}

// One layer's weights as lanes, packed for the product forward and, transposed, for the one back;
// padded with zeros.
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
    forward.assign(num_weights(outs, rows), 0.0f);
    for (int j = 0; j < outs; j++)
      for (int r = 0; r < rows; r++) {
        const float* pair = &wide[(size_t)j * columns + r * PER];
        forward[weight_place(j, r, rows)] = lane_of(pair[0], pair[PER - 1]);
      }
    backward.assign(num_weights(back_outs, back_rows), 0.0f);
    for (int c = 0; c < columns; c++)
      for (int r = 0; r < back_rows; r++)
        backward[weight_place(c, r, back_rows)] =
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

constexpr int MOST_LAYERS = 8;
// Where the activations of each hidden layer are.
using Hidden = std::array<Lanes, MOST_LAYERS>;

// One thread's buffers for runs through networks of up to this many layers and neurons. Strides are
// not multiples of 4096 bytes, so that the rows of a plane do not fall into one set of the cache.
struct NetworkBuffers {
  static constexpr int STRIDE = BACKWARD_RUN + 16;
  std::vector<Plane> planes;
  Plane d[2];            // gradients by turns
  GradientRoom by_sample;
  Hidden by_turns, all;  // hidden layers that are forgotten at once, or kept for the run
  void reserve(int width, int layers, int inputs) {
    int rows = std::max(width, inputs) + 2 * PER + JB;
    while ((int)planes.size() < std::max(2, layers)) planes.emplace_back(rows, STRIDE);
    for (int l = 0; l < std::max(2, layers); l++) by_turns[l] = planes[l & 1], all[l] = planes[l];
    for (Plane* plane : {&d[0], &d[1]}) plane->reserve(rows, STRIDE);
    by_sample.reserve(rows, STRIDE);
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
                acc[i][0] = vmax(zero, acc[i][0]);
                acc[i][1] = vmax(zero, acc[i][1]);
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
    weight_gradient(d, layer.outs, from, layer.rows, n, buffers.by_sample, sums);
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
