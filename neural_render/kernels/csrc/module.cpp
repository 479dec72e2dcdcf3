// The door to Python. Arrays come as addresses: `kernels/cpu/native.py` has checked their types,
// sizes and layout, and keeps them alive during the call.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#if defined(__x86_64__) && defined(__linux__) && NR_HAS_AMX
#define NR_TILES_BUILT 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "arrays.h"

namespace nb = nanobind;
using Address = uintptr_t;
using Addresses = std::vector<Address>;
using LevelTuple = std::tuple<float, uint32_t, uint32_t, uint32_t, bool>;
using ShapeTuple = std::tuple<int, int, int, int>;

void bind_occupancy(nb::module_& m);  // occupancy_module.cpp

#ifndef NR_MODULE
#define NR_MODULE _native_baseline
#endif

void bind_pixels(nb::module_& m);  // pixels_module.cpp
void bind_splats(nb::module_& m);  // splats_module.cpp

namespace {

float* f32(Address a) { return reinterpret_cast<float*>(a); }
int64_t* i64(Address a) { return reinterpret_cast<int64_t*>(a); }
Entry* entries(Address a) { return reinterpret_cast<Entry*>(a); }
const uint8_t* u8(Address a) { return reinterpret_cast<const uint8_t*>(a); }

Grid make_grid(const std::vector<LevelTuple>& levels, int dims, int features, bool xor_hash,
               const std::vector<uint32_t>& multipliers) {
  Grid grid{dims, features, xor_hash, {multipliers[0], multipliers[1], multipliers[2]}, {}};
  for (const auto& [scale, resolution, offset, rows, dense] : levels)
    grid.levels.push_back({scale, resolution, offset, rows, dense});
  return grid;
}

NetworkShape make_shape(const ShapeTuple& t, int leading, int middle) {
  return {std::get<0>(t), std::get<1>(t), std::get<2>(t), std::get<3>(t), leading, middle};
}
NetworkShape make_shape(const ShapeTuple& t) { return make_shape(t, std::get<0>(t), 0); }

Adam make_adam(const std::vector<double>& a) {
  return {(float)a[0], (float)a[1], (float)a[2], (float)a[3], (float)a[4], (int64_t)a[5]};
}

March make_march(const std::vector<double>& m) {
  return {(float)m[0], (float)m[1], (float)m[2], (float)m[3], (float)m[4], (int)m[5], (int)m[6]};
}

RenderProblem make_problem(const Addresses& a) {
  return {f32(a[0]), f32(a[1]), f32(a[2]), f32(a[3]), f32(a[4]),
          f32(a[5]), f32(a[6]), f32(a[7]), f32(a[8]), f32(a[9])};
}

// The table comes as entries: see `table_entries`.
FieldWeights make_weights(const NativeField& f, const Addresses& a) {
  return FieldWeights(f.shape, entries(a[0]), f32(a[1]), f32(a[2]));
}

Packed make_packed(const Addresses& a, int64_t capacity) {
  return {f32(a[0]), f32(a[1]), i64(a[2]), i64(a[3]), capacity, 0, 0};
}

void bind_field(nb::module_& m) {
  nb::class_<Grid>(m, "Grid").def("__init__", [](Grid* self, std::vector<LevelTuple> levels,
                                                 int dims, int features, bool xor_hash,
                                                 std::vector<uint32_t> multipliers) {
    new (self) Grid(make_grid(levels, dims, features, xor_hash, multipliers));
  });
  nb::class_<NativeField>(m, "Field")
      .def("__init__", [](NativeField* self, const Grid& grid, ShapeTuple density, ShapeTuple color,
                          std::vector<int> sizes, float bias, bool exp_radiance) {
        FieldShape shape{grid,
                         make_shape(density),
                         make_shape(color, sizes[0], sizes[4] ? sizes[4] * sizes[4] + 1 : 0),
                         sizes[0],
                         sizes[1],
                         sizes[2],
                         sizes[3],
                         sizes[4],
                         bias,
                         exp_radiance};
        new (self) NativeField(shape);
      });
  nb::class_<RenderState>(m, "RenderState")
      .def(nb::init<>())
      .def_ro("marched", &RenderState::marched)
      .def_ro("survived", &RenderState::survived);
}

void bind_render(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  m.def(
      "render_rays",
      [](NativeField& f, std::vector<double> march, float min_weight, Addresses weights,
         Address bits, Addresses problem, int num_rays, bool keep, RenderState& state) {
        auto packed = std::make_unique<FieldWeights>(make_weights(f, weights));
        render_forward(f, make_march(march), min_weight, std::move(packed), u8(bits), make_problem(problem),
                       num_rays, keep, state);
      },
      Release(), nb::keep_alive<9, 1>());
  m.def(
      "render_rays_backward",
      [](NativeField& f, std::vector<double> march, Addresses problem, Addresses gradients,
         const RenderState& state, Addresses out, bool rays_too) {
        RenderGradientsIn g{f32(gradients[0]), f32(gradients[1]), f32(gradients[2]),
                            f32(gradients[3])};
        RenderGradientsOut to{f32(out[0]), f32(out[1]), state.survived, f32(out[2]),
                              f32(out[3]), f32(out[4]), f32(out[5]),    rays_too};
        render_backward(f, make_march(march), make_problem(problem), g, state, to, f32(out[6]),
                        f32(out[7]));
      },
      Release());
  m.def(
      "march_rays",
      [](std::vector<double> march, Address bits, Addresses problem, int num_rays, Addresses out,
         int64_t capacity) {
        Packed packed = make_packed(out, capacity);
        march_packed(make_march(march), u8(bits), make_problem(problem), num_rays, packed);
        return std::make_tuple(packed.count, packed.wanted);
      },
      Release());
  m.def(
      "composite",
      [](Address density, Address radiance, int channels, Addresses packed, Addresses problem,
         int num_rays, Address weights) {
        CompositeOp op{f32(density),           f32(radiance),         channels,
                       make_packed(packed, 0), make_problem(problem), num_rays};
        composite_forward(op, f32(weights));
      },
      Release());
  m.def(
      "composite_backward",
      [](Address density, Address radiance, int channels, Addresses packed, Addresses problem,
         Addresses g, int num_rays, Addresses out) {
        CompositeOp op{f32(density),           f32(radiance),         channels,
                       make_packed(packed, 0), make_problem(problem), num_rays};
        composite_backward(op, {f32(g[0]), f32(g[1]), f32(g[2]), f32(g[3])}, f32(g[4]),
                           {f32(out[0]), f32(out[1]), f32(out[2])});
      },
      Release());
}

TableState make_table(const Addresses& a) { return {f32(a[0]), f32(a[1]), entries(a[2])}; }

FactoredTable make_factored(const Addresses& points, Address features, int64_t n) {
  FactoredPart part{{}, f32(features), n};
  for (size_t d = 0; d < points.size(); d++) part.points[d] = f32(points[d]);
  return {part};
}

ColorTargets make_targets(const Addresses& a) {
  return {f32(a[0]), f32(a[1]), f32(a[2]), f32(a[3]), f32(a[4]), f32(a[5]), f32(a[6])};
}

LossNumbers make_loss(const std::vector<double>& a) {
  return {(float)a[0], (float)a[1], (float)a[2], (float)a[3],
          (float)a[4], (float)a[5], (float)a[6], (float)a[7]};
}

void bind_loss(nb::module_& m) {
  nb::class_<FitState>(m, "FitState")
      .def(nb::init<>())
      .def_ro("loss", &FitState::loss)
      .def_ro("marched", &FitState::marched)
      .def_ro("survived", &FitState::survived)
      .def_ro("kept", &FitState::kept);
  m.def(
      "render_loss",
      [](NativeField& f, std::vector<double> march, Addresses weights, Address bits,
         Addresses rays, Addresses targets, std::vector<double> loss, int num_rays, Addresses out,
         bool rays_too, FitState& state) {
        rays.resize(10);
        FitProblem in{make_problem(rays), make_targets(targets), make_loss(loss),
                      {}, {f32(out[0]), nullptr, f32(out[6])}, nullptr, nullptr};
        RenderGradientsOut to{nullptr,     nullptr,     0,           f32(out[3]),
                              f32(out[4]), f32(out[7]), f32(out[5]), rays_too};
        render_fit(f, make_march(march), make_weights(f, weights), u8(bits), in, num_rays, to,
                   f32(out[1]), f32(out[2]), state);
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "copy_factors",
      [](const FitState& state, Address points, Address features) {
        copy_factors(state, f32(points), f32(features));
      },
      nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "color_loss",
      [](Address values, Addresses targets, int channels, int64_t rays,
         std::vector<double> loss, Addresses out) {
        return color_loss(f32(values), make_targets(targets), channels, rays, make_loss(loss),
                          {f32(out[0]), f32(out[1]), f32(out[2])});
      },
      nb::call_guard<nb::gil_scoped_release>());
}

void bind_queries(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  m.def(
      "query_field",
      [](NativeField& f, Addresses weights, Addresses in, int64_t n, Address density,
         Address radiance) {
        QueryInputs inputs{f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3]), i64(in[4]), n};
        query_forward(f, make_weights(f, weights), inputs, f32(density), f32(radiance));
      },
      Release());
  m.def(
      "query_field_backward",
      [](NativeField& f, Addresses weights, Addresses in, int64_t n, Address density,
         Address radiance, Addresses out) {
        QueryInputs inputs{f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3]), i64(in[4]), n};
        QueryGradients to{f32(out[0]), f32(out[1]), f32(out[2]),
                          f32(out[3]), f32(out[4]), f32(out[5])};
        query_backward(f, make_weights(f, weights), inputs, {f32(density), f32(radiance)}, to);
      },
      Release());
  m.def(
      "query_density",
      [](NativeField& f, Addresses weights, Address points, Address footprint, int64_t n,
         Address density) {
        QueryInputs inputs{f32(points), nullptr, nullptr, f32(footprint), nullptr, n};
        density_forward(f, make_weights(f, weights), inputs, f32(density));
      },
      Release());
  m.def(
      "query_density_backward",
      [](NativeField& f, Addresses weights, Address points, Address footprint, int64_t n, Address g,
         Addresses out) {
        QueryInputs inputs{f32(points), nullptr, nullptr, f32(footprint), nullptr, n};
        QueryGradients to{f32(out[0]), nullptr, nullptr, f32(out[1]), f32(out[2]), nullptr};
        density_backward(f, make_weights(f, weights), inputs, f32(g), to);
      },
      Release());
}

void bind_arrays(nb::module_& m) {
  using Release = nb::call_guard<nb::gil_scoped_release>;
  m.def(
      "hash_encode",
      [](const Grid& g, Address points, Address table, Address footprint, int64_t n, Address out) {
        encode_forward(g, f32(points), entries(table), f32(footprint), n, f32(out));
      },
      Release());
  m.def(
      "hash_encode_backward",
      [](const Grid& g, Address points, Address table, Address footprint, Address d, int64_t n,
         Address to_points, Address to_table) {
        encode_backward(g, f32(points), entries(table), f32(footprint), f32(d), n, f32(to_points),
                        f32(to_table));
      },
      Release());
  m.def(
      "mlp",
      [](ShapeTuple shape, Address weights, Address inputs, int64_t n, Address out) {
        mlp_forward(Network(make_shape(shape), f32(weights)), f32(inputs), n, f32(out));
      },
      Release());
  m.def(
      "mlp_backward",
      [](ShapeTuple shape, Address weights, Address inputs, Address g, int64_t n, Address to_inputs,
         Address to_weights) {
        mlp_backward(Network(make_shape(shape), f32(weights)), f32(inputs), f32(g), n,
                     f32(to_inputs), f32(to_weights));
      },
      Release());
  m.def(
      "scatter_table",
      [](const Grid& g, Addresses points, Address features, int64_t n, Address table) {
        scatter_table(g, make_factored(points, features, n), f32(table));
      },
      Release());
  m.def(
      "table_adam",
      [](const Grid& g, std::vector<double> adam, Addresses points, Address features, int64_t n,
         Addresses table, bool later) {
        table_adam(g, RowStep(make_adam(adam)), make_factored(points, features, n),
                   make_table(table), later);
      },
      Release());
  m.def(
      "table_adam_of",
      [](const Grid& g, std::vector<double> adam, const FitState& state, Addresses table,
         bool later) {
        table_adam(g, RowStep(make_adam(adam)), state.parts(), make_table(table), later);
      },
      Release());
  m.def("finish_later", finish_later, Release());
  m.def("use_large_pages",
        [](Address memory, size_t bytes) { use_large_pages(reinterpret_cast<void*>(memory), bytes); });
  m.def("points_in_cube", [](Addresses points, int64_t n) {
    std::vector<const float*> rows;
    for (Address row : points) rows.push_back(f32(row));
    return points_in_cube(rows, n);
  });
  m.def(
      "round_table",
      [](const Grid& g, Address table, Address to) { round_table(g, f32(table), entries(to)); },
      Release());
  m.def(
      "adam",
      [](std::vector<double> adam, Address w, Address first, Address second, Address g, int64_t n) {
        adam_array(make_adam(adam), f32(w), f32(first), f32(second), f32(g), n);
      },
      Release());
  m.def(
      "adam_rows",
      [](std::vector<double> adam, Address w, Address second, Address g, int64_t rows,
         int features) {
        adam_rows(RowStep(make_adam(adam)), f32(w), f32(second), f32(g), rows, features);
      },
      Release());
}

// Whether this processor multiplies matrices of bfloat16, and the system, which is asked here, lets
// this process and all its threads do so from now on (Linux: Documentation/arch/x86/xstate.rst).
bool request_tiles() {
#if NR_TILES_BUILT
  constexpr uint32_t AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24;
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  uint32_t a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
         syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}

// The best instruction set of this processor among those that are built; asks for what it needs.
const char* best_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    if (!__builtin_cpu_supports("avx512bf16")) return "avx512";
    return request_tiles() ? "amx" : "avx512bf16";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
  return "baseline";
}

}  // namespace

NB_MODULE(NR_MODULE, m) {
  nb::set_leak_warnings(false);  // fields live in a cache until the process ends
  m.doc() = "Native CPU kernels, compiled for one instruction set.";
  m.def("best_instruction_set", &best_instruction_set);
  m.def("set_threads", &set_pool_threads);
  // Seconds of all threads in each phase of the fused ops since the last call.
  m.def("count_phases", [](bool on) { phase_seconds().counted = on; });
  m.def("take_phases", [] {
    std::vector<std::tuple<std::string, double>> taken;
    for (int i = 0; i < NUM_PHASES; i++)
      taken.emplace_back(PHASE_NAMES[i], phase_seconds().nanoseconds[i].exchange(0) * 1e-9);
    return taken;
  });
  // Entries are of 2 bytes (bfloat16), with so many rows behind each level, or the table itself.
  m.attr("ENTRY_BYTES") = sizeof(Entry);
  m.attr("SPARE_ROWS") = SPARE_ROWS;
  bind_field(m);
  bind_render(m);
  bind_loss(m);
  bind_queries(m);
  bind_arrays(m);
  bind_occupancy(m);
  bind_pixels(m);
  bind_splats(m);
}
