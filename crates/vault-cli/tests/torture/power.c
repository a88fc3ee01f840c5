/*
 * Records what a process changes in the files of one folder, for the test of power cuts. Preloaded
 * in front of the C library: VAULTSTORE_POWER_FOLDER names the folder, VAULTSTORE_POWER_LOG the log.
 *
 * A record of the log is a kind, an inode, an offset, a length (8 bytes each, of this machine's byte
 * order), and that many bytes. A change and its record are made under one lock, so that the order of
 * the log is that of the changes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, UNLINK, RENAME };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *folder(void) { return getenv("VAULTSTORE_POWER_FOLDER"); }

static int is_watched(const char *path) {
    const char *place = folder();
    size_t length = place ? strlen(place) : 0;
    return length > 0 && strncmp(path, place, length) == 0 && (path[length] == 0 || path[length] == '/');
}

/* Whether a descriptor is of the folder or of one of its files. */
static int watched_inode(int fd, uint64_t *inode) {
    char link[64], path[4096];
    struct stat found;
    if (!folder() || fstat(fd, &found) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    *inode = found.st_ino;
    return is_watched(path);
}

static void put(const void *bytes, size_t length) {
    static int log = -1;
    if (log < 0) {
        const char *path = getenv("VAULTSTORE_POWER_LOG");
        log = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    const char *at = bytes;
    while (length > 0) {
        long written = syscall(SYS_write, log, at, length);
        if (written <= 0) abort();
        at += written;
        length -= (size_t)written;
    }
}

static void record(uint64_t kind, uint64_t inode, uint64_t offset, const void *bytes, size_t length) {
    uint64_t head[4] = {kind, inode, offset, length};
    put(head, sizeof head);
    put(bytes, length);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(int fd, const char *path, int is_new) {
    uint64_t inode;
    if (fd >= 0 && is_new && watched_inode(fd, &inode)) record(CREATE, inode, 0, path, strlen(path));
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(rest, mode_t);                            \
        va_end(rest);                                                                              \
        if (!(flags & O_CREAT) || !is_watched(path)) return REAL(name)(path, flags, mode);         \
        pthread_mutex_lock(&lock);                                                                 \
        int is_new = access(path, F_OK) != 0;                                                      \
        int fd = opened(REAL(name)(path, flags, mode), path, is_new);                              \
        pthread_mutex_unlock(&lock);                                                               \
        return fd;                                                                                 \
    }
OPEN(open)
OPEN(open64)

#define WRITE_AT(name, type)                                                                       \
    ssize_t name(int fd, const void *bytes, size_t length, type offset) {                          \
        uint64_t inode;                                                                            \
        if (!watched_inode(fd, &inode)) return REAL(name)(fd, bytes, length, offset);              \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t written = REAL(name)(fd, bytes, length, offset);                                   \
        if (written > 0) record(WRITE, inode, (uint64_t)offset, bytes, (size_t)written);           \
        pthread_mutex_unlock(&lock);                                                               \
        return written;                                                                            \
    }
WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t length) {
    uint64_t inode;
    if (!watched_inode(fd, &inode)) return REAL(write)(fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = REAL(write)(fd, bytes, length);
    if (written > 0) record(WRITE, inode, (uint64_t)offset, bytes, (size_t)written);
    pthread_mutex_unlock(&lock);
    return written;
}

#define OF_FILE(name, parameters, arguments, kind, value)                                          \
    int name parameters {                                                                          \
        uint64_t inode;                                                                            \
        if (!watched_inode(fd, &inode)) return REAL(name) arguments;                               \
        pthread_mutex_lock(&lock);                                                                 \
        int result = REAL(name) arguments;                                                         \
        if (result == 0) record(kind, inode, (uint64_t)(value), NULL, 0);                          \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
OF_FILE(ftruncate, (int fd, off_t length), (fd, length), TRUNCATE, length)
OF_FILE(ftruncate64, (int fd, off64_t length), (fd, length), TRUNCATE, length)
OF_FILE(fsync, (int fd), (fd), SYNC, 0)
OF_FILE(fdatasync, (int fd), (fd), SYNC, 0)

int unlink(const char *path) {
    if (!is_watched(path)) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path);
    if (result == 0) record(UNLINK, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    if (!is_watched(from) && !is_watched(to)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(from, to);
    if (result == 0) {
        char both[8192];
        int length = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
        record(RENAME, 0, 0, both, (size_t)length);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
