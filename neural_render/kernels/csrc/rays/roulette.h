// Leaves out samples that hardly count in the gradient, at random, so that its expectation stays:
// Russian roulette (Arvo and Kirk 1990, "Particle transport and image synthesis").
#pragma once
#include "rays/composite.h"

// One thread's buffers.
struct Roulette {
  std::vector<float> importance, chance;
  std::vector<uint32_t> kept;  // a bit for each sample, W of them in each word
  void resize(int count) {
    const size_t words = (count + W - 1) / W;
    importance.assign(words * W, 0.0f);
    chance.resize(words * W);
    kept.assign(words, 0);
  }
};

// A random number in [0, 1) from another one.
static inline float random_start(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits ^ bits >> 16) * 0x7feb352du;
  bits = (bits ^ bits >> 15) * 0x846ca68bu;
  return (float)((bits ^ bits >> 16) >> 8) * 0x1p-24f;
}

// The chance, for its weight in its ray, that a sample has at least where normals are drawn.
constexpr float LEAST_CHANCE = 0.25f;

// How much each sample counts: the absolute gradients to its outputs before their activations,
// added up. What draws its normal is left aside: counted in, it kept more samples, which took
// longer and made a baked scene no better; see `thin_chunk`. Returns their mean; of scene-linear
// radiance, where a few samples may outweigh all others, the square of the mean of their roots.
static inline float importances(const ChunkState& chunk, const CompositeGradients& g,
                                bool exp_radiance, float* to) {
  const float* sigma = chunk.row(SIGMA);
  for (int s = 0; s < chunk.count; s++) to[s] = std::fabs(g.sigma[s] * sigma[s]);
  for (int c = 0; c < chunk.channels; c++) {
    const float *d = g.radiance.data() + c * g.stride, *y = chunk.radiance(c);
    for (int s = 0; s < chunk.count; s++)
      to[s] += std::fabs(d[s] * y[s] * (exp_radiance ? 1.0f : 1 - y[s]));
  }
  vf sums = {};
  for (int s = 0; s < chunk.count; s += W) {
    vf all = load(to + s);
    if (exp_radiance)
      for (int i = 0; i < W; i++) all[i] = std::sqrt(all[i]);
    sums += all;
  }
  float sum = 0;
  for (int i = 0; i < W; i++) sum += sums[i];
  const float mean = sum / (float)std::max(1, chunk.count);
  return exp_radiance ? mean * mean : mean;
}

// Keeps each sample with its chance, by systematic sampling from `start` in [0, 1) on, and lets
// those that stay count for 1 / chance. Segments follow. Returns how many stay.
static inline int draw_samples(ChunkState& chunk, float start, Roulette& r) {
  // u stays below 1, where 1 - 2^-24 plus a chance of 1 would round it up to 2: else a sample whose
  // chance is 0 would be kept. So all that are kept have one of 2^-25 at least.
  constexpr float BELOW_ONE = 0x1.fffffep-1f;
  float u = start;
  int n = 0;
  size_t out = 0;
  for (const Segment& e : chunk.segments) {
    const int first = n;
    for (int s = e.first; s < e.first + e.count; s++) {
      u += r.chance[s];
      const bool keep = u >= 1;
      u = std::min(u - (keep ? 1.0f : 0.0f), BELOW_ONE);
      r.kept[s / W] |= (uint32_t)keep << s % W;
      n += keep;
    }
    if (n > first) chunk.segments[out++] = {e.ray, first, n - first};
  }
  chunk.segments.resize(out);
  return n;
}

// Of a chunk and its gradients, ready for the networks, keeps the samples whose gradient is at
// least `share` of the mean (see `importances`); of the others each with a chance of its gradient
// over that limit. Where normals are `drawn`, by a sample's weight, a surface in the dark, whose
// colour asks for nothing, would be kept once in thousands of steps and then draw thousands of
// times as strongly: so the chance is `LEAST_CHANCE` of the weight at least, which adds no more
// samples than that to a ray.
static inline void thin_chunk(ChunkState& chunk, CompositeGradients& g, bool exp_radiance,
                              bool drawn, float share, float start, Roulette& r) {
  r.resize(chunk.count);
  const float limit = share * importances(chunk, g, exp_radiance, r.importance.data());
  // Nothing to go by, too little for a reciprocal, or a loss that has diverged (NaN, too).
  if (!(limit > 1e-30f && limit < 1e30f)) return;
  const float per_limit = 1 / limit;
  const vf floor = splat(drawn ? LEAST_CHANCE : 0.0f);
  for (int s = 0; s < chunk.count; s += W) {
    const vf least = floor * load(chunk.row(WEIGHT) + s);
    store(&r.chance[s], vmin(vmax(load(&r.importance[s]) * per_limit, least), splat(1.0f)));
  }
  const int before = chunk.count, n = draw_samples(chunk, start, r);
  auto keep = [&](float* row) {
    float* to = row;
    for (int s = 0; s < before; s += W)
      to = store_chosen(to, load(row + s), r.kept[s / W]);
  };
  keep(r.chance.data());
  auto keep_gradient = [&](float* row) {
    keep(row);
    for (int s = 0; s < n; s++) row[s] /= r.chance[s];
  };
  keep_gradient(g.sigma.data());
  keep_gradient(chunk.row(WEIGHT));
  for (int c = 0; c < chunk.channels; c++) {
    keep_gradient(g.radiance.data() + c * g.stride);
    keep(chunk.radiance(c));
  }
  for (int row : {X, Y, Z, MIDDLE, SIGMA}) keep(chunk.row(row));
  const int rows = chunk.latent_rows + chunk.feature_rows + chunk.hidden_layers * chunk.hidden_rows;
  for (int row = 0; row < rows; row++) keep(chunk.latent(row));
  chunk.count = n;
}
