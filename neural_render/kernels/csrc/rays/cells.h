// Which cells are occupied, and how far around them nothing is: what a walk along a ray asks.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

constexpr int CELLS = 128;
constexpr int CASCADE_BITS = CELLS * CELLS * CELLS;
constexpr int WORDS = CASCADE_BITS / 64;  // 4x4x4 cells a word
constexpr int WORDS_ALONG = CELLS / 4;    // an axis: a row of them is a number's bits
constexpr int OCTANTS = 8;                // bit a: not against axis a

// The lowest seven bits' places are every third one of `v`.
static inline int gather_bits(uint32_t v) {
  v &= 0x49249u;
  v = (v | v >> 2) & 0x430c3u;
  v = (v | v >> 4) & 0x700fu;
  return (int)((v | v >> 8) & 0x7fu);
}

// Words of one cascade as bits: row y of plane z is rows[z * WORDS_ALONG + y], x its bits.
struct WordSet {
  uint32_t rows[WORDS_ALONG * WORDS_ALONG] = {};

  // Words from which on a cube of twice the side is in the set, if this set has those of cubes of
  // `side` words, which extend into `octant`. Beyond the border everything is in the set if it is
  // `open`, else nothing.
  WordSet doubled(int side, int octant, bool open) const {
    const uint32_t beyond = open ? ~0u : 0u;
    // Along x, within rows.
    WordSet x;
    for (int r = 0; r < WORDS_ALONG * WORDS_ALONG; r++) {
      uint32_t next = octant & 1 ? rows[r] >> side | beyond << (WORDS_ALONG - side)
                                : rows[r] << side | beyond >> (WORDS_ALONG - side);
      x.rows[r] = rows[r] & next;
    }
    return x.joined(side, octant >> 1 & 1, beyond, 1)
        .joined(side, octant >> 2 & 1, beyond, WORDS_ALONG);
  }

 private:
  // Along y or z, whose neighbours are `stride` rows apart.
  WordSet joined(int side, bool ahead, uint32_t beyond, int stride) const {
    WordSet found;
    for (int r = 0; r < WORDS_ALONG * WORDS_ALONG; r++) {
      int at = r / stride % WORDS_ALONG + (ahead ? side : -side);
      bool there = at >= 0 && at < WORDS_ALONG;
      found.rows[r] = rows[r] & (there ? rows[r + (ahead ? side : -side) * stride] : beyond);
    }
    return found;
  }
};

// Occupancy bits and the empty cube ahead of each word of them, for each direction, so that empty
// space is left in long strides; and the box around all that is occupied, outside of which no ray
// begins or ends.
class Occupancy {
 public:
  int cascades;
  float low[3] = {1, 1, 1}, high[3] = {0, 0, 0};

  Occupancy(const uint8_t* bits, int cascades)
      : cascades(cascades),
        bits_(bits, bits + num_bytes(cascades)),
        ahead_((size_t)cascades * OCTANTS * WORDS + 3) {
    for (int c = 0; c < cascades; c++) {
      WordSet occupied = occupied_words(c);
      enclose(c, occupied);
      look_ahead(c, occupied);
    }
  }
  bool empty() const { return low[0] > high[0]; }
  bool is_of(const uint8_t* bits, int number) const {
    return number == cascades && !std::memcmp(bits, bits_.data(), bits_.size());
  }
  // Of all cells, in Morton order, cascade after cascade.
  const uint8_t* bits() const { return bits_.data(); }
  // [cascades, octants, z, y, x]: for an empty word the side of an empty cube, in cells, whose
  // hindmost word it is; 2 for one that is occupied (one of its bytes, 2x2x2 cells, may be empty).
  // No cube is partly in the next finer cascade. Three more bytes can be read behind it.
  const uint8_t* ahead() const { return ahead_.data(); }

 private:
  std::vector<uint8_t> bits_, ahead_;

  static size_t num_bytes(int cascades) { return (size_t)cascades * CASCADE_BITS / 8; }

  WordSet occupied_words(int cascade) const {
    WordSet found;
    const uint8_t* from = bits_.data() + num_bytes(cascade);
    for (uint32_t i = 0; i < WORDS; i++) {
      uint64_t word;
      std::memcpy(&word, from + 8 * i, sizeof word);
      if (!word) continue;
      int x = gather_bits(i), y = gather_bits(i >> 1), z = gather_bits(i >> 2);
      found.rows[z * WORDS_ALONG + y] |= 1u << x;
    }
    return found;
  }

  void enclose(int cascade, const WordSet& occupied) {
    float side = std::ldexp(1.0f, cascade - cascades + 1), word = side / WORDS_ALONG;
    for (int z = 0; z < WORDS_ALONG; z++)
      for (int y = 0; y < WORDS_ALONG; y++)
        for (int x = 0; x < WORDS_ALONG; x++) {
          if (!(occupied.rows[z * WORDS_ALONG + y] >> x & 1)) continue;
          const int at[3] = {x, y, z};
          for (int a = 0; a < 3; a++) {
            low[a] = std::min(low[a], 0.5f - 0.5f * side + at[a] * word);
            high[a] = std::max(high[a], 0.5f - 0.5f * side + (at[a] + 1) * word);
          }
        }
  }

  // Words of the next finer cascade's cube.
  static bool is_inner(int word) { return word >= WORDS_ALONG / 4 && word < WORDS_ALONG * 3 / 4; }

  // Cubes outside of the next finer cascade's, part 0, and within it, part 1. Where one is empty
  // smaller ones are, too: so their number tells the side.
  void look_ahead(int cascade, const WordSet& occupied) {
    const uint32_t inner = ((1u << WORDS_ALONG / 2) - 1) << WORDS_ALONG / 4;
    for (int octant = 0; octant < OCTANTS; octant++) {
      uint8_t number[WORDS] = {};  // of empty cubes, whose sides are 1, 2, 4, ... words
      for (int part = 0; part < (cascade ? 2 : 1); part++) {
        WordSet empty;
        for (int r = 0; r < WORDS_ALONG * WORDS_ALONG; r++) {
          bool crosses = cascade && is_inner(r % WORDS_ALONG) && is_inner(r / WORDS_ALONG);
          uint32_t finer = crosses ? inner : 0;
          empty.rows[r] = ~occupied.rows[r] & (part ? finer : ~finer);
        }
        count(empty, number);
        for (int side = 1; side < WORDS_ALONG; side *= 2) {
          empty = empty.doubled(side, octant, cascade == cascades - 1);
          count(empty, number);
        }
      }
      uint8_t* to = ahead_.data() + ((size_t)cascade * OCTANTS + octant) * WORDS;
      for (int i = 0; i < WORDS; i++) to[i] = (uint8_t)(2 << number[i]);
    }
  }

  static void count(const WordSet& set, uint8_t* number) {
    for (int r = 0; r < WORDS_ALONG * WORDS_ALONG; r++)
      for (int x = 0; x < WORDS_ALONG; x++) number[r * WORDS_ALONG + x] += set.rows[r] >> x & 1;
  }
};

// What is known of the same bits is found once: they change much less often than they are asked.
inline std::shared_ptr<const Occupancy> occupancy_of(const uint8_t* bits, int cascades) {
  static std::mutex mutex;
  // Never destroyed: threads may be at work when the program ends.
  static auto& last = *new std::shared_ptr<const Occupancy>;
  std::lock_guard<std::mutex> lock(mutex);
  if (!last || !last->is_of(bits, cascades)) last = std::make_shared<Occupancy>(bits, cascades);
  return last;
}
