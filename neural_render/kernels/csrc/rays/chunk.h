// The survivors of a chunk of rays: what compositing and the backward pass need of them.
#pragma once
#include "field/field.h"

// Neighbouring survivors of one ray.
struct Segment {
  int ray, first, count;  // ray within the chunk
};

// Rows of lanes that grow together, sample by sample.
class Columns {
 public:
  float* row(int r) const { return planes_.row(r); }
  size_t stride() const { return planes_.stride(); }
  // Room for so many samples, and a whole vector behind them, in so many rows; the first `used`
  // samples stay.
  void make_room(int rows, int samples, int used) {
    if (rows <= rows_ && samples + BLOCK <= capacity_) return;
    // There may be no memory for it: nothing changes before it is there.
    const int capacity = std::max(2 * capacity_, samples + 8 * W);
    Plane larger(std::max(rows, rows_), capacity / BLOCK * BLOCK + BLOCK + 16);
    if (used)
      for (int r = 0; r < rows_; r++) std::memcpy(larger.row(r), row(r), used * sizeof(float));
    planes_ = std::move(larger);
    capacity_ = capacity;
    rows_ = std::max(rows, rows_);
  }

 private:
  Plane planes_;
  int rows_ = 0, capacity_ = 0;
};

enum SampleRow { X, Y, Z, MIDDLE, LENGTH, SIGMA, TRANSMITTANCE, WEIGHT, NUM_SAMPLE_ROWS };

// A ray's sums over its samples. `gathered`: weight of samples that no colour has been asked for
// yet, `last`: the chunk's last sample of the ray.
struct RaySums {
  float opacity = 0, moment = 0, distortion = 0, gathered = 0;
  int last = -1;
  void add(float weight, float middle, float length) {
    distortion += 2 * weight * (middle * opacity - moment) + weight * weight * length / 3;
    opacity += weight;
    moment += weight * middle;
  }
};

// Kept from the forward to the backward pass; else only what has a colour of its own is there, its
// latents and weights alone, and the rays' sums.
struct ChunkState {
  std::vector<Segment> segments;
  std::vector<RaySums> sums;
  Columns columns;  // SampleRow, radiance, latents; if kept, features and hidden layers of colour
  int first_ray = 0, num_rays = 0, count = 0;
  int channels = 0, latent_rows = 0, feature_rows = 0;
  int hidden_layers = 0, hidden_rows = 0;  // kept of the colour network: layers of rows
  int64_t marched = 0;
  bool kept = false;

  void clear(int first, int rays, int num_channels) {
    segments.clear();
    sums.assign(rays, {});
    first_ray = first, num_rays = rays, count = 0, marched = 0, channels = num_channels;
    kept = false;
    latent_rows = feature_rows = hidden_layers = hidden_rows = 0;
  }
  void make_room(int samples) {
    // Weight gradients in float32 read blocks of four rows: the last features' may reach behind them.
    constexpr int SPARE = 3;
    columns.make_room(NUM_SAMPLE_ROWS + channels + latent_rows + feature_rows +
                          hidden_layers * hidden_rows + SPARE,
                      samples, count);
  }
  float* row(int r) const { return columns.row(r); }
  float* radiance(int channel) const { return columns.row(NUM_SAMPLE_ROWS + channel); }
  float* latent(int r) const { return columns.row(NUM_SAMPLE_ROWS + channels + r); }
  float* features(int r) const {
    return columns.row(NUM_SAMPLE_ROWS + channels + latent_rows + r);
  }
  Hidden hidden(int first) const {
    Hidden found;
    for (int l = 0; l < hidden_layers; l++)
      found[l] = {features(feature_rows + l * hidden_rows) + first, columns.stride()};
    return found;
  }
};

// Copies `count` samples' lanes of `rows` rows, whole vectors at a time: what is written behind them
// is written again later or never read.
static inline void copy_lanes(const float* from, size_t from_stride, float* to, size_t to_stride,
                              int rows, int count) {
  for (int r = 0; r < rows; r++, from += from_stride, to += to_stride)
    for (int s = 0; s < count; s += W) store(to + s, load(from + s));
}

// Rays of a chunk's samples, in order: for each piece of a segment within [first, first + n),
// `visit(ray, sample from first, count)`.
class RaysInOrder {
 public:
  explicit RaysInOrder(const std::vector<Segment>& segments) : segments_(segments) {}
  template <class Visit>
  void visit(int first, int n, Visit visit) {
    while (at_ < segments_.size() && segments_[at_].first < first + n) {
      const Segment& e = segments_[at_];
      int begin = std::max(e.first, first), end = std::min(e.first + e.count, first + n);
      if (end > begin) visit(e.ray, begin - first, end - begin);
      if (e.first + e.count > first + n) return;
      at_++;
    }
  }

 private:
  const std::vector<Segment>& segments_;
  size_t at_ = 0;
};
