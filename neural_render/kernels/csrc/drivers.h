// Each op on whole arrays: cut into tiles or chunks, handed to the pool, reduced in a fixed order.
#pragma once
#include <memory>
#include <mutex>

#include "pool.h"
#include "rays/backward.h"
#include "rays/loss.h"
#include "rays/roulette.h"
#include "field/table.h"

// What a chunk adds to the table's gradient, planar. Samples fill whole vectors, those behind the
// last one with a gradient of zero.
struct ChunkFactors {
  std::vector<float> points, features;
  int count = 0;
  void resize(int samples, int outputs) {
    count = (samples + W - 1) / W * W;
    points.resize((size_t)3 * count);
    features.resize((size_t)outputs * count);
    for (int s = samples; s < count; s++) {
      for (int k = 0; k < 3; k++) points[(size_t)k * count + s] = 0.5f;
      for (int j = 0; j < outputs; j++) features[(size_t)j * count + s] = 0;
    }
  }
  FactoredPart part() const { return factored_part(points.data(), 3, features.data(), count); }
};

// A field with its threads' buffers. One op at a time.
struct NativeField {
  FieldShape shape;
  std::vector<std::unique_ptr<Workspace>> workspaces;
  // Buffers that are reused between calls.
  std::vector<std::unique_ptr<ChunkState>> spare;
  std::vector<ChunkFactors> spare_factors;
  std::vector<float> ray_buffer;
  std::mutex mutex;

  explicit NativeField(const FieldShape& f) : shape(f) {}
  NativeField(const NativeField&) = delete;
  Workspace& workspace(int worker) { return *workspaces[worker]; }
  void prepare() {
    while ((int)workspaces.size() < pool_threads()) {
      auto room = std::make_unique<Workspace>();
      room->prepare(shape);
      workspaces.push_back(std::move(room));
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
  chunk.kept = true;
  chunk.feature_rows = pad4(f.feature_rows());  // read by fours: see make_room
  chunk.hidden_layers = f.color.hidden_layers;
  chunk.hidden_rows = pad_rows(f.color.width);
}

// Without a backward pass to come, a chunk's survivors are forgotten with the chunk: each thread
// has one buffer, so a picture of fog needs no more memory than one of glass.
static inline void render_forward(NativeField& f, const March& march, float min_weight,
                                  std::unique_ptr<FieldWeights> weights, const uint8_t* bits,
                                  const RenderProblem& in, int num_rays, bool keep,
                                  RenderState& state) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  Renderer renderer(f.shape, march, min_weight);
  std::shared_ptr<const Occupancy> occupancy = occupancy_of(bits, march.cascades);
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
    render_chunk(renderer, *weights, *occupancy, in, chunk, f.workspace(worker));
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
    CompositeGradients composite;
    Workspace& t = f.workspace(worker);
    for (int c = sums.begin(group); c < sums.end(group, chunks); c++) {
      const ChunkState& chunk = *state.chunks[c];
      t.watch.start();
      composite_backward_chunk(in, g, nullptr, chunk, out.background, composite);
      t.watch.lap(COMPOSITE_BACKWARD);
      render_chunk_backward(renderer, *state.weights, in, composite, chunk, state.place[c], out,
                            sums.of(group), t);
    }
  });
  const float* total = sums.reduce();
  unpack_sums(f.shape.density, total, to_density);
  unpack_sums(f.shape.color, total + nd, to_color);
}

// A loss on what rays see, and everything that follows from it, chunk by chunk: what the forward
// pass of a chunk leaves behind is still in the caches on the way back.
struct FitProblem {
  RenderProblem render;  // its outputs, as all that is found for each ray, in a buffer of the field
  ColorTargets targets;
  LossNumbers kind;
  RenderGradientsIn gradients;
  LossOut loss;
  float *to_distance, *normal_shares;

  // Room for what is found on the way; `buffer` keeps it.
  void make_room(int channels, int64_t rays, std::vector<float>& buffer) {
    buffer.resize((size_t)(2 * channels + 7) * rays);
    float* next = buffer.data();
    auto rows = [&](int n) { return std::exchange(next, next + n * rays); };
    render.values = rows(channels), render.opacity = rows(1), render.distance = rows(1);
    render.distortion = rows(1), loss.gradient = rows(channels);
    float *none = rows(1), *to_distortion = rows(1);
    to_distance = rows(1), normal_shares = rows(1);
    std::fill_n(none, rays, 0.0f);
    std::fill_n(to_distance, rays, 0.0f);
    std::fill_n(to_distortion, rays, kind.distortion_weight / std::max<int64_t>(1, rays));
    gradients = {loss.gradient, none, to_distance, to_distortion};
  }
};

struct FitState {
  NativeField* owner = nullptr;
  double loss = 0;
  int64_t marched = 0, survived = 0, kept = 0;
  std::vector<ChunkFactors> factors;  // of each chunk
  FitState() = default;
  FitState(const FitState&) = delete;
  // The factors' memory goes back to the field.
  ~FitState() {
    if (!owner) return;
    std::lock_guard<std::mutex> lock(owner->mutex);
    owner->spare_factors.swap(factors);
  }
  FactoredTable parts() const {
    FactoredTable found;
    for (const ChunkFactors& chunk : factors) found.push_back(chunk.part());
    return found;
  }
};

struct FitCounts {
  double loss = 0;
  int64_t marched = 0, survived = 0;
};

// One thread's buffers beside its workspace.
struct FitBuffers {
  CompositeGradients composite;
  Roulette roulette;
};

// What a chunk leaves: weight gradients are added to `sums`, which a group of chunks shares.
struct FitChunkOut {
  ChunkFactors& factors;
  FitCounts& seen;
  float* sums;
};

static inline void fit_chunk(const Renderer& r, const FieldWeights& weights,
                             const Occupancy& occupancy, const FitProblem& in, int64_t num_rays,
                             const RenderGradientsOut& to_rays, ChunkState& chunk, FitChunkOut out,
                             FitBuffers& buffers, Workspace& t) {
  render_chunk(r, weights, occupancy, in.render, chunk, t);
  FitCounts& seen = out.seen;
  seen.marched = chunk.marched, seen.survived = chunk.count;
  const int64_t first = chunk.first_ray, end = first + chunk.num_rays;
  seen.loss = loss_of_rays(in.render.values, in.targets, r.field.num_channels, first, end, num_rays,
                           in.kind, in.loss);
  if (in.kind.distance_weight > 0)
    seen.loss += distance_loss_of_rays(in.render.distance, in.render.opacity, in.targets, first,
                                       end, num_rays, in.kind.distance_weight, in.to_distance);
  for (int64_t ray = first; ray < end; ray++)
    seen.loss += in.kind.distortion_weight / (double)num_rays * in.render.distortion[ray];
  RenderGradientsOut here = to_rays;
  if (in.kind.normal_weight > 0 && r.field.reflection_degree) {
    here.normals = in.targets.normals, here.normal_shares = in.normal_shares;
    normal_shares_of_rays(in.targets, first, end, num_rays, in.kind.normal_weight,
                          in.normal_shares);
    seen.loss += normal_loss_of_chunk(chunk, here);
  }
  t.watch.start();
  CompositeGradients& composite = buffers.composite;
  composite_backward_chunk(in.render, in.gradients, nullptr, chunk, to_rays.background, composite);
  if (in.kind.near_fade > 0) fade_near(chunk, in.kind.near_fade, composite);
  if (in.kind.roulette > 0)
    thin_chunk(chunk, composite, r.field.exp_radiance, here.normals, in.kind.roulette,
               random_start(in.render.jitter[chunk.first_ray]), buffers.roulette);
  t.watch.lap(COMPOSITE_BACKWARD);
  out.factors.resize(chunk.count, r.field.grid.num_outputs());
  here.points = out.factors.points.data(), here.features = out.factors.features.data();
  here.num_samples = out.factors.count;
  render_chunk_backward(r, weights, in.render, composite, chunk, 0, here, out.sums, t);
}

static inline void render_fit(NativeField& f, const March& march, const FieldWeights& weights,
                              const uint8_t* bits, FitProblem in, int num_rays,
                              RenderGradientsOut out, float* to_density, float* to_color,
                              FitState& state) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  in.make_room(f.shape.num_channels, num_rays, f.ray_buffer);
  Renderer renderer(f.shape, march);
  std::shared_ptr<const Occupancy> occupancy = occupancy_of(bits, march.cascades);
  const int per_chunk = chunk_rays(num_rays), chunks = (num_rays + per_chunk - 1) / per_chunk;
  while ((int)f.spare.size() < pool_threads()) f.spare.push_back(std::make_unique<ChunkState>());
  state.owner = &f;
  state.factors.swap(f.spare_factors);
  state.factors.resize(chunks);
  std::vector<FitCounts> seen(chunks);
  GroupSums sums(chunks, f.shape.density.num_sums() + f.shape.color.num_sums());
  parallel_for(sums.groups(), [&](int group, int worker) {
    FitBuffers buffers;
    ChunkState& chunk = *f.spare[worker];
    for (int c = sums.begin(group); c < sums.end(group, chunks); c++) {
      chunk.clear(c * per_chunk, std::min(per_chunk, num_rays - c * per_chunk),
                  f.shape.num_channels);
      chunk.latent_rows = f.shape.latent_rows();
      keep_for_backward(f.shape, chunk);
      fit_chunk(renderer, weights, *occupancy, in, num_rays, out, chunk,
                {state.factors[c], seen[c], sums.of(group)}, buffers, f.workspace(worker));
    }
  });
  for (int c = 0; c < chunks; c++) {
    state.marched += seen[c].marched, state.survived += seen[c].survived;
    state.kept += state.factors[c].count;
    state.loss += seen[c].loss;
  }
  const float* total = sums.reduce();
  unpack_sums(f.shape.density, total, to_density);
  unpack_sums(f.shape.color, total + f.shape.density.num_sums(), to_color);
}

// The table's gradient as one part.
static inline void copy_factors(const FitState& state, float* points, float* features) {
  if (!state.owner) return;
  const int rows[2] = {3, state.owner->shape.grid.num_outputs()};
  const FactoredTable parts = state.parts();
  std::vector<int64_t> place(parts.size() + 1);
  for (size_t c = 0; c < parts.size(); c++) place[c + 1] = place[c] + parts[c].n;
  parallel_for((int)parts.size(), [&](int c, int) {
    const int64_t n = parts[c].n;
    if (n == 0) return;  // such a part may have no memory at all
    const float* from[2] = {parts[c].points[0], parts[c].d};
    float* to[2] = {points + place[c], features + place[c]};
    for (int part = 0; part < 2; part++)
      for (int r = 0; r < rows[part]; r++)
        std::memcpy(to[part] + r * state.kept, from[part] + r * n, n * sizeof(float));
  });
}
