// products.h for processors with matrix tiles (Intel AMX): 16 rows of 16 lanes each, of which one
// instruction adds the product of two to a third. A plane's rows are such a tile as they lie: neurons
// by pairs, samples side by side. Included by products.h.
#include <immintrin.h>

constexpr int TILE_ROWS = 16;
static_assert(W == 16 && PER == 2 && TILE_ROWS % JB == 0, "tiles are of 16 rows of 16 lanes");

// A layer's weights: output by output, whole tiles of them.
static inline size_t num_weights(int outs, int rows) {
  return (size_t)round_up(outs, TILE_ROWS) * rows;
}
static inline size_t weight_place(int out, int row, int rows) { return (size_t)out * rows + row; }

// Sums: tiles of 16 neurons of the inputs by 16 outputs.
static inline int num_sums(int outs, int columns) {
  return round_up(outs, TILE_ROWS) * round_up(columns, TILE_ROWS);
}
static inline size_t sum_place(int out, int column, int columns) {
  const int tiles = round_up(columns, TILE_ROWS) / TILE_ROWS;
  return ((size_t)(out / TILE_ROWS) * tiles + column / TILE_ROWS) * TILE_ROWS * W +
         column % TILE_ROWS * W + out % TILE_ROWS;
}

// The sizes of this thread's tiles while it lives: 5 has `left` lanes in a row, 6 and 7 have `left`
// rows, unless that is 0; all others are whole. To be made after all stores to what tiles load: its
// asm is the barrier that the compiler's own loads of tiles lack.
class Tiles {
 public:
  explicit Tiles(int left) {
    struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } sizes;
    for (int t = 0; t < 8; t++) sizes.row_bytes[t] = W * sizeof(float), sizes.rows[t] = TILE_ROWS;
    if (left) {
      sizes.row_bytes[5] = left * sizeof(float);
      sizes.rows[6] = sizes.rows[7] = left;
    }
    asm volatile("" : : "m"(sizes) : "memory");
    _tile_loadconfig(&sizes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// As with vectors: sum_k w[j][k] in[k] for whole blocks of JB outputs of n samples.
template <class Finish>
static inline void product(const float* w, int outs, int rows, const float* in, int stride, int n,
                           Finish finish) {
  const int whole = rows / TILE_ROWS, left = rows % TILE_ROWS;
  const long row_bytes = rows * sizeof(float), stride_bytes = (long)stride * sizeof(float);
  constexpr long sum_bytes = W * sizeof(float);
  alignas(64) float sums[2][TILE_ROWS * W];
  Tiles tiles(left);
  for (int s = 0; s < n; s += BLOCK)
    for (int first = 0; first < outs; first += TILE_ROWS) {
      const float *a = w + (size_t)first * rows, *b = in + s;
      _tile_zero(0);
      _tile_zero(1);
      for (int k = 0; k < whole; k++, a += W, b += (size_t)TILE_ROWS * stride) {
        _tile_loadd(2, a, row_bytes);
        _tile_loadd(3, b, stride_bytes);
        _tile_loadd(4, b + W, stride_bytes);
        _tile_dpbf16ps(0, 2, 3);
        _tile_dpbf16ps(1, 2, 4);
      }
      if (left) {
        _tile_loadd(5, a, row_bytes);
        _tile_loadd(6, b, stride_bytes);
        _tile_loadd(7, b + W, stride_bytes);
        _tile_dpbf16ps(0, 5, 6);
        _tile_dpbf16ps(1, 5, 7);
      }
      _tile_stored(0, sums[0], sum_bytes);
      _tile_stored(1, sums[1], sum_bytes);
      for (int j = 0; j < TILE_ROWS && first + j < outs; j += JB) {
        vf acc[JB][2];
#pragma GCC unroll 8
        for (int i = 0; i < JB; i++)
          for (int h = 0; h < 2; h++) acc[i][h] = load(sums[h] + (j + i) * W);
        finish(first + j, s, acc);
      }
    }
}

// Lanes whose number has bit H go from a to b, the others from b to a.
template <int H, size_t... I>
static inline void exchange(vf& a, vf& b, std::index_sequence<I...>) {
  vf x = __builtin_shufflevector(a, b, (int)(I & H ? W + I - H : I)...);
  b = __builtin_shufflevector(a, b, (int)(I & H ? W + I : I + H)...);
  a = x;
}
template <int H>
static inline void exchange_rows(vf (&x)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++)
    if (!(i & H)) exchange<H>(x[i], x[i + H], LaneNumbers());
}

// Transposes 16 rows of `lanes` lanes, 16 by 16, in place.
static inline void transpose_tiles(float* rows, int stride, int lanes) {
  for (int s = 0; s < lanes; s += W) {
    vf x[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) x[i] = load(rows + (size_t)i * stride + s);
    exchange_rows<8>(x), exchange_rows<4>(x), exchange_rows<2>(x), exchange_rows<1>(x);
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) store(rows + (size_t)i * stride + s, x[i]);
  }
}

// As with vectors: adds the sums of d[j] in[k] over n samples. Rows behind the last neuron, whatever
// is in them, come to sums of their own, which are never unpacked.
static inline void weight_gradient(Lanes d, int outs, Lanes in, int rows, int n,
                                   GradientRoom& room, float* sums) {
  const int lanes = n / PER, columns = rows * PER;
  const Lanes y = by_sample(d, rows_of(outs), n, room.d), x = by_sample(in, rows, n, room.in);
  for (int j = 0; j < outs; j += TILE_ROWS) transpose_tiles(y.row(j), y.stride, lanes);
  const long x_bytes = (long)x.stride * sizeof(float), y_bytes = (long)y.stride * sizeof(float);
  constexpr long sum_bytes = W * sizeof(float);
  constexpr int SUMS = TILE_ROWS * W;  // in a tile
  Tiles tiles(0);
  for (int j = 0; j < outs; j += TILE_ROWS)
    for (int k = 0; k < columns; k += 4 * TILE_ROWS) {
      const int count = std::min(4, (columns - k + TILE_ROWS - 1) / TILE_ROWS);
      _tile_loadd(0, sums, sum_bytes);
      if (count > 1) _tile_loadd(1, sums + SUMS, sum_bytes);
      if (count > 2) _tile_loadd(2, sums + 2 * SUMS, sum_bytes);
      if (count > 3) _tile_loadd(3, sums + 3 * SUMS, sum_bytes);
      for (int s = 0; s < lanes; s += W) {
        const float* a = x.row(k) + s;
        _tile_loadd(6, y.row(j) + s, y_bytes);
        _tile_loadd(4, a, x_bytes);
        _tile_dpbf16ps(0, 4, 6);
        if (count > 1) {
          _tile_loadd(5, a + (size_t)TILE_ROWS * x.stride, x_bytes);
          _tile_dpbf16ps(1, 5, 6);
        }
        if (count > 2) {
          _tile_loadd(4, a + (size_t)2 * TILE_ROWS * x.stride, x_bytes);
          _tile_dpbf16ps(2, 4, 6);
        }
        if (count > 3) {
          _tile_loadd(5, a + (size_t)3 * TILE_ROWS * x.stride, x_bytes);
          _tile_dpbf16ps(3, 5, 6);
        }
      }
      _tile_stored(0, sums, sum_bytes);
      if (count > 1) _tile_stored(1, sums + SUMS, sum_bytes);
      if (count > 2) _tile_stored(2, sums + 2 * SUMS, sum_bytes);
      if (count > 3) _tile_stored(3, sums + 3 * SUMS, sum_bytes);
      sums += (size_t)count * SUMS;
    }
}
