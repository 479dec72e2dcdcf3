// What changes the table: scatter of a factored gradient, Adam, rounding to entries.
#pragma once
#include <mutex>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

#include "field/adam.h"
#include "field/scatter.h"
#include "phases.h"
#include "pool.h"

// Asks for large pages for memory that is looked up all over: fewer address translations. A wish,
// which systems may ignore. What is there already is moved into large pages where they can do so.
static inline void use_large_pages(void* memory, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t PAGE = 2 << 20;
  uintptr_t first = ((uintptr_t)memory + PAGE - 1) / PAGE * PAGE;
  uintptr_t end = ((uintptr_t)memory + bytes) / PAGE * PAGE;
  if (end <= first) return;
  madvise((void*)first, end - first, MADV_HUGEPAGE);
  constexpr int COLLAPSE = 25;  // MADV_COLLAPSE, Linux 6.1
  madvise((void*)first, end - first, COLLAPSE);
#else
  (void)memory, (void)bytes;
#endif
}

// Room for the gradient of one level, all zeros before and after.
class LevelGradient {
 public:
  explicit LevelGradient(size_t size) {
    {
      std::lock_guard<std::mutex> lock(mutex());
      if (!free().empty()) {
        values_.swap(free().back());
        free().pop_back();
      }
    }
    if (values_.size() >= size) return;
    values_.resize(size, 0.0f);
    use_large_pages(values_.data(), size * sizeof(float));
  }
  ~LevelGradient() {
    std::lock_guard<std::mutex> lock(mutex());
    free().push_back(std::move(values_));
  }
  LevelGradient(const LevelGradient&) = delete;
  float* data() { return values_.data(); }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  // As many as ever were in use at once.
  static std::vector<std::vector<float>>& free() {
    static std::vector<std::vector<float>> f;
    return f;
  }
  std::vector<float> values_;
};

// A part of a factored gradient: points and feature gradients of n samples, planar.
struct FactoredPart {
  const float* points[4];
  const float* d;
  int64_t n;
};
typedef std::vector<FactoredPart> FactoredTable;

// The part whose `dims` rows of points follow one another.
static inline FactoredPart factored_part(const float* points, int dims, const float* d, int64_t n) {
  FactoredPart part{{}, d, n};
  for (int k = 0; k < dims; k++) part.points[k] = points + k * n;
  return part;
}

// Whether all points lie in [0, 1]: beside it a lookup would leave the table. False for NaN.
static inline bool points_in_cube(const std::vector<const float*>& rows, int64_t n) {
  bool inside = true;
  for (const float* x : rows)
    for (int64_t i = 0; i < n; i++) inside &= (x[i] >= 0) & (x[i] <= 1);
  return inside;
}

// The scatter of level `l` to `use(gradient)`, which clears it.
template <class Use>
static inline void scatter_to(const Grid& grid, int l, const FactoredTable& in, Use use) {
  Stopwatch watch;
  watch.start();
  const Level& level = grid.levels[l];
  LevelGradient g(gradient_size(level, grid.features));
  for (const FactoredPart& part : in)
    scatter_level(grid, level, part.points, part.d + (size_t)l * grid.features * part.n, part.n,
                  (int)part.n, g.data());
  fold_last_row(level, grid.features, g.data());
  watch.lap(SCATTER);
  use(g.data());
  watch.lap(ADAM);
}

// Its scatter into a dense, zeroed table.
static inline void scatter_table(const Grid& grid, const FactoredTable& in, float* to_table) {
  parallel_for(grid.num_levels(), [&](int l, int) {
    scatter_to(grid, l, in, [&](float* g) {
      size_t size = (size_t)grid.levels[l].rows * grid.features;
      std::memcpy(to_table + (size_t)grid.levels[l].offset * grid.features, g,
                  size * sizeof(float));
      std::memset(g, 0, size * sizeof(float));
    });
  });
}

// The row behind a level of entries that repeats its first row.
static inline void mirror_first_row(const Grid& grid, int l, Entry* entries) {
  if (SPARE_ROWS == 0) return;
  Entry* level = entries + entry_offset(grid, l);
  std::memcpy(level + (size_t)grid.levels[l].rows * grid.features, level,
              grid.features * sizeof(Entry));
}

// The rounded copy of a whole table.
static inline void round_table(const Grid& grid, const float* table, Entry* entries) {
  parallel_for(grid.num_levels(), [&](int l, int) {
    const Level& level = grid.levels[l];
    const float* from = table + (size_t)level.offset * grid.features;
    Entry* to = entries + entry_offset(grid, l);
    for (size_t i = 0; i < (size_t)level.rows * grid.features; i++) to[i] = entry_of(from[i]);
    mirror_first_row(grid, l, entries);
  });
}

// What a step of the table changes; `entries` (may be null) stay the table's rounded copy.
struct TableState {
  float *table, *second;
  Entry* entries;
};

// Scatter and Adam, a level a task, the finest (largest) first; `later`: see `parallel_later`.
static inline void table_adam(const Grid& grid, const RowStep& step, FactoredTable in,
                              const TableState& to, bool later) {
  auto task = [&grid, step, in = std::move(in), to](int index, int) {
    const int l = grid.num_levels() - 1 - index;
    const Level& level = grid.levels[l];
    Entry* entries = to.entries ? to.entries + entry_offset(grid, l) : nullptr;
    scatter_to(grid, l, in, [&](float* g) {
      step_rows(step, to.table + (size_t)level.offset * grid.features, to.second + level.offset, g,
                level.rows, grid.features, entries);
    });
    if (entries) mirror_first_row(grid, l, to.entries);
  };
  if (later)
    parallel_later(grid.num_levels(), std::move(task));
  else
    parallel_for(grid.num_levels(), task);
}

static inline void adam_array(const Adam& adam, float* w, float* m, float* v, const float* g,
                              int64_t n) {
  constexpr int64_t BLOCK_VALUES = 1 << 16;
  parallel_beside((int)((n + BLOCK_VALUES - 1) / BLOCK_VALUES), [&](int task, int) {
    int64_t at = task * BLOCK_VALUES, count = std::min(BLOCK_VALUES, n - at);
    adam_range(adam, w + at, m + at, v + at, g + at, count);
  });
}

// The step of rows whose gradient is there already, and is cleared.
static inline void adam_rows(const RowStep& step, float* w, float* second, float* g, int64_t rows,
                             int features) {
  constexpr int64_t BLOCK_ROWS = 1 << 15;
  parallel_for((int)((rows + BLOCK_ROWS - 1) / BLOCK_ROWS), [&](int task, int) {
    int64_t at = task * BLOCK_ROWS;
    step_rows(step, w + at * features, second + at, g + at * features,
              std::min(BLOCK_ROWS, rows - at), features, nullptr);
  });
}
