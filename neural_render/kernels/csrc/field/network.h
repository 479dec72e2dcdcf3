// Small fully connected networks on tiles of samples. Activations are planar ([rows][stride], one
// row per neuron, samples contiguous), so that a vector holds W samples of one neuron.
#pragma once
#include <vector>

#include "field/vec.h"

constexpr int BLOCK = 2 * W;  // samples per inner block
static inline int pad8(int n) { return (n + 7) / 8 * 8; }
static inline int pad_block(int n) { return (n + BLOCK - 1) / BLOCK * BLOCK; }

struct NetworkShape {
  int inputs, width, hidden_layers, outputs;
  int num_layers() const { return hidden_layers + 1; }
  int in(int layer) const { return layer == 0 ? inputs : width; }
  int out(int layer) const { return layer == hidden_layers ? outputs : width; }
  int num_weights() const {
    int n = 0;
    for (int l = 0; l < num_layers(); l++) n += in(l) * out(l);
    return n;
  }
};

// One layer's weights, packed for the forward product and, transposed, for the backward one:
// blocks of JB outputs, for each input JB neighbouring weights; padded with zeros.
struct PackedLayer {
  int in, out;
  std::vector<float> forward, backward;

  static void pack(std::vector<float>& to, int outs, int ins, const float* w, int so, int si) {
    to.assign((size_t)pad8(outs) * pad8(ins), 0.0f);
    for (int j = 0; j < outs; j++)
      for (int k = 0; k < ins; k++)
        to[((size_t)(j / JB) * pad8(ins) + k) * JB + j % JB] = w[j * so + k * si];
  }
  PackedLayer(const float* w, int in, int out) : in(in), out(out) {
    pack(forward, out, in, w, in, 1);
    pack(backward, in, out, w, 1, in);
  }
};

struct Network {
  NetworkShape shape;
  std::vector<PackedLayer> layers;
  Network(const NetworkShape& shape, const float* weights) : shape(shape) {
    for (int l = 0; l < shape.num_layers(); l++) {
      layers.emplace_back(weights, shape.in(l), shape.out(l));
      weights += shape.in(l) * shape.out(l);
    }
  }
};

// out[j] = sum_k w[j][k] in[k] for n samples (a multiple of BLOCK); `finish(row, sample, vector)`
// is what is stored. Rows are padded to 8 on both sides.
template <class Finish>
static inline void product(const float* w, int outs, int ins, const float* in, float* out,
                           int stride, int n, Finish finish) {
  const int K = pad8(ins);
  for (int s = 0; s < n; s += BLOCK)
    for (int jb = 0; jb < pad8(outs); jb += JB) {
      vf acc[JB][2];
#pragma GCC unroll 8
      for (int j = 0; j < JB; j++) acc[j][0] = acc[j][1] = vf{};
      const float* a = in + s;
      const float* b = w + (size_t)jb * K;
      for (int k = 0; k < K; k++, a += stride, b += JB) {
        vf a0 = load(a), a1 = load(a + W);
#pragma GCC unroll 8
        for (int j = 0; j < JB; j++) {
          acc[j][0] += a0 * b[j];
          acc[j][1] += a1 * b[j];
        }
      }
#pragma GCC unroll 8
      for (int j = 0; j < JB; j++) {
        size_t at = (size_t)(jb + j) * stride + s;
        store(out + at, finish(at, acc[j][0]));
        store(out + at + W, finish(at + W, acc[j][1]));
      }
    }
}

// Sixteen vectors' sums over lanes, added to w[j * row + k] of a 4x4 block (bounds jn, kn).
static inline void add_block(const vf* acc, float* w, int row, int jn, int kn) {
  for (int j = 0; j < jn; j++) {
    vf z[4] = {acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]};
    quad_transpose(z);
    v4 total = add_up_quads((z[0] + z[1]) + (z[2] + z[3]));
    for (int k = 0; k < kn; k++) w[j * row + k] += total[k];
  }
}

// w[j][k] += sum over samples of d[j] in[k]: a layer's weight gradient over one tile.
static inline void weight_gradient(const float* d, int outs, const float* in, int ins, int stride,
                                   int n, float* w) {
  for (int jb = 0; jb < outs; jb += 4)
    for (int kb = 0; kb < ins; kb += 4) {
      vf acc[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) acc[i] = vf{};
      const float *a = d + (size_t)jb * stride, *b = in + (size_t)kb * stride;
      for (int s = 0; s < n; s += W) {
        vf x[4], y[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          x[i] = load(a + (size_t)i * stride + s);
          y[i] = load(b + (size_t)i * stride + s);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) acc[i] += x[i / 4] * y[i % 4];
      }
      int jn = outs - jb < 4 ? outs - jb : 4, kn = ins - kb < 4 ? ins - kb : 4;
      add_block(acc, w + (size_t)jb * ins + kb, ins, jn, kn);
    }
}

// Runs the network on n samples (padded to BLOCK by the caller). `hidden[l]` receives the
// activations of hidden layer l; `out` the outputs, padded to 8 rows.
static inline void network_forward(const Network& net, const float* in, float* const* hidden,
                                   float* out, int stride, int n) {
  const vf zero = vf{};
  for (int l = 0; l < net.shape.num_layers(); l++) {
    const PackedLayer& layer = net.layers[l];
    const float* from = l == 0 ? in : hidden[l - 1];
    if (l < net.shape.hidden_layers)
      product(layer.forward.data(), layer.out, layer.in, from, hidden[l], stride, n,
              [&](size_t, vf v) { return vmax(v, zero); });
    else
      product(layer.forward.data(), layer.out, layer.in, from, out, stride, n,
              [](size_t, vf v) { return v; });
  }
}

// Only the hidden activations: what a backward pass needs again.
static inline void network_hidden(const Network& net, const float* in, float* const* hidden,
                                  int stride, int n) {
  const vf zero = vf{};
  for (int l = 0; l < net.shape.hidden_layers; l++) {
    const PackedLayer& layer = net.layers[l];
    product(layer.forward.data(), layer.out, layer.in, l == 0 ? in : hidden[l - 1], hidden[l],
            stride, n, [&](size_t, vf v) { return vmax(v, zero); });
  }
}

// Gradients of one tile. `d_out` holds the gradient to the outputs (rows padded to 8 with zeros,
// zero beyond the tile's real samples); `d_in` may be null. `scratch[2]` are width-row buffers.
// Weight gradients are added to `to_weights` (flat, unpadded).
static inline void network_backward(const Network& net, const float* in, float* const* hidden,
                                    const float* d_out, float* d_in, float* const* scratch,
                                    float* to_weights, int stride, int n) {
  int end = net.shape.num_weights();
  const float* d = d_out;
  for (int l = net.shape.num_layers() - 1; l >= 0; l--) {
    const PackedLayer& layer = net.layers[l];
    const float* from = l == 0 ? in : hidden[l - 1];
    end -= layer.in * layer.out;
    weight_gradient(d, layer.out, from, layer.in, stride, n, to_weights + end);
    if (l == 0) {
      if (d_in)
        product(layer.backward.data(), layer.in, layer.out, d, d_in, stride, n,
                [](size_t, vf v) { return v; });
      return;
    }
    float* to = scratch[l & 1];
    product(layer.backward.data(), layer.in, layer.out, d, to, stride, n, [&](size_t at, vf v) {
      return load(from + at) > 0 ? v : vf{};
    });
    d = to;
  }
}
