// A full disk: while the file SHIM_SWITCH exists, writes to files below a folder named `data` fail.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int full(int file) {
    const char *path = getenv("SHIM_SWITCH");
    if (!path || access(path, F_OK) != 0) return 0;
    char link[64], name[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return strstr(name, "/data/") != NULL;
}

#define NO_SPACE(file, result) \
    do { \
        if (full(file)) { \
            errno = ENOSPC; \
            return result; \
        } \
    } while (0)
#define NEXT(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

ssize_t write(int file, const void *data, size_t size) {
    NO_SPACE(file, -1);
    return NEXT(write, file, data, size);
}

ssize_t writev(int file, const struct iovec *pieces, int count) {
    NO_SPACE(file, -1);
    return NEXT(writev, file, pieces, count);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    NO_SPACE(file, -1);
    return NEXT(pwrite, file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    NO_SPACE(file, -1);
    return NEXT(pwrite64, file, data, size, at);
}

int ftruncate(int file, off_t size) {
    NO_SPACE(file, -1);
    return NEXT(ftruncate, file, size);
}

int ftruncate64(int file, off64_t size) {
    NO_SPACE(file, -1);
    return NEXT(ftruncate64, file, size);
}

int fallocate(int file, int mode, off_t at, off_t size) {
    NO_SPACE(file, -1);
    return NEXT(fallocate, file, mode, at, size);
}

int posix_fallocate(int file, off_t at, off_t size) {
    if (full(file)) return ENOSPC;
    return NEXT(posix_fallocate, file, at, size);
}
