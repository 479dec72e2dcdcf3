// The door to Python of the occupancy grid's upkeep (see `module.cpp`).
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include "rays/occupancy.h"

namespace nb = nanobind;
using Address = uintptr_t;

void bind_occupancy(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  m.def(
      "occupancy_cells",
      [](Address values, Address bits, std::vector<int> stripe, int64_t num_occupied, double start,
         Address out) {
        occupancy::Choice choice{reinterpret_cast<const float*>(values),
                                 reinterpret_cast<const uint8_t*>(bits),
                                 stripe[0], stripe[1], stripe[2], num_occupied, start};
        return occupancy::choose_cells(choice, reinterpret_cast<int64_t*>(out));
      },
      Release());
  m.def(
      "occupancy_points",
      [](Address cells, int64_t n, int cascades, uint64_t key, uint64_t first, Address out) {
        return occupancy::random_points(reinterpret_cast<const int64_t*>(cells), n, cascades, key,
                                        first, reinterpret_cast<float*>(out));
      },
      Release());
  m.def(
      "occupancy_update",
      [](std::vector<Address> grid, std::vector<double> lengths, double threshold, double decay,
         Address cells, Address density, int64_t n) {
        occupancy::Grid g{reinterpret_cast<float*>(grid[0]), reinterpret_cast<uint8_t*>(grid[1]),
                          reinterpret_cast<double*>(grid[2]), reinterpret_cast<float*>(grid[3]),
                          (int)lengths.size()};
        return occupancy::update(g, {lengths, threshold, decay},
                                 {reinterpret_cast<const int64_t*>(cells),
                                  reinterpret_cast<const float*>(density), n});
      },
      Release());
}
