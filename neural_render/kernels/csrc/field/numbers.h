// The numbers that activations, network weights and table entries are held in. Sums are float32.
//
// A lane is 32 bits: one float, or, where the module is built for bfloat16 (Kalamkar et al. 2019),
// two neighbouring neurons of one sample. A plane has a row of lanes for every PER neurons, samples
// side by side, so that a vector holds W samples. `float*` points to lanes of either kind: they are
// moved, never looked at, by anything but the functions below and those of networks/.
#pragma once
#include "field/vec.h"

#if defined(NR_BFLOAT16)
#include <immintrin.h>
constexpr int PER = 2;
typedef uint16_t Entry;
#else
constexpr int PER = 1;
typedef float Entry;
#endif

static constexpr int rows_of(int neurons) { return (neurons + PER - 1) / PER; }
// Rows that whole blocks of outputs are stored to.
static constexpr int pad_rows(int neurons) { return (neurons + JB - 1) / JB * JB / PER; }

static inline vf splat_lane(const float* lane) {
  uint32_t bits;
  std::memcpy(&bits, lane, sizeof bits);
  vu all = vu{} + bits;
  vf v;
  std::memcpy(&v, &all, sizeof v);
  return v;
}

#if defined(NR_BFLOAT16)

typedef uint16_t vh __attribute__((vector_size(W * 4)));
typedef uint16_t vh_half __attribute__((vector_size(W * 2)));

static inline float float_of(Entry e) {
  uint32_t bits = (uint32_t)e << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
// To the nearest, ties to even, as the vector instructions round; NaN stays NaN.
static inline Entry entry_of(float x) {
  if (x != x) return 0x7fc0;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return (Entry)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline float lane_of(float first, float second) {
  uint32_t bits = entry_of(first) | (uint32_t)entry_of(second) << 16;
  float lane;
  std::memcpy(&lane, &bits, sizeof lane);
  return lane;
}

// The values of the first and of the second neuron of a vector of lanes.
static inline vf first_of(vf lanes) { return (vf)((vu)lanes << 16); }
static inline vf second_of(vf lanes) { return (vf)((vu)lanes & 0xffff0000u); }
static inline vf lanes_of(vf first, vf second) {
  vh both = (vh)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  return (vf)__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                     23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                     31);
}
// acc + a * b, both neurons of each lane.
static inline vf dot(vf acc, vf a, vf b) {
  return (vf)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
}

// Four entries from each of W / 4 places: at[0], at[4], at[8], at[12].
static inline vf load_quads(const Entry* base, const uint32_t* at) {
  uint64_t words[4];
  for (int q = 0; q < 4; q++) std::memcpy(&words[q], base + at[4 * q], 8);
  typedef uint64_t words_type __attribute__((vector_size(32)));
  words_type all = {words[0], words[1], words[2], words[3]};
  return (vf)(__builtin_convertvector((vh_half)all, vu) << 16);
}
static inline void store_entries(Entry* p, vf v) {
  __m256bh half = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &half, sizeof half);
}

#else

static inline float float_of(Entry e) { return e; }
static inline Entry entry_of(float x) { return x; }
static inline float lane_of(float first, float) { return first; }
static inline vf first_of(vf lanes) { return lanes; }
static inline vf dot(vf acc, vf a, vf b) { return acc + a * b; }

#endif

// Stores JB neurons of two vectors of samples as rows of lanes.
static inline void store_block(float* to, int stride, const vf (*acc)[2]) {
#if defined(NR_BFLOAT16)
#pragma GCC unroll 8
  for (int j = 0; j < JB; j += 2, to += stride) {
    store(to, lanes_of(acc[j][0], acc[j + 1][0]));
    store(to + W, lanes_of(acc[j][1], acc[j + 1][1]));
  }
#else
#pragma GCC unroll 8
  for (int j = 0; j < JB; j++, to += stride) store(to, acc[j][0]), store(to + W, acc[j][1]);
#endif
}

// Sets to zero what belongs to a neuron whose activation, at `rows`, is not positive.
static inline void mask_block(const float* rows, int stride, vf (*acc)[2]) {
#pragma GCC unroll 8
  for (int j = 0; j < JB; j += PER, rows += stride)
    for (int h = 0; h < 2; h++) {
      vf lanes = load(rows + h * W);
      acc[j][h] = first_of(lanes) > 0 ? acc[j][h] : vf{};
#if defined(NR_BFLOAT16)
      acc[j + 1][h] = second_of(lanes) > 0 ? acc[j + 1][h] : vf{};
#endif
    }
}
