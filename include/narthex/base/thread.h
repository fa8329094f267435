/* thread.h - named threads, ranked mutexes, a pool of workers.
 *
 * The annotations are clang's -Wthread-safety for functions; members carry a field key instead:
 *   [I] immutable after init   [A] atomic   [T:name] one thread only   [L:lock] guarded by that lock
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/lock_rank.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
# define NX_CAPABILITY(name)   __attribute__((capability(name)))
# define NX_ACQUIRE(...)       __attribute__((acquire_capability(__VA_ARGS__)))
# define NX_RELEASE(...)       __attribute__((release_capability(__VA_ARGS__)))
# define NX_REQUIRES(...)      __attribute__((requires_capability(__VA_ARGS__)))
# define NX_NO_THREAD_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
# define NX_CAPABILITY(name)
# define NX_ACQUIRE(...)
# define NX_RELEASE(...)
# define NX_REQUIRES(...)
# define NX_NO_THREAD_ANALYSIS
#endif

struct NX_CAPABILITY("mutex") nx_mutex {
    pthread_mutex_t os;
    enum lock_rank rank;
};

void mutex_init(struct nx_mutex *mutex, enum lock_rank rank);
void mutex_deinit(struct nx_mutex *mutex);
void mutex_lock(struct nx_mutex *mutex) NX_ACQUIRE(*mutex);
void mutex_unlock(struct nx_mutex *mutex) NX_RELEASE(*mutex);

struct nx_cond {
    pthread_cond_t os; /* on the monotonic clock */
};
void cond_init(struct nx_cond *cond);
void cond_deinit(struct nx_cond *cond);
void cond_wait(struct nx_cond *cond, struct nx_mutex *mutex) NX_REQUIRES(*mutex);
/* False when `timeout_ns` passed first. */
bool cond_wait_for(struct nx_cond *cond, struct nx_mutex *mutex, uint64_t timeout_ns)
    NX_REQUIRES(*mutex);
void cond_signal(struct nx_cond *cond);
void cond_broadcast(struct nx_cond *cond);

/* One writer or many readers. Ranked like a mutex. */
struct NX_CAPABILITY("rwlock") nx_rwlock {
    pthread_rwlock_t os;
    enum lock_rank rank;
};
void rwlock_init(struct nx_rwlock *lock, enum lock_rank rank);
void rwlock_deinit(struct nx_rwlock *lock);
void rwlock_read_lock(struct nx_rwlock *lock) NX_NO_THREAD_ANALYSIS;
void rwlock_read_unlock(struct nx_rwlock *lock) NX_NO_THREAD_ANALYSIS;
void rwlock_write_lock(struct nx_rwlock *lock) NX_NO_THREAD_ANALYSIS;
void rwlock_write_unlock(struct nx_rwlock *lock) NX_NO_THREAD_ANALYSIS;

struct nx_thread {
    pthread_t os;
    bool is_running;
};
/* All signals are blocked in the new thread; `name` (at most 15 characters) shows in ps and gdb. */
NX_NODISCARD nx_code thread_start(struct nx_thread *thread, const char *name, void (*run)(void *),
                                  void *argument, struct nx_err *err);
void thread_join(struct nx_thread *thread); /* nothing when it does not run */

/* A fixed number of workers and one bounded queue. */
struct worker_pool;
typedef void (*work_fn)(void *argument);
NX_NODISCARD nx_code worker_pool_new(struct worker_pool **out_pool, const char *name,
                                     unsigned workers, size_t queue_max, struct nx_err *err);
/* False when the queue is full or the pool stops: the work was not taken. */
NX_NODISCARD bool worker_pool_try_submit(struct worker_pool *pool, work_fn work, void *argument);
size_t worker_pool_queued(struct worker_pool *pool);
/* Runs what is queued, then ends the workers. NULL is fine. */
void worker_pool_free(struct worker_pool *pool);

unsigned thread_cpu_count(void); /* processors that this process may use, at least 1 */
