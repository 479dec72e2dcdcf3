// What all the time of networks goes into: products of weights with planes of lanes, and of planes
// with each other over samples. Here with vectors; tiles.h has the same for processors with matrix
// tiles, and its own order of weights and sums.
#pragma once
#include "networks/planes.h"

// Room for two planes whose lanes hold PER samples of one neuron, as sums over samples want them.
struct GradientRoom {
  Plane d, in;
  void reserve(int rows, int stride) {
    for (Plane* plane : {&d, &in}) plane->reserve(round_up(rows, 16), stride);
  }
};

// Such a plane of n samples (a multiple of BLOCK) of `rows` rows; `room` is where it may be made.
static inline Lanes by_sample(Lanes from, int rows, int n, const Plane& room) {
#if defined(NR_BFLOAT16)
  for (int r = 0; r < rows; r++) {
    const float* a = from.row(r);
    float *first = room.row(2 * r), *second = room.row(2 * r + 1);
    for (int s = 0; s < n; s += 2 * W, a += 2 * W, first += W, second += W) {
      vu x = (vu)load(a), y = (vu)load(a + W);
      store(first, (vf)((x & 0xffffu) | y << 16));
      store(second, (vf)(x >> 16 | (y & 0xffff0000u)));
    }
  }
  return room;
#else
  (void)rows, (void)n, (void)room;
  return from;
#endif
}

#if defined(NR_TILES)
#include "networks/tiles.h"
#else

// The order of a layer's weights, `rows` lanes for each output: blocks of JB outputs, for each row
// of inputs JB neighbouring lanes.
static inline size_t num_weights(int outs, int rows) { return (size_t)round_up(outs, JB) * rows; }
static inline size_t weight_place(int out, int row, int rows) {
  return ((size_t)(out / JB) * rows + row) * JB + out % JB;
}

// The order of sums for each output and neuron of the inputs: blocks of 4 by 4.
static inline int num_sums(int outs, int columns) { return pad4(outs) * pad4(columns); }
static inline size_t sum_place(int out, int column, int columns) {
  return ((size_t)(out / 4) * (pad4(columns) / 4) + column / 4) * 16 + out % 4 * 4 + column % 4;
}

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
static inline void weight_gradient(Lanes d, int outs, Lanes in, int rows, int n,
                                   GradientRoom& room, float* sums) {
  const int lanes = n / PER, columns = rows * PER;
  const Lanes y = by_sample(d, rows_of(outs), n, room.d), x = by_sample(in, rows, n, room.in);
  for (int jb = 0; jb < outs; jb += 4)
    for (int kb = 0; kb < columns; kb += 4, sums += 16) {
      vf acc[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; i++) acc[i] = vf{};
      const float *a = y.row(jb), *b = x.row(kb);
      for (int s = 0; s < lanes; s += W) {
        vf p[4], q[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          p[i] = load(a + (size_t)i * y.stride + s);
          q[i] = load(b + (size_t)i * x.stride + s);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) acc[i] = dot(acc[i], p[i / 4], q[i % 4]);
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

#endif
