// The occupancy grid's upkeep: which cells to look at, where in them, and what follows from what was
// seen there. See `kernels/reference/occupancy.py`, whose results these are.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "pool.h"

namespace occupancy {

constexpr int ROW = 512;  // cells, a block of 8x8x8: what has a sum of its own
constexpr int ROWS = 4096;  // per cascade
constexpr int64_t CELLS_PER_CASCADE = (int64_t)ROW * ROWS;
constexpr int TASK_ROWS = 64;
constexpr int TASKS = ROWS / TASK_ROWS;  // per cascade
constexpr int POINTS_PER_TASK = 4096, POINTS_PER_BLOCK = 256;

// One of three interleaved coordinates of up to 10 bits, x in the lowest bit.
static inline uint32_t gathered(uint32_t v) {
  v &= 0x09249249;
  v = (v | v >> 2) & 0x030C30C3;
  v = (v | v >> 4) & 0x0300F00F;
  v = (v | v >> 8) & 0x030000FF;
  return (v | v >> 16) & 0x3FF;
}

// The first of the eight finer rows that cover a row of a cascade, or -1: rows are covered whole.
static inline int finer_rows(int row) {
  int first = 0;
  for (int a = 0; a < 3; a++) {
    int block = (int)gathered(row >> a) - 4;
    if (block < 0 || block >= 8) return -1;
    first |= (block & 1) << a | (block >> 1 & 1) << (3 + a) | (block >> 2 & 1) << (6 + a);
  }
  return first * 8;
}

// Rows of all cascades are counted on; those of cascade 0 are covered by nothing.
static inline bool covered(int64_t row) { return row >= ROWS && finer_rows(row % ROWS) >= 0; }

struct Choice {
  const float* values;
  const uint8_t* bits;
  int cascades, stripe, num_stripes;
  int64_t num_occupied;
  double start;

  uint64_t word(int64_t row, int index) const {
    uint64_t w;
    std::memcpy(&w, bits + row * (ROW / 8) + index * 8, 8);
    return w;
  }
  bool in_turn(int64_t row) const { return row % num_stripes == stripe; }
};

// Ranks evenly spread over `total`, beginning somewhere in the first interval.
struct Spread {
  int64_t total, wanted;
  double start, interval;
  Spread(int64_t total, int64_t limit, double start)
      : total(total), wanted(std::min(total, limit)), start(start) {
    interval = wanted ? (double)total / (double)wanted : 1;
  }
  int64_t rank(int64_t k) const {
    if (wanted == total) return k;
    return std::min(total - 1, (int64_t)(((double)k + start) * interval));
  }
  // The first k whose rank is not below this one.
  int64_t first_from(int64_t below) const {
    int64_t k = std::max<int64_t>(0, (int64_t)((double)below / interval - start) - 1);
    while (k < wanted && rank(k) < below) k++;
    return std::min(k, wanted);
  }
};

// What the rows of one task contribute: cells in turn, occupied cells.
struct Share {
  int64_t in_turn = 0, occupied = 0;
};

static inline Share count_share(const Choice& q, int task) {
  Share share;
  for (int64_t row = (int64_t)task * TASK_ROWS; row < (int64_t)(task + 1) * TASK_ROWS; row++) {
    if (covered(row)) continue;
    if (q.num_occupied)
      for (int w = 0; w < ROW / 64; w++) share.occupied += __builtin_popcountll(q.word(row, w));
    if (!q.in_turn(row)) continue;
    const float* v = q.values + row * ROW;
    int seen = 0;
    for (int i = 0; i < ROW; i++) seen += v[i] >= 0;
    share.in_turn += seen;
  }
  return share;
}

// Writes the cells of one task in ascending order: `rank` counts the occupied ones so far.
static inline void write_share(const Choice& q, const Spread& spread, int task, int64_t rank,
                               int64_t* out) {
  constexpr int64_t NEVER = std::numeric_limits<int64_t>::max();
  int64_t k = spread.first_from(rank);
  auto rank_of = [&](int64_t k) { return k < spread.wanted ? spread.rank(k) : NEVER; };
  int64_t next = rank_of(k);
  for (int64_t row = (int64_t)task * TASK_ROWS; row < (int64_t)(task + 1) * TASK_ROWS; row++) {
    if (covered(row)) continue;
    const bool turn = q.in_turn(row);
    for (int w = 0; w < ROW / 64; w++) {
      const uint64_t word = q.word(row, w);
      const int64_t cell = row * ROW + w * 64, after = rank + __builtin_popcountll(word);
      auto take = [&](int i) {
        for (; next == rank; next = rank_of(++k)) *out++ = cell + i;
        rank++;
      };
      if (turn) {
        for (int i = 0; i < 64; i++) {
          if (q.values[cell + i] >= 0) *out++ = cell + i;
          if (word >> i & 1) take(i);
        }
      } else if (next < after) {
        for (uint64_t left = word; left; left &= left - 1) take(__builtin_ctzll(left));
      }
      rank = after;
    }
  }
}

// The chosen cells in ascending order; gives their number. A cell may be there twice.
static inline int64_t choose_cells(const Choice& q, int64_t* out) {
  const int tasks = q.cascades * TASKS;
  std::vector<Share> shares(tasks);
  parallel_for(tasks, [&](int task, int) { shares[task] = count_share(q, task); });
  int64_t total = 0;
  for (const Share& share : shares) total += share.occupied;
  const Spread spread(total, q.num_occupied, q.start);
  std::vector<int64_t> places(tasks + 1), ranks(tasks + 1);
  for (int i = 0; i < tasks; i++) {
    ranks[i + 1] = ranks[i] + shares[i].occupied;
    int64_t picked = spread.first_from(ranks[i + 1]) - spread.first_from(ranks[i]);
    places[i + 1] = places[i] + shares[i].in_turn + picked;
  }
  parallel_for(tasks, [&](int task, int) {
    if (places[task + 1] > places[task])
      write_share(q, spread, task, ranks[task], out + places[task]);
  });
  return places[tasks];
}

// splitmix64 (Steele, Lea and Flood 2014): the number of a counter under a key.
static inline uint64_t random_number(uint64_t key, uint64_t counter) {
  uint64_t v = key + (counter + 1) * 0x9E3779B97F4A7C15u;
  v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9u;
  v = (v ^ (v >> 27)) * 0x94D049BB133111EBu;
  return v ^ (v >> 31);
}

// Up to POINTS_PER_BLOCK points. 16 random bits an axis: a float holds them together with the cell,
// so no point is rounded into the neighbouring one. Loops without branches become vectors.
static inline bool block_of_points(const int64_t* cells, int n, int cascades, uint64_t key,
                                   uint64_t first, float* points) {
  uint64_t random[POINTS_PER_BLOCK];
  float sides[POINTS_PER_BLOCK];
  uint64_t wrong = 0;
  for (int i = 0; i < n; i++) {
    random[i] = random_number(key, first + (uint64_t)i);
    const uint64_t cascade = (uint64_t)cells[i] / CELLS_PER_CASCADE;
    wrong |= (uint64_t)(cascade >= (uint64_t)cascades);
    const uint32_t side_bits = (uint32_t)(128 + (int)cascade - cascades) << 23;  // a power of two
    std::memcpy(&sides[i], &side_bits, 4);
  }
  for (int a = 0; a < 3; a++)
    for (int i = 0; i < n; i++) {
      const uint32_t cell = gathered((uint32_t)((uint64_t)cells[i] % CELLS_PER_CASCADE) >> a);
      const uint32_t fine = cell << 16 | (uint32_t)(random[i] >> (16 * a) & 0xFFFF);
      const float inside = ((float)(int32_t)fine + 0.5f) * (1.0f / (1 << 23)) - 0.5f;
      points[3 * i + a] = 0.5f + inside * sides[i];
    }
  return !wrong;
}

// A random point in each cell; false if one is no cell.
static inline bool random_points(const int64_t* cells, int64_t n, int cascades, uint64_t key,
                                 uint64_t first, float* points) {
  const int tasks = (int)((n + POINTS_PER_TASK - 1) / POINTS_PER_TASK);
  std::vector<uint8_t> wrong(tasks);
  parallel_for(tasks, [&](int task, int) {
    const int64_t end = std::min(n, (int64_t)(task + 1) * POINTS_PER_TASK);
    for (int64_t i = (int64_t)task * POINTS_PER_TASK; i < end; i += POINTS_PER_BLOCK) {
      const int some = (int)std::min<int64_t>(POINTS_PER_BLOCK, end - i);
      if (!block_of_points(cells + i, some, cascades, key, first + (uint64_t)i, points + 3 * i))
        wrong[task] = 1;
    }
  });
  return std::find(wrong.begin(), wrong.end(), 1) == wrong.end();
}

struct Grid {
  float* values;
  uint8_t* bits;
  double* rows;   // [cascades rows 2]: sum and number of the seen cells; a sum of NaN is not known
  float* limits;  // that the bits were made with
  int cascades;
};

struct Upkeep {
  std::vector<double> lengths;
  double threshold, decay;
};

struct Seen {
  const int64_t* cells;  // ascending
  const float* density;
  int64_t count;
};

// Gives a covered row the greatest of each eight values in those finer rows that have changed.
static inline bool pool_row(const Grid& g, int64_t row, float longer, const uint8_t* changed) {
  const int64_t finer = (row / ROWS - 1) * ROWS + finer_rows(row % ROWS);
  bool any = false;
  for (int o = 0; o < 8; o++) {
    if (!changed[finer + o]) continue;
    any = true;
    const float* v = g.values + (finer + o) * ROW;
    float* to = g.values + row * ROW + o * 64;
    for (int i = 0; i < 64; i++, v += 8) {
      float most = v[0];
      for (int j = 1; j < 8; j++) most = std::max(most, v[j]);
      to[i] = most < 0 ? most : most * longer;
    }
  }
  return any;
}

// Sum and number of the seen cells of a row; eight lanes on every instruction set, so that the
// order of the sum is the same too.
static inline void sum_row(const float* v, double* out) {
  typedef float Floats __attribute__((vector_size(32)));
  typedef double Doubles __attribute__((vector_size(64)));
  typedef int32_t Counts __attribute__((vector_size(32)));
  Doubles sums[2] = {};
  Counts seen = {};
  for (int i = 0; i < ROW; i += 16)
    for (int half = 0; half < 2; half++) {
      Floats values;
      std::memcpy(&values, v + i + 8 * half, sizeof values);
      const Floats none = {};
      sums[half] += __builtin_convertvector(values > 0 ? values : none, Doubles);
      seen -= values >= 0;
    }
  out[0] = out[1] = 0;
  for (int j = 0; j < 8; j++) out[0] += sums[0][j] + sums[1][j], out[1] += seen[j];
}

static inline void pack_row(const float* v, float limit, uint8_t* bits) {
  for (int i = 0; i < ROW; i += 64) {
    uint8_t above[64];
    for (int j = 0; j < 64; j++) above[j] = v[i + j] > limit;
    for (int j = 0; j < 64; j += 8) {
      uint64_t eight;
      std::memcpy(&eight, above + j, 8);
      *bits++ = eight * 0x0102040810204080u >> 56;  // bit j of the top byte is byte j
    }
  }
}

// Decays the cells of one task and takes in what was seen there; gives their number. Of cells that
// do not ascend it skips some.
static inline int64_t fold_cells(const Grid& g, const Upkeep& upkeep, const Seen& seen, int task,
                              uint8_t* changed) {
  const int64_t begin = (int64_t)task * TASK_ROWS * ROW, end = begin + TASK_ROWS * ROW;
  const int64_t* last = seen.cells + seen.count;
  const int64_t* const first = std::lower_bound(seen.cells, last, begin);
  const int64_t* cell = first;
  const float length = (float)upkeep.lengths[task / TASKS], decay = (float)upkeep.decay;
  for (int64_t before = begin; cell < last && before <= *cell && *cell < end; before = *cell++) {
    float& value = g.values[*cell];
    // A cell that comes twice decays once.
    const float kept = cell > first && *cell == before ? value : value * decay;
    const float fresh = seen.density[cell - seen.cells] * length;
    value = fresh > kept ? fresh : kept;
    changed[*cell / ROW] = 1;
  }
  return cell - first;
}

// The density above which each cascade's cells are occupied, as the opacity of its step.
static inline std::vector<float> new_limits(const Grid& g, const Upkeep& upkeep) {
  double density = 0, num_seen = 0;
  for (int c = 0; c < g.cascades; c++) {
    double total = 0;
    for (const double* row = g.rows + 2 * c * ROWS; row < g.rows + 2 * (c + 1) * ROWS; row += 2)
      total += row[0], num_seen += row[1];
    density += total / upkeep.lengths[c];
  }
  const double mean = density / std::max(1.0, num_seen);
  std::vector<float> limits;
  for (double length : upkeep.lengths)
    limits.push_back((float)(mean * length < upkeep.threshold ? mean * length : upkeep.threshold));
  return limits;
}

// Takes in densities and brings all that follows from the values up to date, of the rows that have
// changed; false, and not all taken in, if the cells do not ascend or there is no such cell.
static inline bool update(const Grid& g, const Upkeep& upkeep, const Seen& seen) {
  std::vector<uint8_t> changed((size_t)g.cascades * ROWS);
  std::vector<int64_t> folded((size_t)g.cascades * TASKS);
  for (int c = 0; c < g.cascades; c++) {
    const float longer = c ? (float)(upkeep.lengths[c] / upkeep.lengths[c - 1]) : 1;
    parallel_for(TASKS, [&](int index, int) {
      const int task = c * TASKS + index;
      folded[task] = fold_cells(g, upkeep, seen, task, changed.data());
      for (int64_t row = (int64_t)task * TASK_ROWS; row < (int64_t)(task + 1) * TASK_ROWS; row++) {
        if (covered(row) && pool_row(g, row, longer, changed.data())) changed[row] = 1;
        if (std::isnan(g.rows[2 * row])) changed[row] = 1;
        if (changed[row]) sum_row(g.values + row * ROW, g.rows + 2 * row);
      }
    });
  }
  const std::vector<float> limits = new_limits(g, upkeep);
  parallel_for(g.cascades * TASKS, [&](int task, int) {
    const int c = task / TASKS;
    for (int64_t row = (int64_t)task * TASK_ROWS; row < (int64_t)(task + 1) * TASK_ROWS; row++)
      if (changed[row] || limits[c] != g.limits[c])
        pack_row(g.values + row * ROW, limits[c], g.bits + row * (ROW / 8));
  });
  std::copy(limits.begin(), limits.end(), g.limits);
  return std::accumulate(folded.begin(), folded.end(), (int64_t)0) == seen.count;
}

}  // namespace occupancy
