// The ops that stand alone: encoding of any dims, plain networks, packed marching, compositing.
#pragma once
#include "queries.h"

constexpr int SMALL = 1024;      // samples a task
constexpr int BLOCK_RAYS = 128;  // rays a task

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

static inline void encode_forward(const Grid& grid, const float* points, const Entry* table,
                                  const float* footprint, int64_t n, float* out) {
  const int E = grid.num_outputs();
  parallel_for((int)((n + SMALL - 1) / SMALL), [&](int task, int) {
    int64_t first = (int64_t)task * SMALL;
    int count = (int)std::min<int64_t>(SMALL, n - first), padded = pad_block(count);
    PlanarPoints p(points, grid.dims, first, count);
    std::vector<float> features((size_t)E * padded), sizes(padded, 0.0f);
    std::memcpy(sizes.data(), footprint + first, count * sizeof(float));
    const bool any = std::any_of(sizes.begin(), sizes.end(), [](float x) { return x > 0; });
    encode_tile(grid, table, p.row, any ? sizes.data() : nullptr, padded,
                FloatRows{features.data(), padded});
    for (int s = 0; s < count; s++)
      for (int j = 0; j < E; j++) out[(first + s) * E + j] = features[(size_t)j * padded + s];
  });
}

// `to_points` may be null.
static inline void encode_backward(const Grid& grid, const float* points, const Entry* table,
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
    if (to_points)
      encode_backward_points(grid, table, p.row, footprint + first, &features[first], n, count, to);
    for (int s = 0; s < count; s++)
      for (int d = 0; d < D; d++) {
        if (to_points) to_points[(first + s) * D + d] = to[d][s];
        planar[d * n + first + s] = p.row[d][s];
      }
    for (int j = 0; j < E; j++)
      for (int64_t s = first; s < first + count; s++)
        features[j * n + s] *= footprint_weight(footprint[s], grid.levels[j / grid.features].scale);
  });
  if (n) scatter_table(grid, {factored_part(planar.data(), D, features.data(), n)}, to_table);
}

// One task's buffers for a plain network.
struct MlpBuffers {
  NetworkBuffers networks;
  Plane in, out, d_out, d_in;
  explicit MlpBuffers(const NetworkShape& f) {
    const int stride = NetworkBuffers::STRIDE;
    networks.reserve(f.width, f.hidden_layers, std::max(f.inputs, f.outputs) + 8);
    in.reserve(f.inputs + 8, stride);
    out.reserve(f.outputs + 8, stride);
    d_out.reserve(f.outputs + 8, stride);
    d_in.reserve(f.inputs + 8, stride);
  }
};

// Samples [first, first + n) of a matrix as lanes, zero behind them.
static inline void transpose_in(const float* from, int neurons, int64_t first, int n,
                                const Plane& to) {
  for (int r = 0; r < rows_of(neurons); r++)
    for (int s = 0; s < pad_block(n); s++) {
      const float* row = from + (first + s) * neurons + r * PER;
      float lane = s < n ? lane_of(row[0], r * PER + 1 < neurons ? row[PER - 1] : 0.0f) : 0.0f;
      std::memcpy(to.row(r) + s, &lane, sizeof lane);
    }
}

static inline void transpose_out(const Plane& from, int neurons, int64_t first, int n, float* to) {
  for (int s = 0; s < n; s++)
    for (int j = 0; j < neurons; j++) to[(first + s) * neurons + j] = from.row(j)[s];
}

static inline void mlp_forward(const Network& net, const float* inputs, int64_t n, float* out) {
  parallel_for(num_tiles(n), [&](int tile, int) {
    int64_t begin = (int64_t)tile * QUERY, end = begin + tile_size(n, begin);
    MlpBuffers t(net.shape);
    for (int64_t first = begin; first < end; first += FORWARD_RUN) {
      int run = (int)std::min<int64_t>(FORWARD_RUN, end - first);
      transpose_in(inputs, net.shape.inputs, first, run, t.in);
      network_forward(net, t.in, pad_block(run), t.networks.by_turns, net.shape.outputs,
                      [&](int j, int s, vf(*acc)[2]) { store_floats(t.out, j, s, acc); });
      transpose_out(t.out, net.shape.outputs, first, run, out);
    }
  });
}

static inline void mlp_backward(const Network& net, const float* inputs, const float* g, int64_t n,
                                float* to_inputs, float* to_weights) {
  GroupSums sums(num_tiles(n), net.shape.num_sums());
  parallel_for(sums.groups(), [&](int group, int) {
    MlpBuffers t(net.shape);
    int64_t begin = (int64_t)sums.begin(group) * QUERY;
    int64_t end = std::min(n, (int64_t)sums.end(group, num_tiles(n)) * QUERY);
    for (int64_t first = begin; first < end; first += BACKWARD_RUN) {
      int run = (int)std::min<int64_t>(BACKWARD_RUN, end - first);
      transpose_in(inputs, net.shape.inputs, first, run, t.in);
      transpose_in(g, net.shape.outputs, first, run, t.d_out);
      network_hidden(net, t.in, pad_block(run), t.networks.all);
      network_backward(net, t.in, pad_block(run), t.networks.all, t.networks, t.d_out,
                       net.shape.inputs, sums.of(group),
                       [&](int j, int s, vf(*acc)[2]) { store_floats(t.d_in, j, s, acc); });
      transpose_out(t.d_in, net.shape.inputs, first, run, to_inputs);
    }
  });
  unpack_sums(net.shape, sums.reduce(), to_weights);
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
  std::shared_ptr<const Occupancy> occupancy = occupancy_of(bits, march_spec.cascades);
  int blocks = (num_rays + BLOCK_RAYS - 1) / BLOCK_RAYS;
  std::vector<std::vector<int32_t>> found(blocks);
  std::vector<int64_t> per_ray(num_rays);
  parallel_for(blocks, [&](int b, int) {
    int first = b * BLOCK_RAYS;
    march_block(march_spec, lattice, *occupancy, in, first, std::min(BLOCK_RAYS, num_rays - first),
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
    for (int r = b * BLOCK_RAYS; r < std::min(num_rays, (b + 1) * BLOCK_RAYS); r++) {
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
  chunk.clear(first_ray, rays, channels);
  const int64_t begin = samples.offsets[first_ray], end = samples.offsets[first_ray + rays];
  chunk.make_room((int)(end - begin));
  light.assign(rays, 1.0f);
  for (int r = 0; r < rays; r++) {
    int64_t from = samples.offsets[first_ray + r], to = samples.offsets[first_ray + r + 1];
    if (to > from) chunk.segments.push_back({r, chunk.count, (int)(to - from)});
    for (int64_t s = from; s < to; s++, chunk.count++) {
      const int i = chunk.count;
      float length = samples.t_far[s] - samples.t_near[s];
      float passed = std::exp(-density[s] * length);
      chunk.row(MIDDLE)[i] = 0.5f * (samples.t_near[s] + samples.t_far[s]);
      chunk.row(LENGTH)[i] = length;
      chunk.row(TRANSMITTANCE)[i] = light[r];
      chunk.row(WEIGHT)[i] = light[r] * (1 - passed);
      for (int c = 0; c < channels; c++) chunk.radiance(c)[i] = radiance[s * channels + c];
      light[r] *= passed;
    }
  }
}

// The block's samples stand at the same place in `packed` arrays.
struct CompositeOp {
  const float *density, *radiance;
  int channels;
  Packed samples;
  RenderProblem in;
  int num_rays;
};

template <class Use>
static inline void for_packed_chunks(const CompositeOp& op, Use use) {
  parallel_for((op.num_rays + BLOCK_RAYS - 1) / BLOCK_RAYS, [&](int b, int) {
    ChunkState chunk;
    std::vector<float> light;
    int first = b * BLOCK_RAYS, rays = std::min(BLOCK_RAYS, op.num_rays - first);
    chunk_of_packed(op.density, op.radiance, op.channels, op.samples, first, rays, chunk, light);
    use(chunk, light, op.samples.offsets[first]);
  });
}

static inline void composite_forward(const CompositeOp& op, float* weights) {
  for_packed_chunks(op, [&](ChunkState& chunk, const std::vector<float>& light, int64_t at) {
    sum_samples(chunk);
    composite_chunk(op.in, chunk, light);
    std::copy_n(chunk.row(WEIGHT), chunk.count, weights + at);
  });
}

struct CompositeOut {
  float *density, *radiance, *background;
};

static inline void composite_backward(const CompositeOp& op, const RenderGradientsIn& g,
                                      const float* to_weights, const CompositeOut& out) {
  const int C = op.channels;
  for_packed_chunks(op, [&](const ChunkState& chunk, const std::vector<float>&, int64_t at) {
    CompositeGradients to;
    composite_backward_chunk(op.in, g, to_weights + at, chunk, out.background, to);
    std::copy_n(to.sigma.begin(), chunk.count, out.density + at);
    for (int s = 0; s < chunk.count; s++)
      for (int c = 0; c < C; c++) out.radiance[(at + s) * C + c] = to.radiance[c * to.stride + s];
  });
}
