// One small vector type over the compiler's vector extensions: W floats, W set by the instruction
// set that this file is compiled for. Everything vectorised is written with it, once.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;  // SSE2, NEON
#endif
// Outputs per block of a matrix product: as many accumulators as the register file holds.
constexpr int JB = W == 16 ? 8 : 4;

// For what must become part of its caller's loop, whatever the compiler reckons.
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(W * 4)));
typedef int32_t vi __attribute__((vector_size(W * 4)));
typedef uint32_t vu __attribute__((vector_size(W * 4)));
typedef float v4 __attribute__((vector_size(16)));

static inline vf load(const float* p) {
  vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }
static inline void store(uint32_t* p, vu v) { std::memcpy(p, &v, sizeof v); }
static inline vi load(const int32_t* p) {
  vi v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(int32_t* p, vi v) { std::memcpy(p, &v, sizeof v); }
static inline v4 load4(const float* p) {
  v4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store4(float* p, v4 v) { std::memcpy(p, &v, sizeof v); }
static inline vf splat(float x) { return vf{} + x; }
// Where either is not a number they give b, so a NaN goes on if it stands there.
static inline vf vmax(vf a, vf b) { return a > b ? a : b; }
static inline vf vmin(vf a, vf b) { return a < b ? a : b; }

static inline vf vabs(vf a) { return vmax(a, -a); }
static inline vf to_floats(vi v) { return __builtin_convertvector(v, vf); }
// Towards zero.
static inline vi to_ints(vf v) { return __builtin_convertvector(v, vi); }
// 2^n for n in [-126, 127].
static inline vf power_of_two(vi n) {
  vi bits = (n + 127) << 23;
  vf v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// exp to about 2 ulp on [-87, 88], the arguments clamped to it: 2^n * 2^f, f in [-0.5, 0.5]. NaN
// stays NaN.
static inline vf vexp(vf x) {
  x = vmin(splat(88.0f), vmax(splat(-87.0f), x));
  vf y = x * 1.44269504f;
  vi n = __builtin_convertvector(y + (y > 0 ? splat(0.5f) : splat(-0.5f)), vi);
  // Two-part ln 2 keeps the reduced argument exact.
  vf whole = __builtin_convertvector(n, vf);
  vf f = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  vf p = splat(1.9841270e-4f);
  p = p * f + 1.3888889e-3f;
  p = p * f + 8.3333333e-3f;
  p = p * f + 4.1666667e-2f;
  p = p * f + 1.6666667e-1f;
  p = p * f + 0.5f;
  p = p * f + 1.0f;
  p = p * f + 1.0f;
  return p * power_of_two(n);
}

// log to about 2 ulp for positive normal numbers: x = m 2^n, m in [sqrt 1/2, sqrt 2),
// log m = 2 artanh z with z = (m - 1) / (m + 1).
static inline vf vlog(vf x) {
  vi bits;
  std::memcpy(&bits, &x, sizeof bits);
  vi n = (bits - 0x3f3504f3) >> 23;
  bits -= n << 23;
  vf m;
  std::memcpy(&m, &bits, sizeof m);
  vf z = (m - 1.0f) / (m + 1.0f), q = z * z;
  vf p = q * (1.0f / 9) + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  return to_floats(n) * 0.69314718f + (2.0f * z + 2.0f * z * q * p);
}

static inline bool any_lane(vi mask) {
  uint64_t words[W / 2], any = 0;
  std::memcpy(words, &mask, sizeof words);
  for (uint64_t word : words) any |= word;
  return any != 0;
}

// The lanes of v whose bits are set in `chosen`, side by side from `to` on; returns where they end.
// What is behind them is overwritten up to `to + W`.
static inline float* store_chosen(float* to, vf v, uint32_t chosen) {
#if defined(__AVX512F__)
  store(to, (vf)_mm512_maskz_compress_ps((__mmask16)chosen, (__m512)v));
  return to + __builtin_popcount(chosen);
#else
  for (int i = 0; i < W; i++) {
    *to = v[i];
    to += chosen >> i & 1;
  }
  return to;
#endif
}

// The first `count` lanes (at most W of them) to memory that may end behind them.
static inline void store_some(float* p, vf v, int count) {
  if (count >= W)
    store(p, v);
  else
    std::memcpy(p, &v, count * sizeof(float));
}

static inline vf root(vf x) {
  vf r;
  for (int i = 0; i < W; i++) r[i] = std::sqrt(x[i]);
  return r;
}

static inline float root(float x) { return std::sqrt(x); }

// Lanes in groups of four ("quads"), as SSE, AVX and AVX-512 shuffle them. Indices must be
// constants for the compiler's builtin, hence the sequences.
typedef float v8 __attribute__((vector_size(32)));
using LaneNumbers = std::make_index_sequence<W>;

template <int G, size_t... I>
static inline vf quad_splat(vf v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, (int)((I & ~3) + G)...);
}
// Element G of each quad in all four places.
template <int G>
static inline vf quad_splat(vf v) {
  return quad_splat<G>(v, LaneNumbers());
}

template <int Q, size_t... I>
static inline v4 quad(vf v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, (int)(4 * Q + I)...);
}
template <int Q>
static inline v4 quad(vf v) {
  return quad<Q>(v, std::make_index_sequence<4>());
}

// Transposes the 4x4 block that each quad of a, b, c, d forms.
template <size_t... I>
static inline void quad_transpose(vf& a, vf& b, vf& c, vf& d, std::index_sequence<I...>) {
  vf t0 = __builtin_shufflevector(a, b, (int)((I & ~3) + (I & 3) / 2 + (I & 1) * W)...);
  vf t1 = __builtin_shufflevector(a, b, (int)((I & ~3) + 2 + (I & 3) / 2 + (I & 1) * W)...);
  vf t2 = __builtin_shufflevector(c, d, (int)((I & ~3) + (I & 3) / 2 + (I & 1) * W)...);
  vf t3 = __builtin_shufflevector(c, d, (int)((I & ~3) + 2 + (I & 3) / 2 + (I & 1) * W)...);
  a = __builtin_shufflevector(t0, t2, (int)((I & ~3) + (I & 1) + (I & 2) / 2 * W)...);
  b = __builtin_shufflevector(t0, t2, (int)((I & ~3) + 2 + (I & 1) + (I & 2) / 2 * W)...);
  c = __builtin_shufflevector(t1, t3, (int)((I & ~3) + (I & 1) + (I & 2) / 2 * W)...);
  d = __builtin_shufflevector(t1, t3, (int)((I & ~3) + 2 + (I & 1) + (I & 2) / 2 * W)...);
}
static inline void quad_transpose(vf (&z)[4]) { quad_transpose(z[0], z[1], z[2], z[3], LaneNumbers()); }

// Four floats from each of W / 4 places: at[0], at[4], at[8], ...
static inline vf load_quads(const float* base, const uint32_t* at) {
#if defined(__AVX512F__)
  v8 low = __builtin_shufflevector(load4(base + at[0]), load4(base + at[4]), 0, 1, 2, 3, 4, 5, 6, 7);
  v8 high =
      __builtin_shufflevector(load4(base + at[8]), load4(base + at[12]), 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif defined(__AVX2__)
  return __builtin_shufflevector(load4(base + at[0]), load4(base + at[4]), 0, 1, 2, 3, 4, 5, 6, 7);
#else
  return load4(base + at[0]);
#endif
}
// Adds the quads of v to the same places, one after another.
static inline void add_quads(float* base, const uint32_t* at, vf v) {
  store4(base + at[0], load4(base + at[0]) + quad<0>(v));
#if defined(__AVX2__)
  store4(base + at[4], load4(base + at[4]) + quad<1>(v));
#endif
#if defined(__AVX512F__)
  store4(base + at[8], load4(base + at[8]) + quad<2>(v));
  store4(base + at[12], load4(base + at[12]) + quad<3>(v));
#endif
}

// Adds the sum of each vector's quads, in a fixed order, to four floats each at p, p + 4, ...
static inline void add_quad_sums(float* p, vf a, vf b, vf c, vf d) {
#if defined(__AVX512F__)
  vf ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
          __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  vf cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
          __builtin_shufflevector(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  vf sums = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
            __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  store(p, load(p) + sums);
#elif defined(__AVX2__)
  store(p, load(p) + __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15));
  store(p + 8, load(p + 8) + __builtin_shufflevector(c, d, 0, 1, 2, 3, 8, 9, 10, 11) +
                   __builtin_shufflevector(c, d, 4, 5, 6, 7, 12, 13, 14, 15));
#else
  store(p, load(p) + a), store(p + 4, load(p + 4) + b);
  store(p + 8, load(p + 8) + c), store(p + 12, load(p + 12) + d);
#endif
}

template <size_t... I>
static inline void split_pairs(vf a, vf b, vf& first, vf& second, std::index_sequence<I...>) {
  first = __builtin_shufflevector(a, b, (int)(2 * I)...);
  second = __builtin_shufflevector(a, b, (int)(2 * I + 1)...);
}
// Pairs of neighbours in a and b, one after another, to all first and all second ones; and back.
static inline void split_pairs(vf a, vf b, vf& first, vf& second) {
  split_pairs(a, b, first, second, LaneNumbers());
}
template <size_t... I>
static inline void join_pairs(vf first, vf second, vf& a, vf& b, std::index_sequence<I...>) {
  a = __builtin_shufflevector(first, second, (int)(I / 2 + I % 2 * W)...);
  b = __builtin_shufflevector(first, second, (int)(W / 2 + I / 2 + I % 2 * W)...);
}
static inline void join_pairs(vf first, vf second, vf& a, vf& b) {
  join_pairs(first, second, a, b, LaneNumbers());
}
