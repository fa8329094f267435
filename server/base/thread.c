/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - threads, and locks that check their order.
 *
 * Order    each thread keeps the ranks that it holds, ascending: a new one must be above the last. Unlocking may go in
 *          any order. Kept only in builds with NX_DCHECK_ENABLED.
 */
#include "narthex/base/thread.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if NX_DCHECK_ENABLED
# define HELD_RANKS_MAX 16
static _Thread_local enum lock_rank held_ranks[HELD_RANKS_MAX];
static _Thread_local unsigned held_count;

static void rank_enter(enum lock_rank rank)
{
    if (held_count > 0 && held_ranks[held_count - 1] >= rank) {
        fprintf(stderr, "narthex: lock of rank %d taken while rank %d is held\n", (int)rank,
                (int)held_ranks[held_count - 1]);
        NX_ASSERT(held_ranks[held_count - 1] < rank);
    }
    NX_ASSERT(held_count < HELD_RANKS_MAX);
    held_ranks[held_count++] = rank;
}

static void rank_leave(enum lock_rank rank)
{
    unsigned i = 0;
    while (i < held_count && held_ranks[i] != rank)
        i++;
    NX_ASSERT(i < held_count);
    memmove(&held_ranks[i], &held_ranks[i + 1], (held_count - i - 1) * sizeof(held_ranks[0]));
    held_count--;
}
#else
static inline void rank_enter(enum lock_rank rank)
{
    (void)rank;
}

static inline void rank_leave(enum lock_rank rank)
{
    (void)rank;
}
#endif

/* The verbs below fail only when we misuse them. */
static void must(int error)
{
    NX_ASSERT(error == 0);
}

void mutex_init(struct nx_mutex *mutex, enum lock_rank rank)
{
    must(pthread_mutex_init(&mutex->os, NULL));
    mutex->rank = rank;
}

void mutex_deinit(struct nx_mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->os));
}

NX_NO_THREAD_ANALYSIS void mutex_lock(struct nx_mutex *mutex)
{
    rank_enter(mutex->rank);
    must(pthread_mutex_lock(&mutex->os));
}

NX_NO_THREAD_ANALYSIS void mutex_unlock(struct nx_mutex *mutex)
{
    rank_leave(mutex->rank);
    must(pthread_mutex_unlock(&mutex->os));
}

void cond_init(struct nx_cond *cond)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&cond->os, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void cond_deinit(struct nx_cond *cond)
{
    must(pthread_cond_destroy(&cond->os));
}

void cond_wait(struct nx_cond *cond, struct nx_mutex *mutex)
{
    must(pthread_cond_wait(&cond->os, &mutex->os));
}

bool cond_wait_for(struct nx_cond *cond, struct nx_mutex *mutex, uint64_t timeout_ns)
{
    struct timespec until;
    must(clock_gettime(CLOCK_MONOTONIC, &until));
    uint64_t ns = (uint64_t)until.tv_nsec + timeout_ns % 1000000000;
    until.tv_sec += (time_t)(timeout_ns / 1000000000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int error = pthread_cond_timedwait(&cond->os, &mutex->os, &until);
    NX_ASSERT(error == 0 || error == ETIMEDOUT);
    return error == 0;
}

void cond_signal(struct nx_cond *cond)
{
    must(pthread_cond_signal(&cond->os));
}

void cond_broadcast(struct nx_cond *cond)
{
    must(pthread_cond_broadcast(&cond->os));
}

void rwlock_init(struct nx_rwlock *lock, enum lock_rank rank)
{
    must(pthread_rwlock_init(&lock->os, NULL));
    lock->rank = rank;
}

void rwlock_deinit(struct nx_rwlock *lock)
{
    must(pthread_rwlock_destroy(&lock->os));
}

void rwlock_read_lock(struct nx_rwlock *lock)
{
    rank_enter(lock->rank);
    must(pthread_rwlock_rdlock(&lock->os));
}

void rwlock_read_unlock(struct nx_rwlock *lock)
{
    rank_leave(lock->rank);
    must(pthread_rwlock_unlock(&lock->os));
}

void rwlock_write_lock(struct nx_rwlock *lock)
{
    rank_enter(lock->rank);
    must(pthread_rwlock_wrlock(&lock->os));
}

void rwlock_write_unlock(struct nx_rwlock *lock)
{
    rank_leave(lock->rank);
    must(pthread_rwlock_unlock(&lock->os));
}

#define THREAD_NAME_SIZE 16 /* the kernel's TASK_COMM_LEN, NUL included */

/* What a new thread needs, freed by it. */
struct thread_launch {
    void (*run)(void *argument);
    void *argument;
    char name[THREAD_NAME_SIZE];
};

static void *thread_main(void *argument)
{
    struct thread_launch launch = *(struct thread_launch *)argument;
    nx_free(argument);
    must(pthread_setname_np(pthread_self(), launch.name));
    launch.run(launch.argument);
#if NX_DCHECK_ENABLED
    NX_ASSERT(held_count == 0);
#endif
    return NULL;
}

nx_code thread_start(struct nx_thread *thread, const char *name, void (*run)(void *),
                     void *argument, struct nx_err *err)
{
    struct thread_launch *launch = nx_alloc(sizeof(*launch));
    launch->run = run;
    launch->argument = argument;
    int length = snprintf(launch->name, sizeof(launch->name), "%s", name);
    NX_ASSERT(length > 0);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* a thread's own: blocked, it would end the process without a word */
    must(pthread_sigmask(SIG_SETMASK, &all, &before));
    int error = pthread_create(&thread->os, NULL, thread_main, launch);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (error != 0) {
        nx_free(launch);
        return nx_err_sys(err, error, "start thread %s", name);
    }
    thread->is_running = true;
    return NX_OK;
}

void thread_join(struct nx_thread *thread)
{
    if (!thread->is_running)
        return;
    must(pthread_join(thread->os, NULL));
    thread->is_running = false;
}

/* Processors that a cgroup (version 2) grants, rounded up; 0 when it sets no limit. */
static unsigned cgroup_cpu_count(void)
{
    int fd = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char text[64];
    ssize_t got = read(fd, text, sizeof(text));
    close(fd);
    if (got <= 0)
        return 0;
    struct nx_str quota;
    struct nx_str period;
    uint64_t quota_us;
    uint64_t period_us;
    struct nx_str line = nx_str_trim((struct nx_str){.data = text, .len = (size_t)got});
    if (!nx_str_split(line, ' ', &quota, &period) || !nx_str_to_u64(quota, &quota_us) ||
        !nx_str_to_u64(period, &period_us) || period_us == 0)
        return 0;
    return (unsigned)((quota_us + period_us - 1) / period_us);
}

unsigned thread_cpu_count(void)
{
    cpu_set_t allowed;
    unsigned count = 1;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        count = (unsigned)CPU_COUNT(&allowed);
    unsigned granted = cgroup_cpu_count();
    if (granted > 0 && granted < count)
        count = granted;
    return count > 0 ? count : 1;
}
