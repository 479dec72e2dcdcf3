// One small vector type over the compiler's vector extensions: W floats, W set by the instruction
// set that this file is compiled for. Everything vectorised is written with it, once.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;  // SSE2, NEON
#endif
// Outputs per block of a matrix product: as many accumulators as the register file holds.
constexpr int JB = W == 16 ? 8 : 4;

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
static inline v4 load4(const float* p) {
  v4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store4(float* p, v4 v) { std::memcpy(p, &v, sizeof v); }
static inline vf splat(float x) { return vf{} + x; }
static inline vf vmax(vf a, vf b) { return a > b ? a : b; }
static inline vf vmin(vf a, vf b) { return a < b ? a : b; }

static inline float sum(vf v) {
  // A fixed tree, so that the result depends on nothing but the values and W.
  float a[W];
  std::memcpy(a, &v, sizeof v);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
}

// exp to about 2 ulp on [-87, 88], the arguments clamped to it: 2^n * 2^f, f in [-0.5, 0.5].
static inline vf vexp(vf x) {
  x = vmin(vmax(x, splat(-87.0f)), splat(88.0f));
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
  vi bits = (n + 127) << 23;
  vf scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

static inline vf vsqrt(vf x) {
  vf r;
  for (int i = 0; i < W; i++) r[i] = std::sqrt(x[i]);
  return r;
}
