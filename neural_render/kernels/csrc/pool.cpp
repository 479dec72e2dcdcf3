#include "pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

struct Pool {
  std::mutex mutex;
  std::condition_variable wake, done;
  std::vector<std::thread> workers;
  const std::function<void(int, int)>* task = nullptr;
  std::atomic<int> next{0};
  int num_tasks = 0, busy = 0;
  uint64_t round = 0;
  bool stopping = false;
  std::exception_ptr failure;  // the first that a task threw
  pid_t owner = getpid();

  explicit Pool(int threads) {
    workers.reserve(threads);
    try {
      for (int i = 1; i < threads; i++) workers.emplace_back([this, i] { work(i); });
    } catch (const std::system_error&) {
      // The system has no more of them: these do all the work.
    }
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (auto& worker : workers) worker.join();
  }
  void drain(int worker) {
    try {
      for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < num_tasks;)
        (*task)(i, worker);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
      next.store(num_tasks);
    }
  }
  void work(int worker) {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return stopping || round != seen; });
        if (stopping) return;
        seen = round;
      }
      drain(worker);
      std::lock_guard<std::mutex> lock(mutex);
      if (--busy == 0) done.notify_one();
    }
  }
  void start(int tasks, const std::function<void(int, int)>& function) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      task = &function;
      num_tasks = tasks;
      next.store(0);
      busy = (int)workers.size();
      round++;
    }
    wake.notify_all();
  }
  // The calling thread helps.
  void finish() {
    drain(0);
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [&] { return busy == 0; });
  }
  // Throws what a task threw, if one did; once all have finished.
  void tell() {
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
};

// A forked child cannot end threads that it does not have, as it would where it ends itself.
struct EndOwnThreads {
  void operator()(Pool* pool) const {
    if (pool->owner == getpid()) delete pool;
  }
};

std::unique_ptr<Pool, EndOwnThreads> pool;
std::mutex entry;  // one parallel region at a time
std::function<void(int, int)> later;  // what goes on beside the caller, if anything
int wanted = 1;

// A forked child has none of its parent's threads: it leaves that pool behind and makes its own.
void leave_parents_pool() {
  if (!pool || pool->owner == getpid()) return;
  (void)pool.release();
  later = nullptr;
}

void finish_now() {
  leave_parents_pool();
  if (!later) return;
  pool->finish();
  later = nullptr;
  pool->tell();
}

void each(int num_tasks, const std::function<void(int, int)>& task) {
  for (int i = 0; i < num_tasks; i++) task(i, 0);
}

}  // namespace

void set_pool_threads(int threads) {
  std::lock_guard<std::mutex> lock(entry);
  finish_now();
  wanted = std::max(1, threads);
  pool.reset();
}

int pool_threads() { return wanted; }

void parallel_for(int num_tasks, const std::function<void(int, int)>& task) {
  std::lock_guard<std::mutex> lock(entry);
  finish_now();
  if (num_tasks <= 0) return;
  if (wanted == 1 || num_tasks == 1) return each(num_tasks, task);
  if (!pool) pool.reset(new Pool(wanted));
  pool->start(num_tasks, task);
  pool->finish();
  pool->tell();
}

void parallel_later(int num_tasks, std::function<void(int, int)> task) {
  std::lock_guard<std::mutex> lock(entry);
  finish_now();
  if (num_tasks <= 0) return;
  if (wanted == 1) return each(num_tasks, task);
  if (!pool) pool.reset(new Pool(wanted));
  later = std::move(task);
  pool->start(num_tasks, later);
}

void finish_later() {
  std::lock_guard<std::mutex> lock(entry);
  finish_now();
}

void parallel_beside(int num_tasks, const std::function<void(int, int)>& task) {
  {
    std::lock_guard<std::mutex> lock(entry);
    leave_parents_pool();
    if (later) return each(num_tasks, task);
  }
  parallel_for(num_tasks, task);
}
