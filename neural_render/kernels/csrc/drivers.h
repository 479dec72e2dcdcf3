// Each op on whole arrays: cut into tiles or chunks, handed to the pool, reduced in a fixed order.
#pragma once
#include <memory>
#include <mutex>

#include "pool.h"
#include "rays/backward.h"
#include "table.h"

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

// Without a backward pass to come, a chunk's survivors are forgotten with the chunk: each thread
// has one buffer, so a picture of fog needs no more memory than one of glass.
static inline void render_forward(NativeField& f, const March& march,
                                  std::unique_ptr<FieldWeights> weights, const uint8_t* bits, const RenderProblem& in, int num_rays,
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
    chunk.clear(c * per_chunk, std::min(per_chunk, num_rays - c * per_chunk),
                f.shape.num_channels);
    chunk.latent_rows = f.shape.latent_rows();
    if (keep) {
      chunk.feature_rows = f.shape.feature_rows();
      chunk.hidden_layers = f.shape.color.hidden_layers;
      chunk.hidden_rows = pad_rows(f.shape.color.width);
    }
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
