// A ray chunk from march to colour: the forward half of `render_rays`.
//
// Rays advance in waves of a few samples. Each wave is encoded and asked for its density; samples
// behind the point where light has died are dropped, the survivors are kept for the colour network.
#pragma once
#include "rays/composite.h"
#include "rays/march.h"

struct Renderer {
  FieldShape field;
  March march;
  Lattice lattice;
  float min_weight;  // see RenderSpec; of chunks that are not kept
  Renderer(const FieldShape& f, const March& m, float min_weight = 0)
      : field(f), march(m), lattice(m), min_weight(min_weight) {}
};

// One wave of a chunk: every living ray's next samples, in the tile.
struct Wave {
  std::vector<int> found;
  std::vector<int32_t> intervals;
  std::vector<Segment> segments;
  int count = 0;
  bool footprints = false;
};

// Positions, lengths, midpoints and footprints of `e`'s intervals into the tile; what is written
// behind the segment is written again by the next one.
static inline void place_samples(const Renderer& r, const RenderProblem& in, size_t ray,
                                 const int32_t* intervals, const Segment& e, Workspace& t) {
  const float *o = in.origins + 3 * ray, *d = in.directions + 3 * ray;
  for (int i = 0; i < e.count; i += W) {
    vi k = {};
    std::memcpy(&k, intervals + i, std::min(W, e.count - i) * sizeof(int32_t));
    vf s = __builtin_convertvector(k, vf) + in.jitter[ray];
    vf near = r.lattice.at(s), far = r.lattice.at(s + 1), middle = 0.5f * (near + far);
    const int at = e.first + i;
    store(t.x + at, into_cube(o[0] + middle * d[0]));
    store(t.y + at, into_cube(o[1] + middle * d[1]));
    store(t.z + at, into_cube(o[2] + middle * d[2]));
    store(t.middle + at, middle);
    store(t.length + at, far - near);
    store(t.footprint + at, in.footprint[ray] * middle);
  }
}

// Marches the rays living[0..num) by up to `per_ray` samples into the tile.
static inline void march_wave(const Renderer& r, const Occupancy& occupancy,
                              const RenderProblem& in, int first_ray, Walks& walks,
                              const int* living, int num, int per_ray, Wave& wave, Workspace& t) {
  wave.found.resize(num);
  wave.intervals.resize((size_t)num * per_ray + 1);
  march(walks, r.lattice, occupancy, r.march.max_samples, living, num, per_ray, wave.found.data(),
        wave.intervals.data());
  wave.segments.clear();
  wave.count = 0;
  wave.footprints = false;
  for (int i = 0; i < num; i++) {
    if (!wave.found[i]) continue;
    Segment e{living[i], wave.count, wave.found[i]};
    size_t ray = (size_t)first_ray + e.ray;
    place_samples(r, in, ray, &wave.intervals[(size_t)i * per_ray], e, t);
    wave.footprints |= in.footprint[ray] > 0;
    wave.segments.push_back(e);
    wave.count += e.count;
  }
}

// Keeps the samples of a wave that light reaches; adds the rays that go on to `living`.
static inline void keep_survivors(const Renderer& r, const Workspace& t, const Wave& wave,
                                  const Walks& walks, std::vector<float>& light, ChunkState& chunk,
                                  std::vector<int>& living) {
  chunk.make_room(chunk.count + wave.count);
  const float* rows[] = {t.x, t.y, t.z, t.middle, t.length, t.sigma};
  const size_t stride = chunk.columns.stride();
  for (const Segment& e : wave.segments) {
    float T = light[e.ray];
    float *transmittance = chunk.row(TRANSMITTANCE) + chunk.count;
    float *weight = chunk.row(WEIGHT) + chunk.count;
    int n = 0;
    for (; n < e.count && T >= r.march.min_transmittance; n++) {
      float passed = t.passed[e.first + n];
      transmittance[n] = T;
      weight[n] = T * (1 - passed);
      T *= passed;
    }
    light[e.ray] = T;
    if (n) {
      for (int i = X; i <= SIGMA; i++)
        copy_lanes(rows[i] + e.first, 0, chunk.row(i) + chunk.count, 0, 1, n);
      copy_lanes(t.latent.row(0) + e.first, STRIDE, chunk.latent(0) + chunk.count, stride,
                 chunk.latent_rows, n);
      copy_lanes(t.features.row(0) + e.first, STRIDE, chunk.features(0) + chunk.count, stride,
                 chunk.feature_rows, n);
      chunk.segments.push_back({e.ray, chunk.count, n});
      chunk.count += n;
    }
    if (T >= r.march.min_transmittance && !walks.ended(e.ray)) living.push_back(e.ray);
  }
}

// Adds the samples of a wave that light reaches to their rays' sums, and the latents of those that
// have gathered enough weight to be asked for a colour to the chunk; adds the rays that go on to
// `living`. `picks` has room for the wave.
static inline void gather_survivors(const Renderer& r, const Workspace& t, const Wave& wave,
                                    const Walks& walks, std::vector<float>& light,
                                    ChunkState& chunk, std::vector<int>& picks,
                                    std::vector<int>& living) {
  chunk.make_room(chunk.count + wave.count);
  picks.resize(wave.count + 1);
  float* weight = chunk.row(WEIGHT) + chunk.count;
  int num = 0;
  for (const Segment& e : wave.segments) {
    RaySums sums = chunk.sums[e.ray];
    float T = light[e.ray];
    const int begin = num;
    for (int s = e.first; s < e.first + e.count && T >= r.march.min_transmittance; s++) {
      // What would leave too little light takes it all.
      float passed = r.min_weight > 0 && T * t.passed[s] < r.march.min_transmittance ? 0 : t.passed[s];
      float w = T * (1 - passed);
      sums.add(w, t.middle[s], t.length[s]);
      sums.gathered += w;
      picks[num] = s, weight[num] = sums.gathered;
      bool enough = sums.gathered >= r.min_weight;
      num += enough;
      sums.gathered = enough ? 0.0f : sums.gathered;
      T *= passed;
    }
    if (num > begin) {
      chunk.segments.push_back({e.ray, chunk.count + begin, num - begin});
      sums.last = chunk.count + num - 1;
    }
    light[e.ray] = T;
    chunk.sums[e.ray] = sums;
    if (T >= r.march.min_transmittance && !walks.ended(e.ray)) living.push_back(e.ray);
  }
  for (int row = 0; row < chunk.latent_rows; row++) {
    const float* from = t.latent.row(row);
    float* to = chunk.latent(row) + chunk.count;
    for (int i = 0; i < num; i++) to[i] = from[picks[i]];
  }
  chunk.count += num;
}

// What a ray has gathered behind its last colour goes to that one.
static inline void settle_gathered(ChunkState& chunk) {
  float* weight = chunk.row(WEIGHT);
  for (const RaySums& sums : chunk.sums)
    if (sums.last >= 0) weight[sums.last] += sums.gathered;
}

// Lanes of the rays that have survivors: [rays][ray_rows].
static inline std::vector<float> lanes_of_rays(const Renderer& r, const RenderProblem& in,
                                               const ChunkState& chunk) {
  const FieldShape& f = r.field;
  std::vector<float> lanes((size_t)chunk.num_rays * f.ray_rows());
  std::vector<char> done(chunk.num_rays);
  for (const Segment& e : chunk.segments) {
    if (done[e.ray]) continue;
    done[e.ray] = 1;
    size_t ray = (size_t)chunk.first_ray + e.ray;
    ray_lanes(f, in.directions + 3 * ray, in.conditions + ray * f.num_conditions,
              &lanes[(size_t)e.ray * f.ray_rows()]);
  }
  return lanes;
}

// The colour network's inputs of chunk samples [first, first + n) into t.inputs, zero behind them.
static inline void color_inputs(const FieldShape& f, const RenderProblem& in,
                                const ChunkState& chunk, const std::vector<float>& lanes,
                                RaysInOrder& rays, int first, int n, Workspace& t) {
  const int ray_rows = f.ray_rows(), stride = t.inputs.stride();
  copy_lanes(chunk.latent(0) + first, chunk.columns.stride(), t.inputs.row(0), stride,
             chunk.latent_rows, n);
  rays.visit(first, n, [&](int ray, int at, int count) {
    const float* lane = &lanes[(size_t)ray * ray_rows];
    float* to = t.inputs.row(f.own_rows()) + at;
    for (int r = 0; r < ray_rows; r++, to += stride) {
      vf value = splat_lane(lane + r);
      for (int s = 0; s < count; s += W) store(to + s, value);
    }
    if (!f.reflection_degree) return;
    for (int a = 0; a < 3; a++) {
      vf value = splat(in.directions[3 * ((size_t)chunk.first_ray + ray) + a]);
      for (int s = 0; s < count; s += W) store(t.views.row(a) + at + s, value);
    }
  });
  reflect_run(f, pad_block(n), t);
  for (int r = 0; r < f.own_rows() + ray_rows; r++)
    for (int s = n; s < pad_block(n); s++) t.inputs.row(r)[s] = 0;
}

// Radiance of all survivors of a chunk.
static inline void color_chunk(const Renderer& r, const FieldWeights& weights,
                               const RenderProblem& in, ChunkState& chunk, Workspace& t) {
  std::vector<float> lanes = lanes_of_rays(r, in, chunk);
  RaysInOrder rays(chunk.segments);
  for (int first = 0; first < chunk.count; first += FORWARD_RUN) {
    int n = std::min(FORWARD_RUN, chunk.count - first);
    color_inputs(r.field, in, chunk, lanes, rays, first, n, t);
    color_run(r.field, weights, t, n, chunk.hidden_layers ? chunk.hidden(first) : t.networks.by_turns,
              {chunk.radiance(0) + first, chunk.columns.stride()});
  }
}

static inline void density_of_wave(const Renderer& r, const FieldWeights& weights, const Wave& wave,
                                   Workspace& t) {
  t.pad_points(wave.count);
  density_tile<true>(r.field, weights, t, wave.count, wave.footprints ? t.footprint : nullptr);
  for (int s = 0; s < pad_block(wave.count); s += W)
    store(t.passed + s, vexp(-load(t.sigma + s) * load(t.length + s)));
}

// Few samples of a ray at a time, for what lies behind the last light is wasted; more where few
// rays are left, to fill the vectors.
constexpr int FEWEST_PER_RAY = 8, MOST_PER_RAY = 32, WORTHWHILE = 256;
constexpr int MOST_IN_WAVE = TILE / FEWEST_PER_RAY;

// Forward over one chunk of rays; `chunk`, which knows what to keep, gets the survivors.
static inline void render_chunk(const Renderer& r, const FieldWeights& weights,
                                const Occupancy& occupancy, const RenderProblem& in,
                                ChunkState& chunk, Workspace& t) {
  t.watch.start();
  Walks walks;
  walks.resize(chunk.num_rays);
  std::vector<float> light(chunk.num_rays, 1.0f);
  std::vector<int> living, next, picks;
  for (int i = 0; i < chunk.num_rays; i++) {
    size_t at = (size_t)chunk.first_ray + i;
    start_walk(walks, i, r.lattice, occupancy, in.origins + 3 * at, in.directions + 3 * at,
               in.jitter[at]);
    if (!walks.ended(i)) living.push_back(i);
  }
  Wave wave;
  chunk.make_room(0);
  while (!living.empty()) {
    next.clear();
    for (size_t first = 0; first < living.size(); first += MOST_IN_WAVE) {
      int num = (int)std::min<size_t>(MOST_IN_WAVE, living.size() - first);
      int per_ray = std::min(MOST_PER_RAY, std::max(FEWEST_PER_RAY, WORTHWHILE / num));
      march_wave(r, occupancy, in, chunk.first_ray, walks, &living[first], num, per_ray, wave, t);
      t.watch.lap(MARCH);
      if (!wave.count) continue;
      chunk.marched += wave.count;
      density_of_wave(r, weights, wave, t);
      if (chunk.kept)
        keep_survivors(r, t, wave, walks, light, chunk, next);
      else
        gather_survivors(r, t, wave, walks, light, chunk, picks, next);
      t.watch.lap(COMPACT);
    }
    living.swap(next);
  }
  if (chunk.kept)
    sum_samples(chunk);
  else
    settle_gathered(chunk);
  // Later passes read whole blocks of lanes.
  for (int i = 0; i < chunk.latent_rows + chunk.feature_rows; i++)
    for (int s = chunk.count; s < pad_block(chunk.count); s++) chunk.latent(i)[s] = 0;
  t.watch.lap(COMPACT);
  color_chunk(r, weights, in, chunk, t);
  t.watch.lap(COLOR);
  composite_chunk(in, chunk, light);
  t.watch.lap(COMPOSITE);
}
