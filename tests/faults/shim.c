/* Loaded by LD_PRELOAD: counts the calls that change files under one folder, and lets the n-th one fail.

   The plan is a file mapped by all processes (tests/faults/shim.py writes it): the count goes on over forks and over
   programs. Python, SQLite, DuckDB, Arrow and ADBC all come through these functions of the C library. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, SYNC, RENAME, TRUNCATE, UNLINK, LINK, FOLDER, CREATE };
enum { COUNT = 0, FAIL = 1, SHORT = 2, KILL = 3, TORN_KILL = 4 };
enum { TRACED = 65536 };

struct plan {
    int64_t calls;          /* so far */
    int64_t at;             /* the call that fails; 0: none */
    int64_t fired;          /* how many failed */
    int32_t action;
    int32_t error;
    int32_t sticky;         /* every later call of the mask fails, too */
    int32_t mask;           /* kinds of calls that may fail, by bit */
    char root[512];         /* ends without a slash; empty: nothing is counted */
    uint8_t kinds[TRACED];  /* kind of each call, from 1 */
};

static struct plan *plan;

__attribute__((constructor)) static void map_plan(void) {
    const char *path = getenv("FAULT_PLAN");
    int handle = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (handle < 0) return;
    void *at = mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
    plan = at == MAP_FAILED ? NULL : at;
    close(handle);
}

static int under_root(const char *path) {
    size_t size = strnlen(plan->root, sizeof plan->root);
    return size && !strncmp(path, plan->root, size) && (path[size] == '/' || !path[size]);
}

static int path_of(int handle, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size > 0 ? size : 0] = 0;
    return size > 0;
}

static int concerns_path(int folder, const char *path) {
    char whole[2 * PATH_MAX];
    if (!plan || !plan->root[0] || !path) return 0;
    if (path[0] == '/') return under_root(path);
    if (folder == AT_FDCWD ? !getcwd(whole, PATH_MAX) : !path_of(folder, whole)) return 0;
    strcat(whole, "/");
    strncat(whole, path, PATH_MAX - 1);
    return under_root(whole);
}

static int concerns_handle(int handle) {
    char path[PATH_MAX];
    return plan && plan->root[0] && path_of(handle, path) && under_root(path);
}

/* What becomes of a call of this kind: COUNT (it goes through) or the planned action. Counts it. */
static int fate(int kind) {
    int64_t n = __atomic_add_fetch(&plan->calls, 1, __ATOMIC_SEQ_CST);
    if (n < TRACED) plan->kinds[n] = (uint8_t)kind;
    if (!plan->at || n < plan->at || !(plan->mask & (1 << kind)) || (n > plan->at && !plan->sticky)) return COUNT;
    __atomic_add_fetch(&plan->fired, 1, __ATOMIC_SEQ_CST);
    if (plan->action == KILL) {
        kill(getpid(), SIGKILL);
        pause();
    }
    return n > plan->at ? FAIL : plan->action;
}

#define NEXT(name) ({ static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name); next; })
#define REFUSE_WHEN(concerned, kind) if (concerned) { if (fate(kind) != COUNT) { errno = plan->error; return -1; } }

#define OPENING(name, folder, ...) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    REFUSE_WHEN((flags & O_ACCMODE) != O_RDONLY && concerns_path(folder, path), \
                (flags & O_CREAT) && faccessat(folder, path, F_OK, 0) ? CREATE : OPEN) \
    return NEXT(name)(__VA_ARGS__, flags, mode);

int open(const char *path, int flags, ...) { OPENING(open, AT_FDCWD, path) }
int open64(const char *path, int flags, ...) { OPENING(open64, AT_FDCWD, path) }
int openat(int folder, const char *path, int flags, ...) { OPENING(openat, folder, folder, path) }
int openat64(int folder, const char *path, int flags, ...) { OPENING(openat64, folder, folder, path) }
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* A write that is cut short has done half of its work. */
#define WRITING(whole, half) \
    if (!concerns_handle(handle)) return whole; \
    switch (fate(WRITE)) { \
    case COUNT: return whole; \
    case SHORT: if (size > 1) return half; break; \
    case TORN_KILL: half; kill(getpid(), SIGKILL); pause(); \
    } \
    errno = plan->error; \
    return -1;

ssize_t write(int handle, const void *data, size_t size) {
    WRITING(NEXT(write)(handle, data, size), NEXT(write)(handle, data, size / 2))
}
ssize_t pwrite(int handle, const void *data, size_t size, off_t at) {
    WRITING(NEXT(pwrite)(handle, data, size, at), NEXT(pwrite)(handle, data, size / 2, at))
}
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t at) {
    WRITING(NEXT(pwrite64)(handle, data, size, at), NEXT(pwrite64)(handle, data, size / 2, at))
}
ssize_t writev(int handle, const struct iovec *parts, int size) {
    WRITING(NEXT(writev)(handle, parts, size), NEXT(writev)(handle, parts, size / 2))
}
ssize_t pwritev(int handle, const struct iovec *parts, int size, off_t at) {
    WRITING(NEXT(pwritev)(handle, parts, size, at), NEXT(pwritev)(handle, parts, size / 2, at))
}

int fsync(int handle) { REFUSE_WHEN(concerns_handle(handle), SYNC) return NEXT(fsync)(handle); }
int fdatasync(int handle) { REFUSE_WHEN(concerns_handle(handle), SYNC) return NEXT(fdatasync)(handle); }
int ftruncate(int handle, off_t size) { REFUSE_WHEN(concerns_handle(handle), TRUNCATE) return NEXT(ftruncate)(handle, size); }
int ftruncate64(int handle, off64_t size) { REFUSE_WHEN(concerns_handle(handle), TRUNCATE) return NEXT(ftruncate64)(handle, size); }

int rename(const char *from, const char *to) {
    REFUSE_WHEN(concerns_path(AT_FDCWD, to), RENAME)
    return NEXT(rename)(from, to);
}
int renameat(int there, const char *from, int folder, const char *to) {
    REFUSE_WHEN(concerns_path(folder, to), RENAME)
    return NEXT(renameat)(there, from, folder, to);
}
int renameat2(int there, const char *from, int folder, const char *to, unsigned flags) {
    REFUSE_WHEN(concerns_path(folder, to), RENAME)
    return NEXT(renameat2)(there, from, folder, to, flags);
}
int link(const char *from, const char *to) { REFUSE_WHEN(concerns_path(AT_FDCWD, to), LINK) return NEXT(link)(from, to); }
int unlink(const char *path) { REFUSE_WHEN(concerns_path(AT_FDCWD, path), UNLINK) return NEXT(unlink)(path); }
int unlinkat(int folder, const char *path, int flags) {
    REFUSE_WHEN(concerns_path(folder, path), UNLINK)
    return NEXT(unlinkat)(folder, path, flags);
}
int rmdir(const char *path) { REFUSE_WHEN(concerns_path(AT_FDCWD, path), UNLINK) return NEXT(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { REFUSE_WHEN(concerns_path(AT_FDCWD, path), FOLDER) return NEXT(mkdir)(path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) {
    REFUSE_WHEN(concerns_path(folder, path), FOLDER)
    return NEXT(mkdirat)(folder, path, mode);
}
