// The door to Python of splats; `kernels/cpu/splats/drawing.py` has checked what comes in.
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "splats/draw.h"

namespace nb = nanobind;

namespace {

using Address = uintptr_t;
using Addresses = std::vector<Address>;

float* f32(Address a) { return reinterpret_cast<float*>(a); }

template <class T>
splats::Arrays<T> make_arrays(const Addresses& a, int64_t count, int degree) {
  return {f32(a[0]), f32(a[1]), f32(a[2]), f32(a[3]), f32(a[4]), count, degree};
}

splats::Camera make_camera(const std::vector<double>& n) {
  splats::Camera c;
  for (int i = 0; i < 12; i++) c.pose[i] = (float)n[i];
  for (int i = 0; i < 2; i++) c.focal[i] = (float)n[12 + i], c.center[i] = (float)n[14 + i];
  for (int i = 0; i < 4; i++) c.reach[i] = (float)n[16 + i];
  c.near = (float)n[20], c.width = (int)n[21], c.height = (int)n[22];
  return c;
}

// Memory of drawings that are no longer needed, for the next ones.
struct Spare {
  std::mutex mutex;
  std::vector<std::unique_ptr<splats::Drawing>> drawings;
};
Spare& spare() {
  static Spare all;
  return all;
}
constexpr size_t MOST_SPARE = 2;

// A picture's drawing, from the picture to its backward pass.
struct Kept {
  std::unique_ptr<splats::Drawing> drawing;
  splats::Camera camera;
  Kept() {
    std::lock_guard<std::mutex> lock(spare().mutex);
    if (!spare().drawings.empty()) {
      drawing = std::move(spare().drawings.back());
      spare().drawings.pop_back();
    } else {
      drawing = std::make_unique<splats::Drawing>();
    }
  }
  Kept(const Kept&) = delete;
  ~Kept() {
    std::lock_guard<std::mutex> lock(spare().mutex);
    if (spare().drawings.size() < MOST_SPARE) spare().drawings.push_back(std::move(drawing));
  }
};

}  // namespace

void bind_splats(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<Kept>(m, "KeptDrawing").def(nb::init<>());
  m.def(
      "draw_splats",
      [](std::vector<double> camera, Addresses given, int64_t count, int degree, Address picture,
         Kept& kept) {
        kept.camera = make_camera(camera);
        splats::draw(kept.camera, make_arrays<const float>(given, count, degree), *kept.drawing,
                     f32(picture));
      },
      Release());
  m.def(
      "draw_splats_backward",
      [](Kept& kept, Address to_picture, Addresses given, int64_t count, int degree, Addresses out,
         Address weights) {
        splats::draw_backward(kept.camera, make_arrays<const float>(given, count, degree),
                              *kept.drawing, f32(to_picture),
                              make_arrays<float>(out, count, degree), f32(weights));
      },
      Release());
}
