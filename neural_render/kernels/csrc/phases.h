// Where the time of a fused op goes: seconds of each phase, counted only while somebody asks.
#pragma once
#include <atomic>
#include <chrono>

enum Phase {
  MARCH,
  ENCODE,
  DENSITY,
  COMPACT,
  COLOR,
  COMPOSITE,
  COMPOSITE_BACKWARD,
  NETWORKS_BACKWARD,
  STORE_GRADIENTS,
  SCATTER,
  ADAM,
  NUM_PHASES
};
constexpr const char* PHASE_NAMES[NUM_PHASES] = {
    "march",     "encode",            "density network", "compact", "color network", "composite",
    "composite backward", "networks backward", "store gradients", "scatter", "adam"};

struct PhaseSeconds {
  std::atomic<bool> counted{false};
  std::atomic<int64_t> nanoseconds[NUM_PHASES]{};
};

inline PhaseSeconds& phase_seconds() {
  static PhaseSeconds all;
  return all;
}

// One thread's watch: each lap's time goes to the phase that ends with it.
class Stopwatch {
 public:
  void start() {
    on_ = phase_seconds().counted.load(std::memory_order_relaxed);
    if (on_) last_ = Clock::now();
  }
  void lap(Phase phase) {
    if (!on_) return;
    Clock::time_point now = Clock::now();
    phase_seconds().nanoseconds[phase] += (now - last_).count();
    last_ = now;
  }

 private:
  using Clock = std::chrono::steady_clock;
  bool on_ = false;
  Clock::time_point last_;
};
