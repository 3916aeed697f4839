/* Records what a process does to the files of one folder, and ends the process at a chosen one of these operations.
 *
 * Preloaded into a server by benchmarks/crash_zygote.py; idle until disk_trace_begin is called. Each operation is two
 * records in the log: what is about to be done, with the data, then its result. One lock is held over both, so the
 * order of the log is the order of the operations, and at most the last one has no result. The log is written with
 * write(2): what was written survives SIGKILL. 64-bit Linux, where off_t and off64_t are the same.
 *
 * SQLite's -shm files are left out: they are mapped memory, and rebuilt by whoever opens the file first. What this file
 * does not know (splice, dup, mapped writes) shows when the log is compared with the folder, see power_loss.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { RESULT, CREATE, MAKE_FOLDER, WRITE, TRUNCATE, SYNC, RENAME, LINK, REMOVE };

struct record { /* as benchmarks/power_loss_trace.py reads it: little-endian, without padding */
    uint32_t kind, path_bytes, other_bytes, unused;
    uint64_t data_bytes, inode;
    int64_t offset; /* of a write; the new size of TRUNCATE; of RESULT: what the call gave, or -errno */
    int64_t monotonic_ns;
};

enum { MOST_FILES = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_bytes;
static int log_file = -1;
static bool in_root[MOST_FILES]; /* by descriptor */
static long operations_left;     /* until death, counted down; 0: none is planned */
static bool dies_after, dies_now;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause(); /* this thread goes no further */
}

static void put(struct record head, const char *path, const char *other, const struct iovec *data, int pieces) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    head.monotonic_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
    head.path_bytes = path ? strlen(path) : 0;
    head.other_bytes = other ? strlen(other) : 0;
    struct iovec all[3 + IOV_MAX] = {{&head, sizeof head}, {(void *)path, head.path_bytes}, {(void *)other, head.other_bytes}};
    ssize_t bytes = sizeof head + head.path_bytes + head.other_bytes;
    for (int i = 0; i < pieces; i++) {
        all[3 + i] = data[i];
        bytes += data[i].iov_len;
    }
    if (syscall(SYS_writev, log_file, all, 3 + pieces) != bytes) {
        static const char message[] = "disk_trace: the log cannot be written\n";
        syscall(SYS_write, 2, message, sizeof message - 1);
        abort();
    }
}

static void begin_with(struct record head, const char *path, const char *other, const struct iovec *data, int pieces) {
    pthread_mutex_lock(&lock);
    dies_now = operations_left > 0 && --operations_left == 0;
    for (int i = 0; i < pieces; i++) head.data_bytes += data[i].iov_len;
    put(head, path, other, data, pieces);
    if (dies_now && !dies_after) die();
}

static void begin(enum kind kind, uint64_t inode, int64_t offset, const char *path, const char *other) {
    begin_with((struct record){.kind = kind, .inode = inode, .offset = offset}, path, other, NULL, 0);
}

static long end(long result, uint64_t inode) {
    int error = errno;
    put((struct record){.kind = RESULT, .inode = inode, .offset = result < 0 ? -error : result}, NULL, NULL, NULL, 0);
    if (dies_now) die();
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

/* From here on, operations on files of `folder` go to `log`; both are absolute, without links. 0, or -1 with errno. */
int disk_trace_begin(const char *folder, const char *log) {
    int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return -1;
    strncpy(root, folder, sizeof root - 1);
    root_bytes = strlen(root);
    log_file = file;
    return 0;
}

/* Die at the n-th operation from now on: before or after it. 0: at none. */
void disk_trace_die_at(long n, int after) {
    pthread_mutex_lock(&lock);
    operations_left = n;
    dies_after = after;
    pthread_mutex_unlock(&lock);
}

/* The absolute form of a path, if it is one of a traced file. */
static bool traced_path(int folder, const char *path, char *full) {
    char name[64];
    ssize_t bytes = 0;
    if (log_file < 0) return false;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) snprintf(name, sizeof name, "/proc/self/cwd");
        else snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
        bytes = readlink(name, full, PATH_MAX - 1);
        if (bytes < 0) return false;
        full[bytes++] = '/';
    }
    if (bytes + strlen(path) + 1 > PATH_MAX) return false;
    strcpy(full + bytes, path);
    size_t length = strlen(full);
    if (length > 4 && strcmp(full + length - 4, "-shm") == 0) return false;
    return strncmp(full, root, root_bytes) == 0 && (full[root_bytes] == '/' || full[root_bytes] == 0);
}

static bool traced_file(int file) { return log_file >= 0 && file >= 0 && file < MOST_FILES && in_root[file]; }

static uint64_t inode_of(int file) {
    struct stat found;
    return fstat(file, &found) == 0 ? found.st_ino : 0;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

static int open_in(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (!traced_path(folder, path, full)) {
        int file = syscall(SYS_openat, folder, path, flags, mode);
        if (file >= 0 && file < MOST_FILES) in_root[file] = false;
        return file;
    }
    uint64_t before = inode_at(full);
    bool creates = !before && (flags & O_CREAT), empties = before && (flags & O_TRUNC);
    if (creates) begin(CREATE, 0, 0, full, NULL);
    else if (empties) begin(TRUNCATE, before, 0, full, NULL);
    int file = syscall(SYS_openat, folder, path, flags, mode);
    if (creates || empties) end(file, file < 0 ? 0 : inode_of(file));
    if (file >= MOST_FILES) abort();
    if (file >= 0) in_root[file] = true;
    return file;
}

#define MODE_OF(flags)                                   \
    mode_t mode = 0;                                     \
    if ((flags) & (O_CREAT | O_TMPFILE)) {               \
        va_list arguments;                               \
        va_start(arguments, flags);                      \
        mode = va_arg(arguments, mode_t);                \
        va_end(arguments);                               \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_in(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_in(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_in(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_in(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_in(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }
int __open_2(const char *path, int flags) { return open_in(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_in(AT_FDCWD, path, flags, 0); }

int close(int file) {
    if (file >= 0 && file < MOST_FILES) in_root[file] = false;
    return syscall(SYS_close, file);
}

/* Writes; `offset` -1: where the descriptor stands. */
static ssize_t write_pieces(int file, const struct iovec *data, int pieces, off_t offset) {
    if (!traced_file(file)) {
        if (offset < 0) return syscall(SYS_writev, file, data, pieces);
        return syscall(SYS_pwritev, file, data, pieces, offset, 0L);
    }
    struct stat found = {0};
    fstat(file, &found);
    off_t at = offset;
    if (offset < 0) at = fcntl(file, F_GETFL) & O_APPEND ? found.st_size : lseek(file, 0, SEEK_CUR);
    begin_with((struct record){.kind = WRITE, .inode = found.st_ino, .offset = at}, NULL, NULL, data, pieces);
    if (offset < 0) return end(syscall(SYS_writev, file, data, pieces), found.st_ino);
    return end(syscall(SYS_pwritev, file, data, pieces, offset, 0L), found.st_ino);
}

ssize_t writev(int file, const struct iovec *data, int pieces) { return write_pieces(file, data, pieces, -1); }

ssize_t write(int file, const void *data, size_t bytes) {
    if (!traced_file(file)) return syscall(SYS_write, file, data, bytes);
    return write_pieces(file, &(struct iovec){(void *)data, bytes}, 1, -1);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset) {
    if (!traced_file(file)) return syscall(SYS_pwrite64, file, data, bytes, offset);
    return write_pieces(file, &(struct iovec){(void *)data, bytes}, 1, offset);
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off64_t offset) { return pwrite(file, data, bytes, offset); }
ssize_t pwritev(int file, const struct iovec *data, int pieces, off_t offset) {
    return write_pieces(file, data, pieces, offset);
}
ssize_t pwritev64(int file, const struct iovec *data, int pieces, off64_t offset) {
    return write_pieces(file, data, pieces, offset);
}

static int sync_file(int file, long call) {
    if (!traced_file(file)) return syscall(call, file);
    uint64_t inode = inode_of(file);
    begin(SYNC, inode, 0, NULL, NULL);
    return end(syscall(call, file), inode);
}

/* sync_file_range, sync and syncfs are not here: they make nothing durable, or too much to count on. */
int fsync(int file) { return sync_file(file, SYS_fsync); }
int fdatasync(int file) { return sync_file(file, SYS_fdatasync); }

int ftruncate(int file, off_t size) {
    if (!traced_file(file)) return syscall(SYS_ftruncate, file, size);
    uint64_t inode = inode_of(file);
    begin(TRUNCATE, inode, size, NULL, NULL);
    return end(syscall(SYS_ftruncate, file, size), inode);
}

int truncate(const char *path, off_t size) {
    char full[PATH_MAX];
    if (!traced_path(AT_FDCWD, path, full)) return syscall(SYS_truncate, path, size);
    uint64_t inode = inode_at(full);
    begin(TRUNCATE, inode, size, NULL, NULL);
    return end(syscall(SYS_truncate, path, size), inode);
}

int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

static int make_folder(int folder, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!traced_path(folder, path, full) || inode_at(full)) return syscall(SYS_mkdirat, folder, path, mode);
    begin(MAKE_FOLDER, 0, 0, full, NULL);
    int result = syscall(SYS_mkdirat, folder, path, mode);
    return end(result, inode_at(full));
}

int mkdir(const char *path, mode_t mode) { return make_folder(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return make_folder(folder, path, mode); }

static int remove_entry(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    uint64_t inode = traced_path(folder, path, full) ? inode_at(full) : 0;
    if (!inode) return syscall(SYS_unlinkat, folder, path, flags);
    begin(REMOVE, inode, 0, full, NULL);
    return end(syscall(SYS_unlinkat, folder, path, flags), inode);
}

int unlink(const char *path) { return remove_entry(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_entry(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return remove_entry(folder, path, flags); }
int remove(const char *path) {
    int result = unlink(path);
    return result < 0 && errno == EISDIR ? rmdir(path) : result;
}

/* A rename or a link; from or to the outside it is refused, since nobody would know what the file holds. */
static int place(enum kind kind, int from, const char *old, int to, const char *new, unsigned flags) {
    long call = kind == LINK ? SYS_linkat : SYS_renameat2;
    char full_old[PATH_MAX], full_new[PATH_MAX];
    bool old_traced = traced_path(from, old, full_old), new_traced = traced_path(to, new, full_new);
    if (!old_traced && !new_traced) return syscall(call, from, old, to, new, flags);
    if (old_traced != new_traced || (kind == RENAME && flags)) {
        errno = EXDEV;
        return -1;
    }
    begin(kind, inode_at(full_old), 0, full_old, full_new);
    int result = syscall(call, from, old, to, new, flags);
    return end(result, inode_at(full_new));
}

int rename(const char *old, const char *new) { return place(RENAME, AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return place(RENAME, from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    return place(RENAME, from, old, to, new, flags);
}
int link(const char *old, const char *new) { return place(LINK, AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int from, const char *old, int to, const char *new, int flags) {
    return place(LINK, from, old, to, new, flags);
}

/* What is not recorded is refused in a way that callers know: they write plainly instead. */
int fallocate(int file, int mode, off_t offset, off_t bytes) {
    if (!traced_file(file)) return syscall(SYS_fallocate, file, mode, offset, bytes);
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate64(int file, int mode, off64_t offset, off64_t bytes) { return fallocate(file, mode, offset, bytes); }

int posix_fallocate(int file, off_t offset, off_t bytes) {
    if (traced_file(file)) return EINVAL;
    return syscall(SYS_fallocate, file, 0, offset, bytes) < 0 ? errno : 0;
}
int posix_fallocate64(int file, off64_t offset, off64_t bytes) { return posix_fallocate(file, offset, bytes); }

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t bytes, unsigned flags) {
    if (!traced_file(to)) return syscall(SYS_copy_file_range, from, from_at, to, to_at, bytes, flags);
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t bytes) {
    if (!traced_file(to)) return syscall(SYS_sendfile, to, from, offset, bytes);
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t bytes) { return sendfile(to, from, offset, bytes); }
