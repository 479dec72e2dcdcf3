// The kernels without Python, held against plain loops: for processors that cannot be tried
// otherwise. scripts/check_arm.sh compiles it for 64-bit ARM and runs it in an emulator.
#include <atomic>
#include <cstdio>
#include <new>
#include <random>

#include "arrays.h"

namespace {

int failures = 0;

void expect(const char* what, double actual, double expected, double tolerance) {
  if (std::fabs(actual - expected) <= tolerance * (1 + std::fabs(expected))) return;
  std::printf("%s: %.9g where %.9g was expected\n", what, actual, expected);
  failures++;
}

std::vector<float> numbers(size_t count, unsigned seed, float low, float high) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> out(count);
  for (float& x : out) x = uniform(random);
  return out;
}

void check_exponential() {
  for (float x = -80; x < 80; x += 0.37f) {
    vf y = vexp(splat(x));
    for (int i = 0; i < W; i++) expect("vexp", y[i] / std::exp((double)x), 1, 1e-6);
  }
}

// A dense level and a hashed one, in the fast layout or the general one.
Grid make_grid(int features, bool xor_hash) {
  Grid grid{3, features, xor_hash, {2654435761u, 805459861u, 3674653429u}, {}};
  grid.levels.push_back({3.0f, xor_hash ? 4u : 5u, 0, xor_hash ? 64u : 125u, true});
  grid.levels.push_back({20.5f, xor_hash ? 22u : 23u, xor_hash ? 64u : 125u, 256, false});
  return grid;
}

void check_encoding(int features, bool xor_hash, int n) {
  Grid grid = make_grid(features, xor_hash);
  const int rows = (int)(grid.levels[1].offset + grid.levels[1].rows), E = grid.num_outputs();
  std::vector<float> points = numbers(3 * n, 1, 0, 1), none(n, 0.0f);
  std::vector<float> table = numbers((size_t)rows * features, 2, -1, 1), out((size_t)n * E);
  encode_forward(grid, points.data(), table.data(), none.data(), n, out.data());
  for (int s = 0; s < n; s++)
    for (int l = 0; l < 2; l++) {
      Corners c;
      find_corners(grid, grid.levels[l], &points[3 * (size_t)s], c);
      for (int f = 0; f < features; f++) {
        double sum = 0;
        for (int k = 0; k < 8; k++)
          sum += (double)c.weight[k] * table[(grid.levels[l].offset + c.row[k]) * features + f];
        expect("encode", out[(size_t)s * E + l * features + f], sum, 2e-5);
      }
    }
  // The scatter is the encoding's transpose: <g, encode(table)> = <scatter(g), table>.
  std::vector<float> g = numbers((size_t)n * E, 3, -1, 1), to_points(3 * (size_t)n);
  std::vector<float> to_table(table.size());
  encode_backward(grid, points.data(), table.data(), none.data(), g.data(), n, to_points.data(),
                  to_table.data());
  double forward = 0, backward = 0;
  for (size_t i = 0; i < g.size(); i++) forward += (double)g[i] * out[i];
  for (size_t i = 0; i < table.size(); i++) backward += (double)to_table[i] * table[i];
  expect("scatter", backward, forward, 1e-4);
}

void check_network(int inputs, int width, int outputs, int n) {
  NetworkShape shape{inputs, width, 1, outputs, inputs, 0};
  std::vector<float> weights = numbers((size_t)width * (inputs + outputs), 4, -0.5f, 0.5f);
  std::vector<float> in = numbers((size_t)n * inputs, 5, -1, 1), out((size_t)n * outputs);
  Network network(shape, weights.data());
  mlp_forward(network, in.data(), n, out.data());
  std::vector<float> g(out.size(), 1.0f), to_in(in.size()), to_weights(weights.size());
  mlp_backward(network, in.data(), g.data(), n, to_in.data(), to_weights.data());
  const float* last = weights.data() + (size_t)width * inputs;
  std::vector<double> slopes(width);
  for (int s = 0; s < n; s++) {
    std::vector<double> hidden(width);
    for (int j = 0; j < width; j++) {
      for (int k = 0; k < inputs; k++)
        hidden[j] += (double)weights[j * inputs + k] * in[(size_t)s * inputs + k];
      hidden[j] = std::max(hidden[j], 0.0);
      slopes[j] += hidden[j];
    }
    for (int o = 0; o < outputs; o++) {
      double sum = 0;
      for (int j = 0; j < width; j++) sum += last[o * width + j] * hidden[j];
      expect("mlp", out[(size_t)s * outputs + o], sum, 2e-5);
    }
  }
  for (int i = 0; i < outputs * width; i++)
    expect("mlp backward", to_weights[(size_t)width * inputs + i], slopes[i % width], 1e-4);
}

// Along the x axis through full cells: the first sample lies in the cube, and 1 / step fit in.
void check_march(int threads) {
  set_pool_threads(threads);
  std::vector<uint8_t> bits(CELLS * CELLS * CELLS / 8, 255);
  const int rays = 300, capacity = 1 << 16;
  std::vector<float> origins, directions, jitter(rays, 0.0f), near(capacity), far(capacity);
  for (int r = 0; r < rays; r++) {
    origins.insert(origins.end(), {-0.5f, 0.3f, 0.6f});
    directions.insert(directions.end(), {1, 0, 0});
  }
  std::vector<int64_t> ray(capacity), offsets(rays + 1);
  RenderProblem problem{};
  problem.origins = origins.data(), problem.directions = directions.data();
  problem.jitter = jitter.data();
  Packed packed{near.data(), far.data(), ray.data(), offsets.data(), capacity, 0, 0};
  march_packed(March{1.0f / 64, 0, 0, 1, 0, 1, 1024}, bits.data(), problem, rays, packed);
  expect("march", (double)packed.count, 64.0 * rays, 0);
  expect("march begins", near[0], 0.5, 1e-6);
}

// What a task throws reaches the caller, whoever ran it, and the next tasks run as ever.
void check_pool(int threads) {
  set_pool_threads(threads);
  const int tasks = 1000;
  for (int bad = 0; bad < tasks; bad += 37) {
    for (bool beside : {false, true}) {
      int caught = 0;
      try {
        const auto task = [&](int i, int) {
          if (i >= bad) throw std::bad_alloc();
        };
        beside ? parallel_later(tasks, task) : parallel_for(tasks, task);
        finish_later();
      } catch (const std::bad_alloc&) {
        caught++;
      }
      std::atomic<int> done{0};
      parallel_for(tasks, [&](int, int) { done++; });
      expect("a task's exception", caught, 1, 0);
      expect("tasks after it", done, tasks, 0);
    }
  }
}

}  // namespace

int main() {
  check_exponential();
  for (int n : {1, W - 1, W + 1, 1025}) {
    for (int features : {1, 2, 4})
      for (bool xor_hash : {false, true}) check_encoding(features, xor_hash, n);
    check_network(7, 16, 3, n);
    check_network(13, 11, 5, n);
  }
  for (int threads : {1, 3}) check_march(threads);
  for (int threads : {1, 3}) check_pool(threads);
  std::printf("vectors of %d floats: %d failures\n", W, failures);
  return failures != 0;
}
