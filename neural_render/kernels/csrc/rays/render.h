// A ray chunk from march to colour and back: what `render_rays` is made of.
//
// Rays advance in waves of a few samples. Each wave is encoded and asked for its density; samples
// behind the point where light has died are dropped, the survivors are kept for the colour network.
// Legend: T transmittance, w weight, m interval midpoint, d interval length, g gradient.
#pragma once
#include "field/field.h"
#include "rays/march.h"

// Neighbouring survivors of one ray.
struct Segment {
  int ray, first, count;  // ray within the chunk
};

// A chunk's survivors, kept from the forward to the backward pass. Planar, `count` long each.
struct ChunkState {
  std::vector<Segment> segments;
  std::vector<float> x, y, z, middle, length, sigma, transmittance, weight;
  std::vector<float> features, latent, radiance;  // [sample rows]: appended sample by sample
  int first_ray = 0, num_rays = 0, count = 0;
  int64_t marched = 0;

  void clear(int first, int rays) {
    segments.clear();
    for (auto* v : {&x, &y, &z, &middle, &length, &sigma, &transmittance, &weight, &features,
                    &latent, &radiance})
      v->clear();
    first_ray = first, num_rays = rays, count = 0, marched = 0;
  }
};

struct RenderProblem {
  const float *origins, *directions, *footprint, *jitter, *background, *conditions;
  float *values, *opacity, *distance, *distortion;
};

struct Renderer {
  FieldShape field;
  March march;
  Lattice lattice;
  Renderer(const FieldShape& f, const March& m) : field(f), march(m), lattice(m) {}
};

// Copies planar tile columns of survivor `s` to the end of a sample-major buffer.
static inline void append_column(std::vector<float>& to, const Rows& from, int rows, int s) {
  size_t at = to.size();
  to.resize(at + rows);
  for (int r = 0; r < rows; r++) to[at + r] = from.row(r)[s];
}

// One wave of a chunk: marches every living ray by up to `per_ray` samples into the tile.
struct Sample {
  float x, y, z, t_near, t_far;
};

struct Wave {
  std::vector<Segment> segments;
  std::vector<Sample> samples;
  std::vector<int> found;
  std::vector<int32_t> intervals;
};

static inline Sample sample_of(const Lattice& lattice, const Walks& w, int ray, int k) {
  Sample q;
  q.t_near = lattice.at(k + w.jitter[ray]);
  q.t_far = lattice.at(k + 1 + w.jitter[ray]);
  float t = 0.5f * (q.t_near + q.t_far);
  q.x = w.o[0][ray] + t * w.d[0][ray];
  q.y = w.o[1][ray] + t * w.d[1][ray];
  q.z = w.o[2][ray] + t * w.d[2][ray];
  return q;
}

static inline void march_wave(const Renderer& r, const Occupancy& occupancy, Walks& walks,
                              const std::vector<int>& living, int per_ray, Wave& wave) {
  const int num = (int)living.size();
  wave.segments.clear();
  wave.samples.clear();
  wave.found.resize(num);
  wave.intervals.resize((size_t)num * per_ray + 1);
  march(walks, r.lattice, occupancy, r.march.max_samples, living.data(), num, per_ray,
        wave.found.data(), wave.intervals.data());
  for (int i = 0; i < num; i++) {
    if (!wave.found[i]) continue;
    wave.segments.push_back({living[i], (int)wave.samples.size(), wave.found[i]});
    for (int j = 0; j < wave.found[i]; j++)
      wave.samples.push_back(
          sample_of(r.lattice, walks, living[i], wave.intervals[(size_t)i * per_ray + j]));
  }
}

// Keeps the samples of a wave that light reaches; gives the rays that go on.
static inline void keep_survivors(const Renderer& r, const Workspace& t, const Wave& wave,
                                  const Walks& walks, std::vector<float>& light,
                                  ChunkState& chunk, std::vector<int>& living, bool keep) {
  living.clear();
  for (const Segment& segment : wave.segments) {
    float& T = light[segment.ray];
    int first = chunk.count;
    for (int i = 0; i < segment.count && T >= r.march.min_transmittance; i++) {
      int s = segment.first + i;
      const Sample& q = wave.samples[s];
      float length = q.t_far - q.t_near, sigma = t.sigma.row(0)[s];
      float passed = t.sigma.row(1)[s];  // exp(-sigma * length)
      chunk.x.push_back(t.p[0][s]), chunk.y.push_back(t.p[1][s]), chunk.z.push_back(t.p[2][s]);
      chunk.middle.push_back(0.5f * (q.t_near + q.t_far));
      chunk.length.push_back(length);
      chunk.sigma.push_back(sigma);
      chunk.transmittance.push_back(T);
      chunk.weight.push_back(T * (1 - passed));
      append_column(chunk.latent, t.latent, r.field.latent, s);
      if (keep) append_column(chunk.features, t.features, r.field.grid.num_outputs(), s);
      T *= passed;
      chunk.count++;
    }
    if (chunk.count > first) chunk.segments.push_back({segment.ray, first, chunk.count - first});
    if (T >= r.march.min_transmittance && !walks.ended(segment.ray)) living.push_back(segment.ray);
  }
}

// The colour network's inputs of chunk samples [first, first + n) into t.inputs.
static inline void color_inputs(const Renderer& r, const RenderProblem& in, const ChunkState& chunk,
                                const std::vector<float>& harmonics, const std::vector<int>& ray_of,
                                int first, int n, Workspace& t) {
  const FieldShape& f = r.field;
  const int sh = f.sh_degree * f.sh_degree;
  for (int s = 0; s < n; s++) {
    const float* latent = &chunk.latent[(size_t)(first + s) * f.latent];
    for (int j = 0; j < f.latent; j++) t.inputs.row(j)[s] = latent[j];
    int ray = ray_of[first + s];
    const float* h = &harmonics[(size_t)ray * 16];
    for (int j = 0; j < sh; j++) t.inputs.row(f.latent + j)[s] = h[j];
    const float* condition = in.conditions + (size_t)(chunk.first_ray + ray) * f.num_conditions;
    for (int j = 0; j < f.num_conditions; j++)
      t.inputs.row(f.latent + sh + j)[s] = condition[j];
  }
  for (int j = 0; j < f.color.inputs; j++)
    for (int s = n; s < pad_block(n); s++) t.inputs.row(j)[s] = 0;
}

static inline std::vector<int> rays_of_samples(const ChunkState& chunk) {
  std::vector<int> ray_of(chunk.count);
  for (const Segment& e : chunk.segments)
    for (int i = 0; i < e.count; i++) ray_of[e.first + i] = e.ray;
  return ray_of;
}

static inline std::vector<float> harmonics_of_rays(const Renderer& r, const RenderProblem& in,
                                                   const ChunkState& chunk) {
  std::vector<float> harmonics((size_t)chunk.num_rays * 16);
  for (const Segment& e : chunk.segments)
    spherical_harmonics(in.directions + 3 * (size_t)(chunk.first_ray + e.ray), r.field.sh_degree,
                        &harmonics[(size_t)e.ray * 16]);
  return harmonics;
}

// Sums along the rays: values, opacity, distance, distortion. `light` holds what passed through.
static inline void composite_chunk(const Renderer& r, const RenderProblem& in,
                                   const ChunkState& chunk, const std::vector<float>& light) {
  const int C = r.field.num_channels;
  std::vector<float> sums((size_t)chunk.num_rays * 3);  // sum w, sum w m, distortion
  for (int ray = 0; ray < chunk.num_rays; ray++)
    for (int c = 0; c < C; c++) in.values[(size_t)(chunk.first_ray + ray) * C + c] = 0;
  for (const Segment& e : chunk.segments) {
    float* a = &sums[(size_t)e.ray * 3];
    float* value = in.values + (size_t)(chunk.first_ray + e.ray) * C;
    for (int s = e.first; s < e.first + e.count; s++) {
      float w = chunk.weight[s], m = chunk.middle[s];
      a[2] += 2 * w * (m * a[0] - a[1]) + w * w * chunk.length[s] / 3;
      a[0] += w;
      a[1] += w * m;
      for (int c = 0; c < C; c++) value[c] += w * chunk.radiance[(size_t)s * C + c];
    }
  }
  for (int ray = 0; ray < chunk.num_rays; ray++) {
    size_t at = chunk.first_ray + ray;
    const float* a = &sums[(size_t)ray * 3];
    for (int c = 0; c < C; c++) in.values[at * C + c] += light[ray] * in.background[at * C + c];
    in.opacity[at] = a[0];
    in.distance[at] = a[0] > 0 ? a[1] / a[0] : 0;
    in.distortion[at] = a[2];
  }
}

// Radiance of all survivors of a chunk, in tiles.
static inline void color_chunk(const Renderer& r, const FieldWeights& weights,
                               const RenderProblem& in, ChunkState& chunk, Workspace& t) {
  const int C = r.field.num_channels;
  std::vector<int> ray_of = rays_of_samples(chunk);
  std::vector<float> harmonics = harmonics_of_rays(r, in, chunk);
  chunk.radiance.resize((size_t)chunk.count * C);
  for (int first = 0; first < chunk.count; first += TILE) {
    int n = std::min(TILE, chunk.count - first);
    color_inputs(r, in, chunk, harmonics, ray_of, first, n, t);
    color_tile(r.field, weights, t, n);
    for (int s = 0; s < n; s++)
      for (int c = 0; c < C; c++) chunk.radiance[(size_t)(first + s) * C + c] = t.outputs.row(c)[s];
  }
}

static inline void density_of_wave(const Renderer& r, const FieldWeights& weights,
                                   const RenderProblem& in, const ChunkState& chunk,
                                   const Wave& wave, Workspace& t) {
  int n = (int)wave.samples.size();
  for (int s = 0; s < n; s++)
    t.set_point(s, wave.samples[s].x, wave.samples[s].y, wave.samples[s].z);
  t.pad_points(n);
  float *footprint = t.points.row(3), *length = t.points.row(4);
  bool any = false;
  for (int s = n; s < pad_block(n); s++) footprint[s] = length[s] = 0;
  for (const Segment& e : wave.segments) {
    float per_unit = in.footprint[chunk.first_ray + e.ray];
    any |= per_unit > 0;
    for (int s = e.first; s < e.first + e.count; s++) {
      const Sample& q = wave.samples[s];
      footprint[s] = per_unit * 0.5f * (q.t_near + q.t_far);
      length[s] = q.t_far - q.t_near;
    }
  }
  density_tile(r.field, weights, t, n, any ? footprint : nullptr);
  for (int s = 0; s < pad_block(n); s += W)
    store(t.sigma.row(1) + s, vexp(-load(t.sigma.row(0) + s) * load(length + s)));
}

// Forward over one chunk of rays; `chunk` keeps what backward needs if `keep`.
static inline void render_chunk(const Renderer& r, const FieldWeights& weights,
                                const Occupancy& occupancy, const RenderProblem& in, bool keep,
                                ChunkState& chunk, Workspace& t) {
  Walks walks;
  walks.resize(chunk.num_rays);
  std::vector<float> light(chunk.num_rays, 1.0f);
  std::vector<int> living;
  for (int i = 0; i < chunk.num_rays; i++) {
    size_t at = chunk.first_ray + i;
    start_walk(walks, i, r.lattice, occupancy, in.origins + 3 * at, in.directions + 3 * at,
               in.jitter[at]);
    if (!walks.ended(i)) living.push_back(i);
  }
  Wave wave;
  while (!living.empty()) {
    // Few samples at a time, for what lies behind the last light is wasted; more where few rays
    // are left, to fill the vectors.
    int per_ray = std::min(32, std::max(8, 256 / (int)living.size()));
    march_wave(r, occupancy, walks, living, per_ray, wave);
    if (wave.samples.empty()) break;
    chunk.marched += (int64_t)wave.samples.size();
    density_of_wave(r, weights, in, chunk, wave, t);
    keep_survivors(r, t, wave, walks, light, chunk, living, keep);
  }
  color_chunk(r, weights, in, chunk, t);
  composite_chunk(r, in, chunk, light);
}
