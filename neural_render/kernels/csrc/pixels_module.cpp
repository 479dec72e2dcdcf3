// The door to Python for rays through pixels; `kernels/cpu/pixels.py` has checked what comes in.
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <vector>

#include "rays/pixels.h"

namespace nb = nanobind;

namespace {

using Address = uintptr_t;
using Addresses = std::vector<Address>;
using Numbers = std::vector<int64_t>;

float* f32(Address a) { return reinterpret_cast<float*>(a); }
int64_t* i64(Address a) { return reinterpret_cast<int64_t*>(a); }
const uint8_t* u8(Address a) { return reinterpret_cast<const uint8_t*>(a); }

PixelLayout make_layout(const Addresses& a, const Numbers& numbers) {
  return PixelLayout(i64(a[0]), i64(a[1]), i64(a[2]), numbers.data());
}

}  // namespace

void bind_pixels(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  m.def(
      "shoot_rays",
      [](Addresses layout, Numbers numbers, Addresses views, Address pixel, int64_t n,
         Addresses out) {
        PixelViews in{make_layout(layout, numbers),
                      u8(views[0]),
                      f32(views[1]),
                      f32(views[2]),
                      f32(views[3]),
                      i64(views[4]),
                      (int)numbers[4],
                      (int)numbers[5]};
        PixelRays rays{f32(out[0]), f32(out[1]), f32(out[2]), f32(out[3]),
                       f32(out[4]), i64(out[5]), i64(out[6])};
        return shoot_rays(in, i64(pixel), n, rays);
      },
      Release());
  m.def(
      "pick_pixels",
      [](Addresses layout, Numbers numbers, Address masks, Address block, Address place, int64_t n,
         Address pixel) {
        return pick_pixels(make_layout(layout, numbers), u8(masks), i64(block),
                           reinterpret_cast<const double*>(place), n, i64(pixel));
      },
      Release());
}
