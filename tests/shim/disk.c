/* A disk that fails when it is told to.
 *
 * Preloaded (LD_PRELOAD) into the server, this stands between SQLite and the C library for two files: the data
 * file named by SHIM_FILE and its log (SHIM_FILE-wal). What fails, and how, stands in the file named by
 * SHIM_CONTROL, which the test rewrites while the server runs. Each line of it is a rule:
 *
 *     on=write,sync file=db,wal errno=28 after=200000 count=3 percent=5 seed=7 short=1 lose=1
 *
 *   on       which calls: write, sync (fsync, fdatasync), truncate, read, open
 *   file     which files: db, wal; left out: both
 *   errno    what the call fails with; 28 ENOSPC, 5 EIO, 30 EROFS, 13 EACCES
 *   after    writes: so many bytes still fit before the rule begins to act
 *   count    the rule acts this many times and is over; left out: until the file changes
 *   percent  it acts on this share of the calls, drawn from `seed`; left out: on each
 *   short=1  a write is not refused but cut in half
 *   lose=1   a sync that fails has lost what was written since the last one: the old bytes are put back. That is
 *            what Linux may do with pages whose writing failed (https://wiki.postgresql.org/wiki/Fsync_Errors)
 *
 * Numbers start anew when the control file changes. An empty or missing control file: a disk in order.
 *
 * Beside this, every write is noted, with the bytes that it replaces, in SHIM_UNDO.db and SHIM_UNDO.wal until a
 * sync of that file succeeds. A test that kills the server and puts those bytes back has seen a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
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

enum { NONE = -1, DB = 0, WAL = 1 };
enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, READ = 8, OPEN = 16 };
#define RULES 8

struct rule {
  int calls, files, error;
  long long after, count, percent;
  uint64_t seed;
  int is_short, loses;
};

/* One note: the bytes at `offset` before a write, and how long the file was. The bytes follow. */
struct note {
  int64_t offset, length, size;
};

/* A sync that failed is told once to everybody who has the file open, as the kernel does: the generation of the
 * last failure by file, and the one that each descriptor has heard of. */
#define DESCRIPTORS 4096
static int failures[2], heard[DESCRIPTORS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char text[2048];
static struct rule rules[RULES];
static int rule_count;

/* Calls of our own go to the kernel directly, so that they are not intercepted again. */
static long raw_open(const char *path, int flags) { return syscall(SYS_openat, AT_FDCWD, path, flags, 0600); }
static long raw_pread(int fd, void *to, size_t n, off_t at) { return syscall(SYS_pread64, fd, to, n, at); }
static long raw_pwrite(int fd, const void *from, size_t n, off_t at) { return syscall(SYS_pwrite64, fd, from, n, at); }

/* Which of the two files `path` is. */
static int which_path(const char *path) {
  const char *file = getenv("SHIM_FILE");
  if (!file || !path) return NONE;
  size_t length = strlen(file);
  if (strncmp(path, file, length) != 0) return NONE;
  if (path[length] == 0) return DB;
  if (strcmp(path + length, "-wal") == 0) return WAL;
  return NONE;
}

static int which(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return NONE;
  path[length] = 0;
  return which_path(path);
}

static long long number(const char *line, const char *name, long long otherwise) {
  const char *at = strstr(line, name);
  return at ? atoll(at + strlen(name)) : otherwise;
}

static int words(const char *line, const char *name, const char *const *known, const int *bits) {
  const char *at = strstr(line, name);
  if (!at) return ~0;
  char value[64] = {0};
  sscanf(at + strlen(name), "%63s", value);
  int found = 0;
  for (int i = 0; known[i]; i++)
    if (strstr(value, known[i])) found |= bits[i];
  return found;
}

static void parse(void) {
  static const char *const calls[] = {"write", "sync", "truncate", "read", "open", NULL};
  static const int call_bits[] = {WRITE, SYNC, TRUNCATE, READ, OPEN};
  static const char *const files[] = {"db", "wal", NULL};
  static const int file_bits[] = {1 << DB, 1 << WAL};
  char copy[sizeof text], *rest = copy, *line;
  strcpy(copy, text);
  rule_count = 0;
  while ((line = strsep(&rest, "\n")) && rule_count < RULES) {
    if (!strstr(line, "on=")) continue;
    rules[rule_count++] = (struct rule){
        .calls = words(line, "on=", calls, call_bits),
        .files = words(line, "file=", files, file_bits),
        .error = (int)number(line, "errno=", EIO),
        .after = number(line, "after=", 0),
        .count = number(line, "count=", -1),
        .percent = number(line, "percent=", 100),
        .seed = (uint64_t)number(line, "seed=", 1) * 2654435761u + 1,
        .is_short = (int)number(line, "short=", 0),
        .loses = (int)number(line, "lose=", 0),
    };
  }
}

/* Reads the control file; the rules start anew if it says something else than before. */
static void look(void) {
  char now[sizeof text] = {0};
  const char *path = getenv("SHIM_CONTROL");
  int fd = path ? (int)raw_open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    raw_pread(fd, now, sizeof now - 1, 0);
    syscall(SYS_close, fd);
  }
  if (strcmp(now, text) != 0) {
    strcpy(text, now);
    parse();
  }
}

static int draw(struct rule *rule) {
  rule->seed ^= rule->seed << 13;
  rule->seed ^= rule->seed >> 7;
  rule->seed ^= rule->seed << 17;
  return (long long)(rule->seed % 100) < rule->percent;
}

/* The rule that acts on this call, if any. Held under the lock. */
static struct rule *acting(int call, int file, size_t bytes) {
  look();
  for (int i = 0; i < rule_count; i++) {
    struct rule *rule = &rules[i];
    if (!(rule->calls & call) || !(rule->files & (1 << file)) || rule->count == 0) continue;
    if (call == WRITE && rule->after > 0) {
      rule->after -= (long long)bytes;
      if (rule->after > 0) continue;
      rule->after = 0;
    }
    if (!draw(rule)) continue;
    if (rule->count > 0) rule->count--;
    return rule;
  }
  return NULL;
}

static int undo_fd(int file) {
  static int fds[2] = {-1, -1};
  const char *base = getenv("SHIM_UNDO");
  if (fds[file] < 0 && base) {
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", base, file == DB ? "db" : "wal");
    fds[file] = (int)raw_open(path, O_RDWR | O_CREAT | O_CLOEXEC);
  }
  return fds[file];
}

/* Before a write: what stands there now. */
static void note_old(int fd, int file, size_t length, off_t at) {
  int undo = undo_fd(file);
  struct stat data, noted;
  if (undo < 0 || fstat(fd, &data) != 0 || fstat(undo, &noted) != 0) return;
  char *bytes = calloc(1, sizeof(struct note) + length);
  struct note *note = (struct note *)bytes;
  long have = raw_pread(fd, bytes + sizeof *note, length, at);
  *note = (struct note){.offset = at, .length = have > 0 ? have : 0, .size = data.st_size};
  raw_pwrite(undo, bytes, sizeof *note + (size_t)note->length, noted.st_size);
  free(bytes);
}

static void forget_notes(int file) {
  int undo = undo_fd(file);
  if (undo >= 0) syscall(SYS_ftruncate, undo, 0);
}

/* Puts the old bytes back, the newest write first. */
static void lose(int fd, int file) {
  int undo = undo_fd(file);
  struct stat noted;
  if (undo < 0 || fstat(undo, &noted) != 0) return;
  char *all = malloc((size_t)noted.st_size + 1);
  long size = raw_pread(undo, all, (size_t)noted.st_size, 0);
  long starts[65536], n = 0;
  for (long at = 0; at < size && n < 65536; at += (long)sizeof(struct note) + ((struct note *)(all + at))->length)
    starts[n++] = at;
  while (n-- > 0) {
    struct note *note = (struct note *)(all + starts[n]);
    raw_pwrite(fd, (char *)(note + 1), (size_t)note->length, note->offset);
    syscall(SYS_ftruncate, fd, note->size);
  }
  free(all);
  forget_notes(file);
}

static ssize_t do_pwrite(int fd, const void *from, size_t length, off_t at) {
  int file = which(fd);
  if (file == NONE) return raw_pwrite(fd, from, length, at);
  pthread_mutex_lock(&lock);
  struct rule *rule = acting(WRITE, file, length);
  ssize_t written = -1;
  int error = rule ? rule->error : 0;
  if (!rule || rule->is_short) {
    if (rule && length > 1) length /= 2;
    note_old(fd, file, length, at);
    written = raw_pwrite(fd, from, length, at);
    error = errno;
  }
  pthread_mutex_unlock(&lock);
  if (written < 0) errno = error;
  return written;
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return do_pwrite(fd, from, length, at); }
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) { return do_pwrite(fd, from, length, at); }

ssize_t write(int fd, const void *from, size_t length) {
  if (which(fd) == NONE) return syscall(SYS_write, fd, from, length);
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t written = do_pwrite(fd, from, length, at);
  if (written > 0) lseek(fd, at + written, SEEK_SET);
  return written;
}

static int do_sync(int fd, long call) {
  int file = which(fd);
  if (file == NONE) return (int)syscall(call, fd);
  pthread_mutex_lock(&lock);
  int has_missed = fd < DESCRIPTORS && heard[fd] < failures[file];
  struct rule *rule = has_missed ? NULL : acting(SYNC, file, 0);
  int outcome = rule || has_missed ? -1 : (int)syscall(call, fd);
  int error = rule ? rule->error : has_missed ? EIO : errno;
  if (outcome == 0) forget_notes(file);
  if (rule && rule->loses) {
    lose(fd, file);
    failures[file]++;
  }
  if (fd < DESCRIPTORS) heard[fd] = failures[file];
  pthread_mutex_unlock(&lock);
  if (outcome < 0) errno = error;
  return outcome;
}

int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

static int do_truncate(int fd, off_t length) {
  int file = which(fd);
  if (file == NONE) return (int)syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&lock);
  struct rule *rule = acting(TRUNCATE, file, 0);
  int outcome = rule ? -1 : (int)syscall(SYS_ftruncate, fd, length);
  int error = rule ? rule->error : errno;
  pthread_mutex_unlock(&lock);
  if (outcome < 0) errno = error;
  return outcome;
}

int ftruncate(int fd, off_t length) { return do_truncate(fd, length); }
int ftruncate64(int fd, off64_t length) { return do_truncate(fd, length); }

static ssize_t do_pread(int fd, void *to, size_t length, off_t at) {
  int file = which(fd);
  if (file == NONE) return raw_pread(fd, to, length, at);
  pthread_mutex_lock(&lock);
  struct rule *rule = acting(READ, file, 0);
  int error = rule ? rule->error : 0;
  pthread_mutex_unlock(&lock);
  if (!rule) return raw_pread(fd, to, length, at);
  errno = error;
  return -1;
}

ssize_t pread(int fd, void *to, size_t length, off_t at) { return do_pread(fd, to, length, at); }
ssize_t pread64(int fd, void *to, size_t length, off64_t at) { return do_pread(fd, to, length, at); }

/* SQLite reads with lseek and read where it was built without pread. */
ssize_t read(int fd, void *to, size_t length) {
  int file = which(fd);
  if (file == NONE) return syscall(SYS_read, fd, to, length);
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t got = do_pread(fd, to, length, at);
  if (got > 0) lseek(fd, at + got, SEEK_SET);
  return got;
}

static int do_open(const char *path, int flags, mode_t mode) {
  int file = which_path(path);
  if (file != NONE) {
    pthread_mutex_lock(&lock);
    struct rule *rule = acting(OPEN, file, 0);
    int error = rule ? rule->error : 0;
    pthread_mutex_unlock(&lock);
    if (rule) {
      errno = error;
      return -1;
    }
  }
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fd >= 0 && fd < DESCRIPTORS && file != NONE) heard[fd] = failures[file];
  return fd;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return do_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  return do_open(path, flags | O_LARGEFILE, mode);
}
