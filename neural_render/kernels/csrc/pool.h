// A small pool of threads: tasks are handed out one by one, results never depend on who did what.
// What a task throws ends the others and reaches the caller once none of them runs any more.
#pragma once
#include <functional>

// The calling thread takes part. `task(index, worker)`; worker < pool_threads().
void parallel_for(int num_tasks, const std::function<void(int, int)>& task);
// Starts the tasks and returns; they go on beside the caller until `finish_later`, which every
// `parallel_for` begins with. The caller keeps alive what they use.
void parallel_later(int num_tasks, std::function<void(int, int)> task);
void finish_later();
// As `parallel_for`, but beside what goes on: by the calling thread alone as long as something does.
void parallel_beside(int num_tasks, const std::function<void(int, int)>& task);
void set_pool_threads(int threads);
int pool_threads();
