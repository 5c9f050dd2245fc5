// Shifts the real-time clock by the number of seconds in the file SHIM_SWITCH. Monotonic clocks do not change.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// Interval at which the file is read again.
#define READ_INTERVAL_NS 20000000LL

static atomic_llong read_at;
static atomic_llong shift;

static int real(clockid_t clock, struct timespec *now) {
    return (int)syscall(SYS_clock_gettime, clock, now);
}

static long long shift_s(void) {
    struct timespec now;
    real(CLOCK_MONOTONIC, &now);
    long long ns = now.tv_sec * 1000000000LL + now.tv_nsec;
    if (ns - atomic_load(&read_at) > READ_INTERVAL_NS) {
        atomic_store(&read_at, ns);
        char text[32] = "";
        const char *path = getenv("SHIM_SWITCH");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (file >= 0) {
            ssize_t length = read(file, text, sizeof text - 1);
            text[length > 0 ? length : 0] = 0;
            close(file);
        }
        atomic_store(&shift, atoll(text));
    }
    return atomic_load(&shift);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_s();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
