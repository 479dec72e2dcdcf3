// Each op on whole arrays: cut into tiles or chunks, handed to the pool, reduced in a fixed order.
#pragma once
#include <memory>
#include <mutex>

#include "adam.h"
#include "rays/backward.h"
#include "pool.h"

// A field with its threads' buffers. One op at a time.
struct NativeField {
  FieldShape shape;
  std::vector<std::unique_ptr<Workspace>> workspaces;
  std::vector<std::unique_ptr<ChunkState>> spare;  // chunk buffers, reused between calls
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
    per_group_ = std::max(1, (tasks + 63) / 64);
    groups_ = (tasks + per_group_ - 1) / per_group_;
    sums_.assign((size_t)groups_ * size, 0.0f);
  }
  int groups() const { return groups_; }
  int begin(int group) const { return group * per_group_; }
  int end(int group, int tasks) const { return std::min(tasks, (group + 1) * per_group_); }
  float* of(int group) { return &sums_[(size_t)group * size_]; }
  void reduce(float* out) const {
    std::memset(out, 0, size_ * sizeof(float));
    for (int group = 0; group < groups_; group++)
      for (int i = 0; i < size_; i++) out[i] += sums_[(size_t)group * size_ + i];
  }

 private:
  int size_, per_group_, groups_;
  std::vector<float> sums_;
};

constexpr int CHUNK_RAYS = 128;
// Fewer rays a chunk where there are few, because each is then long: all threads get some.
static inline int chunk_rays(int num_rays) {
  return std::min(CHUNK_RAYS, std::max(8, num_rays / 16 / 8 * 8));
}

// What stays between render_rays and its backward pass.
struct RenderState {
  NativeField* owner = nullptr;
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

// Without a backward pass to come, a chunk's survivors are forgotten with the chunk: each thread
// has one buffer, so a picture of fog needs no more memory than one of glass.
static inline void render_forward(NativeField& f, const March& march, const FieldWeights& weights,
                                  const uint8_t* bits, const RenderProblem& in, int num_rays,
                                  bool keep, RenderState& state) {
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
    chunk.clear(c * per_chunk, std::min(per_chunk, num_rays - c * per_chunk));
    render_chunk(renderer, weights, occupancy, in, keep, chunk, f.workspace(worker));
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
    return;
  }
  for (auto& chunk : state.chunks) f.spare.push_back(std::move(chunk));
  state.chunks.clear();
}

static inline void render_backward(NativeField& f, const March& march, const FieldWeights& weights,
                                   const RenderProblem& in, const RenderGradientsIn& g,
                                   const RenderState& state, const RenderGradientsOut& out,
                                   float* to_density, float* to_color) {
  std::lock_guard<std::mutex> lock(f.mutex);
  f.prepare();
  Renderer renderer(f.shape, march);
  int chunks = (int)state.chunks.size();
  int nd = f.shape.density.num_weights(), nc = f.shape.color.num_weights();
  GroupSums sums(chunks, nd + nc);
  parallel_for(sums.groups(), [&](int group, int worker) {
    for (int c = sums.begin(group); c < sums.end(group, chunks); c++)
      render_chunk_backward(renderer, weights, in, g, *state.chunks[c], state.place[c], out,
                            sums.of(group), sums.of(group) + nd, f.workspace(worker));
  });
  std::vector<float> total(nd + nc);
  sums.reduce(total.data());
  std::memcpy(to_density, total.data(), nd * sizeof(float));
  std::memcpy(to_color, total.data() + nd, nc * sizeof(float));
}

// A factored gradient's scatter into a dense, zeroed table; levels are owned by one task each.
static inline void scatter_table(const Grid& grid, const float* const* points, const float* d,
                                 int64_t n, float* to_table) {
  parallel_for((int)grid.levels.size(), [&](int l, int) {
    const Level& level = grid.levels[l];
    scatter_level(grid, level, points, d + (size_t)l * grid.features * n, n, (int)n,
                  to_table + (size_t)level.offset * grid.features);
  });
}

// Scatter and Adam level by level, finest (largest) first: one level's gradient per thread.
static inline void table_adam(const Grid& grid, const Adam& adam, const float* const* points,
                              const float* d, int64_t n, float* table, float* m, float* v) {
  static std::vector<std::vector<float>> scratch;  // all zeros between calls
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  scratch.resize(std::max<size_t>(scratch.size(), pool_threads()));
  int levels = (int)grid.levels.size();
  parallel_for(levels, [&](int task, int worker) {
    int l = levels - 1 - task;
    const Level& level = grid.levels[l];
    size_t size = (size_t)level.rows * grid.features, at = (size_t)level.offset * grid.features;
    std::vector<float>& g = scratch[worker];
    if (g.size() < size) g.resize(size, 0.0f);
    scatter_level(grid, level, points, d + (size_t)l * grid.features * n, n, (int)n, g.data());
    adam_range(adam, table + at, m + at, v + at, g.data(), size, grid.features, true);
  });
}

static inline void adam_array(const Adam& adam, float* w, float* m, float* v, const float* g,
                              int64_t n, int features) {
  const int64_t block = (int64_t)(1 << 16) * std::max(1, features);
  parallel_for((int)((n + block - 1) / block), [&](int task, int) {
    int64_t at = task * block, count = std::min(block, n - at);
    adam_range(adam, w + at, m + at, v + at, const_cast<float*>(g) + at, count, features, false);
  });
}
