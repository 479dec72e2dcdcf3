// A small pool of threads: tasks are handed out one by one, results never depend on who did what.
#pragma once
#include <functional>

// The calling thread takes part. `task(index, worker)`; worker < pool_threads().
void parallel_for(int num_tasks, const std::function<void(int, int)>& task);
void set_pool_threads(int threads);
int pool_threads();
