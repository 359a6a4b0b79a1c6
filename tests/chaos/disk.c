/* A disk that fails on demand, and remembers what a power cut would take from it.
 *
 * Preloaded into the engine, it stands between SQLite and the kernel for one database, its log and its index. A shared
 * page (struct control) says what is to fail. Before each write to the database or the log the old content goes to an
 * undo file; a completed sync empties that file. So the undo files hold exactly what no sync has covered, also after
 * the process was killed, and the harness can take any of it back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct fault { volatile int32_t error, left, chance, failed; };  /* left: calls to fail, -1 for all; chance of 1000 */
struct control { struct fault write, sync, read; volatile int32_t sync_delay, syncs; };
struct record { int64_t offset, length, size, kept; };  /* a write of `length` at `offset`; -1: a truncation */

enum { NONE, DATABASE, LOG, INDEX };
#define FILES 4096

static unsigned char kinds[FILES];
static int undo[3] = {-1, -1, -1};
static struct control *control;
static char database[4096];
static unsigned int chance;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t), (*real_close)(int);
static int (*real_open)(const char *, int, ...), (*real_unlink)(const char *);

static void find(void) {
  if (real_open) return;
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_pread = dlsym(RTLD_NEXT, "pread64");
  real_write = dlsym(RTLD_NEXT, "write");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_close = dlsym(RTLD_NEXT, "close");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_open = dlsym(RTLD_NEXT, "open64");
}

__attribute__((constructor)) static void begin(void) {
  find();
  const char *name = getenv("CHAOS_DATABASE"), *page = getenv("CHAOS_CONTROL");
  if (!name || !page) return;
  int descriptor = real_open(page, O_RDWR | O_CLOEXEC);
  if (descriptor < 0) abort();
  void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  real_close(descriptor);
  if (shared == MAP_FAILED) abort();
  strncpy(database, name, sizeof database - 1);
  chance = (unsigned int)getpid() ^ (unsigned int)time(NULL);
  char path[4200];
  static const char *const ends[] = {"", ".undo", "-wal.undo"};
  for (int kind = DATABASE; kind <= LOG; kind++) {
    strcpy(path, name);
    strcat(path, ends[kind]);
    undo[kind] = real_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (undo[kind] < 0) abort();
  }
  control = shared;
}

static int kind_of_path(const char *path) {
  size_t length = strlen(database);
  if (!control || strncmp(path, database, length)) return NONE;
  const char *end = path + length;
  return !*end ? DATABASE : !strcmp(end, "-wal") ? LOG : !strcmp(end, "-shm") ? INDEX : NONE;
}

static int kind_of(int descriptor) { return descriptor >= 0 && descriptor < FILES ? kinds[descriptor] : NONE; }

static int fails(struct fault *fault) {
  if (!fault->error || !fault->left || (int)(rand_r(&chance) % 1000) >= fault->chance) return 0;
  if (fault->left > 0) fault->left--;
  fault->failed++;
  errno = fault->error;
  return 1;
}

/* Keeps what a write of `length` bytes at `offset` is about to replace. */
static void keep(int kind, int descriptor, off_t offset, off_t length) {
  struct stat about;
  if (kind == INDEX || fstat(descriptor, &about)) return;
  off_t from = offset, to = length < 0 ? about.st_size : offset + length;
  if (to > about.st_size) to = about.st_size;
  off_t kept = to > from ? to - from : 0;
  char *bytes = malloc(sizeof(struct record) + kept);
  if (!bytes) abort();
  struct record *record = (struct record *)bytes;
  *record = (struct record){offset, length, about.st_size, kept};
  if (kept && real_pread(descriptor, bytes + sizeof *record, kept, from) != kept) abort();
  if (real_write(undo[kind], bytes, sizeof *record + kept) < 0) abort();
  free(bytes);
}

static int open_one(const char *path, int flags, mode_t mode) {
  find();
  int descriptor = real_open(path, flags, mode);
  if (control && descriptor >= 0 && descriptor < FILES) kinds[descriptor] = (unsigned char)kind_of_path(path);
  return descriptor;
}

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_one(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = mode_of(flags, more);
  va_end(more);
  return open_one(path, flags, mode);
}

int close(int descriptor) {
  find();
  if (descriptor >= 0 && descriptor < FILES) kinds[descriptor] = NONE;
  return real_close(descriptor);
}

int unlink(const char *path) {
  find();
  int kind = kind_of_path(path);
  if (kind == LOG && real_ftruncate(undo[LOG], 0)) abort();
  return real_unlink(path);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off_t offset) {
  find();
  int kind = kind_of(descriptor);
  if (!kind) return real_pwrite(descriptor, bytes, count, offset);
  pthread_mutex_lock(&lock);
  ssize_t written = -1;
  int failed = fails(&control->write);
  if (!failed || (errno == ENOSPC && count > 1 && kind != INDEX)) {
    /* A disk that fills up takes the first part of a write. */
    int error = errno;
    size_t part = failed ? count / 2 : count;
    keep(kind, descriptor, offset, (off_t)part);
    written = real_pwrite(descriptor, bytes, part, offset);
    if (failed) written = -1, errno = error;
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return written;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  return pwrite64(descriptor, bytes, count, offset);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  find();
  /* SQLite writes at offsets; should a build not do that, this model would be blind. */
  if (kind_of(descriptor) == DATABASE || kind_of(descriptor) == LOG) abort();
  return real_write(descriptor, bytes, count);
}

ssize_t pread64(int descriptor, void *bytes, size_t count, off_t offset) {
  find();
  int kind = kind_of(descriptor);
  if ((kind == DATABASE || kind == LOG) && fails(&control->read)) return -1;
  return real_pread(descriptor, bytes, count, offset);
}

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) {
  return pread64(descriptor, bytes, count, offset);
}

static int sync_one(int descriptor, int (*real)(int)) {
  int kind = kind_of(descriptor);
  if (kind != DATABASE && kind != LOG) return real(descriptor);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (control->sync_delay > 0) usleep((useconds_t)control->sync_delay);
  if (!fails(&control->sync)) {
    result = real(descriptor);
    if (!result) {
      if (real_ftruncate(undo[kind], 0)) abort();
      control->syncs++;
    }
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int fsync(int descriptor) { find(); return sync_one(descriptor, real_fsync); }

int fdatasync(int descriptor) { find(); return sync_one(descriptor, real_fdatasync); }

int ftruncate64(int descriptor, off_t length) {
  find();
  int kind = kind_of(descriptor);
  if (!kind) return real_ftruncate(descriptor, length);
  pthread_mutex_lock(&lock);
  int result = -1;
  if (!fails(&control->write)) {
    keep(kind, descriptor, length, -1);
    result = real_ftruncate(descriptor, length);
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }
