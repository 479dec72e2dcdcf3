// Each op on whole arrays: cut into tiles or chunks, handed to the pool, reduced in a fixed order.
#pragma once
#include <memory>
#include <mutex>

#include "pool.h"
#include "rays/backward.h"
#include "rays/loss.h"
#include "field/table.h"

// What a chunk adds to the table's gradient, until it is known where its place is.
struct ChunkFactors {
  std::vector<float> points, features;
};

// A field with its threads' buffers. One op at a time.
struct NativeField {
  FieldShape shape;
  std::vector<std::unique_ptr<Workspace>> workspaces;
  // Buffers that are reused between calls.
  std::vector<std::unique_ptr<ChunkState>> spare;
  std::vector<ChunkFactors> spare_factors;
  std::mutex mutex;

  explicit NativeField(const FieldShape& f) : shape(f) {}
  NativeField(const NativeField&) = delete;
  Workspace& workspace(int worker) { return *workspaces[worker]; }
  void prepare() {
    while ((int)workspaces.size() < pool_threads()) {
      workspaces.push_back(std::make_unique<Workspace>());
      workspaces.back()->prepare(shape);
    }
  }
};

// Weight gradients belong to groups of neighbouring tasks, never to threads, and are summed in
// order: the result depends neither on timing nor on the number of threads.
class GroupSums {
 public:
  GroupSums(int tasks, int size) : size_(size) {
    per_group_ = std::max(1, (tasks + 31) / 32);
    groups_ = (tasks + per_group_ - 1) / per_group_;
    sums_.assign((size_t)groups_ * size, 0.0f);
  }
  int groups() const { return groups_; }
  int begin(int group) const { return group * per_group_; }
  int end(int group, int tasks) const { return std::min(tasks, (group + 1) * per_group_); }
  float* of(int group) { return &sums_[(size_t)group * size_]; }
  // The sum over groups, left in the first one.
  const float* reduce() {
    if (sums_.empty()) sums_.assign(size_, 0.0f);
    for (int group = 1; group < groups_; group++)
      for (int i = 0; i < size_; i++) sums_[i] += sums_[(size_t)group * size_ + i];
    return sums_.data();
  }

 private:
  int size_, per_group_, groups_;
  std::vector<float> sums_;
};

// A chunk's first wave fills a tile. Where there are fewer rays each is long (an unpruned grid), and
// smaller chunks give all threads some.
constexpr int MOST_CHUNK_RAYS = 512, FEWEST_CHUNK_RAYS = 8, WANTED_CHUNKS = 16;
static inline int chunk_rays(int num_rays) {
  return std::min(MOST_CHUNK_RAYS, std::max(FEWEST_CHUNK_RAYS, num_rays / WANTED_CHUNKS / 8 * 8));
}

// What stays between render_rays and its backward pass.
struct RenderState {
  NativeField* owner = nullptr;
  std::unique_ptr<FieldWeights> weights;
  std::vector<std::unique_ptr<ChunkState>> chunks;
  std::vector<int64_t> place;  // of each chunk's first survivor
  int64_t marched = 0, survived = 0;
  RenderState() = default;
  RenderState(const RenderState&) = delete;
  ~RenderState() { give_back(); }
  void give_back() {
    if (!owner) return;
    std::lock_guard<std::mutex> lock(owner->mutex);
    for (auto& chunk : chunks) owner->spare.push_back(std::move(chunk));
    chunks.clear();
    owner = nullptr;
  }
};

static inline std::unique_ptr<ChunkState> take_chunk(NativeField& f) {
  if (f.spare.empty()) return std::make_unique<ChunkState>();
  std::unique_ptr<ChunkState> chunk = std::move(f.spare.back());
  f.spare.pop_back();
  return chunk;
}

static inline void keep_for_backward(const FieldShape& f, ChunkState& chunk) {
  chunk.feature_rows = f.feature_rows();
  chunk.hidden_layers = f.color.hidden_layers;
  chunk.hidden_rows = pad_rows(f.color.width);
}

// Without a backward pass to come, a chunk's survivors are forgotten with the chunk: each thread
// has one buffer, so a picture of fog needs no more memory than one of glass.
static inline void render_forward(NativeField& f, const March& march,
                                  std::unique_ptr<FieldWeights> weights, const uint8_t* bits,
                                  const RenderProblem& in, int num_rays, bool keep,
                                  RenderState& state) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  Renderer renderer(f.shape, march);
  Occupancy occupancy(bits, march.cascades);
  const int per_chunk = chunk_rays(num_rays);
  int chunks = (num_rays + per_chunk - 1) / per_chunk;
  for (int c = 0; c < (keep ? chunks : pool_threads()); c++)
    state.chunks.push_back(take_chunk(f));
  std::vector<int64_t> marched(chunks), survived(chunks);
  parallel_for(chunks, [&](int c, int worker) {
    ChunkState& chunk = *state.chunks[keep ? c : worker];
    chunk.clear(c * per_chunk, std::min(per_chunk, num_rays - c * per_chunk),
                f.shape.num_channels);
    chunk.latent_rows = f.shape.latent_rows();
    if (keep) keep_for_backward(f.shape, chunk);
    render_chunk(renderer, *weights, occupancy, in, chunk, f.workspace(worker));
    marched[c] = chunk.marched;
    survived[c] = chunk.count;
  });
  for (int c = 0; c < chunks; c++) {
    state.place.push_back(state.survived);
    state.marched += marched[c];
    state.survived += survived[c];
  }
  if (keep) {
    state.owner = &f;
    state.weights = std::move(weights);
    return;
  }
  for (auto& chunk : state.chunks) f.spare.push_back(std::move(chunk));
  state.chunks.clear();
}

static inline void render_backward(NativeField& f, const March& march, const RenderProblem& in,
                                   const RenderGradientsIn& g, const RenderState& state,
                                   const RenderGradientsOut& out, float* to_density,
                                   float* to_color) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  Renderer renderer(f.shape, march);
  int chunks = (int)state.chunks.size();
  const int nd = f.shape.density.num_sums();
  GroupSums sums(chunks, nd + f.shape.color.num_sums());
  parallel_for(sums.groups(), [&](int group, int worker) {
    for (int c = sums.begin(group); c < sums.end(group, chunks); c++)
      render_chunk_backward(renderer, *state.weights, in, g, *state.chunks[c], state.place[c], out,
                            sums.of(group), f.workspace(worker));
  });
  const float* total = sums.reduce();
  unpack_sums(f.shape.density, total, to_density);
  unpack_sums(f.shape.color, total + nd, to_color);
}

// A loss on what rays see, and everything that follows from it, chunk by chunk: what the forward
// pass of a chunk leaves behind is still in the caches on the way back.
struct FitProblem {
  RenderProblem render;
  ColorTargets targets;
  float delta, distortion_weight;
  RenderGradientsIn gradients;  // room for the gradients to the outputs; opacity, distance: zeros
  LossOut loss;
};

struct FitState {
  double loss = 0;
  int64_t marched = 0, survived = 0;
  std::vector<ChunkFactors> factors;
  std::vector<int64_t> counts;
};

static inline void fit_chunk(const Renderer& r, const FieldWeights& weights,
                             const Occupancy& occupancy, const FitProblem& in, int64_t num_rays,
                             const RenderGradientsOut& out, ChunkState& chunk,
                             ChunkFactors& factors, float* sums, double& loss, Workspace& t) {
  const int C = r.field.num_channels, E = r.field.grid.num_outputs();
  render_chunk(r, weights, occupancy, in.render, chunk, t);
  const int64_t first = chunk.first_ray, end = first + chunk.num_rays;
  loss = loss_of_rays(in.render.values, in.targets, C, first, end, num_rays, in.delta, in.loss);
  for (int64_t ray = first; ray < end; ray++)
    loss += in.distortion_weight / (double)num_rays * in.render.distortion[ray];
  factors.points.resize((size_t)3 * chunk.count);
  factors.features.resize((size_t)E * chunk.count);
  RenderGradientsOut here = out;
  here.points = factors.points.data(), here.features = factors.features.data();
  here.num_samples = chunk.count;
  render_chunk_backward(r, weights, in.render, in.gradients, chunk, 0, here, sums, t);
}

static inline void render_fit(NativeField& f, const March& march, const FieldWeights& weights,
                              const uint8_t* bits, const FitProblem& in, int num_rays,
                              const RenderGradientsOut& out, float* to_density, float* to_color,
                              FitState& state) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  Renderer renderer(f.shape, march);
  Occupancy occupancy(bits, march.cascades);
  const int per_chunk = chunk_rays(num_rays), chunks = (num_rays + per_chunk - 1) / per_chunk;
  while ((int)f.spare.size() < pool_threads()) f.spare.push_back(std::make_unique<ChunkState>());
  state.factors.swap(f.spare_factors);
  state.factors.resize(chunks);
  state.counts.assign(chunks, 0);
  std::vector<int64_t> marched(chunks);
  std::vector<double> losses(chunks);
  GroupSums sums(chunks, f.shape.density.num_sums() + f.shape.color.num_sums());
  parallel_for(sums.groups(), [&](int group, int worker) {
    ChunkState& chunk = *f.spare[worker];
    for (int c = sums.begin(group); c < sums.end(group, chunks); c++) {
      chunk.clear(c * per_chunk, std::min(per_chunk, num_rays - c * per_chunk),
                  f.shape.num_channels);
      chunk.latent_rows = f.shape.latent_rows();
      keep_for_backward(f.shape, chunk);
      fit_chunk(renderer, weights, occupancy, in, num_rays, out, chunk, state.factors[c],
                sums.of(group), losses[c], f.workspace(worker));
      state.counts[c] = chunk.count;
      marched[c] = chunk.marched;
    }
  });
  for (int c = 0; c < chunks; c++)
    state.marched += marched[c], state.survived += state.counts[c];
  state.loss = in_order(losses);
  const float* total = sums.reduce();
  unpack_sums(f.shape.density, total, to_density);
  unpack_sums(f.shape.color, total + f.shape.density.num_sums(), to_color);
}

// The chunks' parts of the table's gradient, one after another; their memory goes back to the field.
static inline void take_factors(NativeField& f, FitState& state, float* points, float* features) {
  const int rows[2] = {3, f.shape.grid.num_outputs()};
  std::vector<int64_t> place(state.counts.size() + 1);
  for (size_t c = 0; c < state.counts.size(); c++) place[c + 1] = place[c] + state.counts[c];
  parallel_for((int)state.counts.size(), [&](int c, int) {
    const int64_t n = state.counts[c];
    const float* from[2] = {state.factors[c].points.data(), state.factors[c].features.data()};
    float* to[2] = {points + place[c], features + place[c]};
    for (int part = 0; part < 2; part++)
      for (int r = 0; r < rows[part]; r++)
        std::memcpy(to[part] + r * state.survived, from[part] + r * n, n * sizeof(float));
  });
  std::lock_guard<std::mutex> lock(f.mutex);
  f.spare_factors.swap(state.factors);
}
