// The ops that stand alone: encoding of any dims, plain networks, packed marching, compositing.
#pragma once
#include "queries.h"

constexpr int SMALL = 1024;  // samples a task

// Planar copy of n points of any dims, clamped to the unit cube, padded to a whole block.
struct PlanarPoints {
  std::vector<float> data;
  const float* row[4];
  PlanarPoints(const float* points, int dims, int64_t first, int n) {
    int padded = pad_block(n);
    data.assign((size_t)4 * padded, 0.5f);
    for (int d = 0; d < dims; d++)
      for (int s = 0; s < n; s++) {
        float x = points[(first + s) * dims + d];
        data[(size_t)d * padded + s] = x >= 0 ? std::min(x, 1.0f) : 0.0f;
      }
    for (int d = 0; d < 4; d++) row[d] = &data[(size_t)d * padded];
  }
};

static inline void encode_forward(const Grid& grid, const float* points, const float* table,
                                  const float* footprint, int64_t n, float* out) {
  const int E = grid.num_outputs();
  parallel_for((int)((n + SMALL - 1) / SMALL), [&](int task, int) {
    int64_t first = (int64_t)task * SMALL;
    int count = (int)std::min<int64_t>(SMALL, n - first), padded = pad_block(count);
    PlanarPoints p(points, grid.dims, first, count);
    std::vector<float> features((size_t)E * padded), sizes(padded, 0.0f);
    std::memcpy(sizes.data(), footprint + first, count * sizeof(float));
    encode_tile(grid, table, p.row, sizes.data(), padded, features.data(), padded);
    for (int s = 0; s < count; s++)
      for (int j = 0; j < E; j++) out[(first + s) * E + j] = features[(size_t)j * padded + s];
  });
}

static inline void encode_backward(const Grid& grid, const float* points, const float* table,
                                   const float* footprint, const float* g, int64_t n,
                                   float* to_points, float* to_table) {
  const int E = grid.num_outputs(), D = grid.dims;
  std::vector<float> planar((size_t)D * n), features((size_t)E * n);
  parallel_for((int)((n + SMALL - 1) / SMALL), [&](int task, int) {
    int64_t first = (int64_t)task * SMALL;
    int count = (int)std::min<int64_t>(SMALL, n - first);
    PlanarPoints p(points, D, first, count);
    for (int64_t s = first; s < first + count; s++)
      for (int j = 0; j < E; j++) features[j * n + s] = g[s * E + j];
    std::vector<float> rows((size_t)D * count, 0.0f);
    float* to[4];
    for (int d = 0; d < D; d++) to[d] = &rows[(size_t)d * count];
    encode_backward_points(grid, table, p.row, footprint + first, &features[first], n, count, to);
    for (int s = 0; s < count; s++)
      for (int d = 0; d < D; d++) {
        to_points[(first + s) * D + d] = to[d][s];
        planar[d * n + first + s] = p.row[d][s];
      }
    for (int j = 0; j < E; j++)
      for (int64_t s = first; s < first + count; s++)
        features[j * n + s] *= footprint_weight(footprint[s], grid.levels[j / grid.features].scale);
  });
  const float* p[4] = {};
  for (int d = 0; d < D; d++) p[d] = planar.data() + d * n;
  if (n) scatter_table(grid, p, features.data(), n, to_table);
}

// One task's buffers for a plain network.
struct MlpTile {
  Rows in, out, hidden, scratch, d_out, d_in;
  std::vector<float*> layers;
  float* temp[2];
  explicit MlpTile(const NetworkShape& f) {
    in.reserve(f.inputs), out.reserve(f.outputs), d_out.reserve(f.outputs), d_in.reserve(f.inputs);
    hidden.reserve(std::max(1, f.hidden_layers) * pad8(f.width));
    scratch.reserve(2 * pad8(f.width));
    for (int l = 0; l < f.hidden_layers; l++) layers.push_back(hidden.row(l * pad8(f.width)));
    temp[0] = scratch.row(0), temp[1] = scratch.row(pad8(f.width));
  }
};

static inline void transpose_in(const float* from, int rows, int64_t first, int n, const Rows& to) {
  for (int j = 0; j < rows; j++)
    for (int s = 0; s < pad_block(n); s++)
      to.row(j)[s] = s < n ? from[(first + s) * rows + j] : 0;
}

static inline void transpose_out(const Rows& from, int rows, int64_t first, int n, float* to) {
  for (int s = 0; s < n; s++)
    for (int j = 0; j < rows; j++) to[(first + s) * rows + j] = from.row(j)[s];
}

static inline void mlp_forward(const Network& net, const float* inputs, int64_t n, float* out) {
  parallel_for(num_tiles(n), [&](int tile, int) {
    int64_t first = (int64_t)tile * TILE;
    int count = (int)std::min<int64_t>(TILE, n - first);
    MlpTile t(net.shape);
    transpose_in(inputs, net.shape.inputs, first, count, t.in);
    network_forward(net, t.in.row(0), t.layers.data(), t.out.row(0), STRIDE, pad_block(count));
    transpose_out(t.out, net.shape.outputs, first, count, out);
  });
}

static inline void mlp_backward(const Network& net, const float* inputs, const float* g, int64_t n,
                                float* to_inputs, float* to_weights) {
  GroupSums sums(num_tiles(n), net.shape.num_weights());
  parallel_for(sums.groups(), [&](int group, int) {
    MlpTile t(net.shape);
    for (int tile = sums.begin(group); tile < sums.end(group, num_tiles(n)); tile++) {
      int64_t first = (int64_t)tile * TILE;
      int count = (int)std::min<int64_t>(TILE, n - first), padded = pad_block(count);
      transpose_in(inputs, net.shape.inputs, first, count, t.in);
      transpose_in(g, net.shape.outputs, first, count, t.d_out);
      network_hidden(net, t.in.row(0), t.layers.data(), STRIDE, padded);
      network_backward(net, t.in.row(0), t.layers.data(), t.d_out.row(0), t.d_in.row(0), t.temp,
                       sums.of(group), STRIDE, padded);
      transpose_out(t.d_in, net.shape.inputs, first, count, to_inputs);
    }
  });
  sums.reduce(to_weights);
}

// The samples of each block of rays, found in parallel and then laid one after another.
struct Packed {
  float *t_near, *t_far;
  int64_t *ray_index, *offsets;  // offsets: [rays + 1]
  int64_t capacity, count, wanted;
};

// The intervals of a block of rays, ray after ray, and their number on each ray.
static inline void march_block(const March& march_spec, const Lattice& lattice,
                               const Occupancy& occupancy, const RenderProblem& in, int first,
                               int rays, std::vector<int32_t>& all, int64_t* per_ray) {
  // What a round brings of each ray; a ray with more goes on in the next.
  const int round = std::min(march_spec.max_samples, 1024);
  Walks walks;
  walks.resize(rays);
  std::vector<std::vector<int32_t>> of_ray(rays);
  std::vector<int> living, found(rays);
  std::vector<int32_t> intervals((size_t)rays * std::max(0, round) + 1);
  for (int i = 0; i < rays; i++) {
    size_t at = 3 * (size_t)(first + i);
    start_walk(walks, i, lattice, occupancy, in.origins + at, in.directions + at,
               in.jitter[first + i]);
    if (round > 0) living.push_back(i);
  }
  while (!living.empty()) {
    march(walks, lattice, occupancy, march_spec.max_samples, living.data(), (int)living.size(),
          round, found.data(), intervals.data());
    std::vector<int> going_on;
    for (size_t i = 0; i < living.size(); i++) {
      const int32_t* k = &intervals[i * round];
      of_ray[living[i]].insert(of_ray[living[i]].end(), k, k + found[i]);
      if (!walks.ended(living[i])) going_on.push_back(living[i]);
    }
    living.swap(going_on);
  }
  for (int i = 0; i < rays; i++) {
    per_ray[i] = (int64_t)of_ray[i].size();
    all.insert(all.end(), of_ray[i].begin(), of_ray[i].end());
  }
}

static inline void march_packed(const March& march_spec, const uint8_t* bits,
                                const RenderProblem& in, int num_rays, Packed& out) {
  Lattice lattice(march_spec);
  Occupancy occupancy(bits, march_spec.cascades);
  int blocks = (num_rays + CHUNK_RAYS - 1) / CHUNK_RAYS;
  std::vector<std::vector<int32_t>> found(blocks);
  std::vector<int64_t> per_ray(num_rays);
  parallel_for(blocks, [&](int b, int) {
    int first = b * CHUNK_RAYS;
    march_block(march_spec, lattice, occupancy, in, first, std::min(CHUNK_RAYS, num_rays - first),
                found[b], &per_ray[first]);
  });
  out.wanted = 0;
  for (int r = 0; r < num_rays; r++) {
    out.offsets[r] = std::min(out.wanted, out.capacity);
    out.wanted += per_ray[r];
  }
  out.offsets[num_rays] = out.count = std::min(out.wanted, out.capacity);
  parallel_for(blocks, [&](int b, int) {
    const int32_t* k = found[b].data();
    for (int r = b * CHUNK_RAYS; r < std::min(num_rays, (b + 1) * CHUNK_RAYS); r++) {
      for (int64_t i = out.offsets[r], j = 0; i < out.offsets[r + 1]; i++, j++) {
        out.t_near[i] = lattice.at(k[j] + in.jitter[r]);
        out.t_far[i] = lattice.at(k[j] + 1 + in.jitter[r]);
        out.ray_index[i] = r;
      }
      k += per_ray[r];
    }
  });
}

// A block of packed rays as the chunk that the fused renderer composites.
static inline void chunk_of_packed(const float* density, const float* radiance, int channels,
                                   const Packed& samples, int first_ray, int rays,
                                   ChunkState& chunk, std::vector<float>& light) {
  chunk.clear(first_ray, rays);
  light.assign(rays, 1.0f);
  for (int r = 0; r < rays; r++) {
    int64_t begin = samples.offsets[first_ray + r], end = samples.offsets[first_ray + r + 1];
    if (end > begin) chunk.segments.push_back({r, chunk.count, (int)(end - begin)});
    for (int64_t s = begin; s < end; s++) {
      float length = samples.t_far[s] - samples.t_near[s];
      float passed = std::exp(-density[s] * length);
      chunk.middle.push_back(0.5f * (samples.t_near[s] + samples.t_far[s]));
      chunk.length.push_back(length);
      chunk.transmittance.push_back(light[r]);
      chunk.weight.push_back(light[r] * (1 - passed));
      for (int c = 0; c < channels; c++) chunk.radiance.push_back(radiance[s * channels + c]);
      light[r] *= passed;
      chunk.count++;
    }
  }
}

static inline void composite_forward(const Renderer& r, const float* density, const float* radiance,
                                     const Packed& samples, const RenderProblem& in, int num_rays,
                                     float* weights) {
  parallel_for((num_rays + CHUNK_RAYS - 1) / CHUNK_RAYS, [&](int b, int) {
    ChunkState chunk;
    std::vector<float> light;
    int first = b * CHUNK_RAYS, rays = std::min(CHUNK_RAYS, num_rays - first);
    chunk_of_packed(density, radiance, r.field.num_channels, samples, first, rays, chunk, light);
    composite_chunk(r, in, chunk, light);
    std::copy(chunk.weight.begin(), chunk.weight.end(), weights + samples.offsets[first]);
  });
}

static inline void composite_backward(const Renderer& r, const float* density,
                                      const float* radiance, const Packed& samples,
                                      const RenderProblem& in, const RenderGradientsIn& g,
                                      const float* to_weights, int num_rays,
                                      const RenderGradientsOut& out, float* to_density,
                                      float* to_radiance) {
  parallel_for((num_rays + CHUNK_RAYS - 1) / CHUNK_RAYS, [&](int b, int) {
    ChunkState chunk;
    std::vector<float> light;
    CompositeGradients to;
    int first = b * CHUNK_RAYS, rays = std::min(CHUNK_RAYS, num_rays - first);
    chunk_of_packed(density, radiance, r.field.num_channels, samples, first, rays, chunk, light);
    composite_backward_chunk(r, in, g, to_weights + samples.offsets[first], chunk, out, to);
    std::copy(to.sigma.begin(), to.sigma.end(), to_density + samples.offsets[first]);
    std::copy(to.radiance.begin(), to.radiance.end(),
              to_radiance + samples.offsets[first] * r.field.num_channels);
  });
}
