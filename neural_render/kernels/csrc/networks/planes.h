// Rows of lanes (numbers.h), one sample beside the other: what networks read and write.
#pragma once
#include <memory>
#include <new>

#include "field/numbers.h"

constexpr int BLOCK = 2 * W;  // samples per inner block
static inline int round_up(int n, int to) { return (n + to - 1) / to * to; }
static inline int pad4(int n) { return round_up(n, 4); }
static inline int pad8(int n) { return round_up(n, 8); }
static inline int pad_block(int n) { return round_up(n, BLOCK); }

// Rows of `stride` lanes, 64-byte aligned, zero at first.
class Plane {
 public:
  Plane() = default;
  Plane(int rows, int stride) { reserve(rows, stride); }
  void reserve(int rows, int stride) {
    size_t bytes = ((size_t)pad8(rows) * stride * sizeof(float) + 63) / 64 * 64;
    data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, bytes);
    stride_ = stride;
  }
  float* row(int r) const { return data_.get() + (size_t)r * stride_; }
  int stride() const { return stride_; }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  int stride_ = 0;
};

// Rows of a plane from some sample on.
struct Lanes {
  float* rows = nullptr;
  int stride = 0;
  Lanes() = default;
  Lanes(float* rows, size_t stride) : rows(rows), stride((int)stride) {}
  Lanes(const Plane& plane) : Lanes(plane.row(0), plane.stride()) {}
  float* row(int r) const { return rows + (size_t)r * stride; }
  Lanes from(int sample) const { return {rows + sample, (size_t)stride}; }
};
