/*
 * Jumps to every syscall instruction of the stub, with every number at one of them and at the
 * others with those that its filter knows. Whatever the host kernel executes there, it may hit this
 * process only. With an argument only what the controls of one protection look for: "hear", whether
 * a call that the filter does not know reaches the host; "truncate", whether the sentry loses the
 * memory that it shares with this process.
 */
#include "stub.h"
#include <sys/utsname.h>

enum { SITES = 128, EACH_MS = 30, LAST = 462 };

static const uint8_t *sites[SITES];
static int n_sites;
static uint8_t *stub;
static char data[8192] __attribute__((aligned(4096)));

static uint64_t argument(int i)
{
    uint64_t r = rnd();

    switch (r % 7) {
    case 0:
        return (uint64_t)data;
    case 1:
        return (uint64_t)stub + (r >> 8) % AREAS_END / 4096 * 4096;
    case 2:
        return (uint64_t)-1;
    case 3:
        return i == 0 ? 0 : 4096;
    case 4:
        return (r >> 8) % 8;
    case 5:
        return i == 0 ? (r & 256 ? 0x250f00 : 0x8011) : 0x22;
    default:
        return r >> (r % 60);
    }
}

static const long known[] = {202, 15, 9, 11, 10, 25, 28, 56, 47, 44, 33, 436, 72, 17, 324, 24};
enum { KNOWN = sizeof(known) / sizeof(*known) };

static void attempt(void *arg, long i)
{
    const uint8_t *volatile at = sites[arg ? i / KNOWN : 0];
    volatile long nr = arg ? known[i % KNOWN] : i;
    uint64_t v[6];

    for (int k = 0; k < 6; k++)
        v[k] = argument(k);
    if (!sigsetjmp(on_fault, 1))
        jump(at, nr, v);
}

/* A native call: proof that the jump does what it is meant to. pread64 is not a guest's own call.
 */
static bool reaches_host(void)
{
    static const uint64_t v[6] = {999, 0, 0, 0};

    for (volatile int i = 0; i < n_sites; i++) {
        if (sites[i][2] != 0xf4)
            continue;
        if (sigsetjmp(on_fault, 1) == 0) {
            jump(sites[i], SYS_pread64, v);
        } else if (fault_rax == -EBADF) {
            return true;
        }
    }
    return false;
}

/* A call that no guest makes natively: its answer tells whose kernel it was. */
static bool hears_of_host(void)
{
    static struct utsname said;
    struct utsname own;
    const uint64_t v[6] = {(uint64_t)&said};

    uname(&own);
    for (volatile int i = 0; i < n_sites; i++) {
        memset(&said, 0, sizeof(said));
        if (sites[i][2] == 0xf4 && sigsetjmp(on_fault, 1) == 0)
            jump(sites[i], SYS_uname, v);
        if (*said.release && strcmp(said.release, own.release) != 0) {
            fprintf(stderr, "the host's kernel is %s\n", said.release);
            return true;
        }
    }
    return false;
}

/* Takes the hand-over slots away under the sentry; the next call finds none. */
static void truncate_slots(void)
{
    static const uint64_t v[6] = {1, 0};

    for (volatile int i = 0; i < n_sites; i++)
        if (sites[i][2] == 0xf4 && sigsetjmp(on_fault, 1) == 0)
            jump(sites[i], SYS_ftruncate, v);
}

int main(int argc, char **argv)
{
    bool heard;
    int taken;

    become_judge();
    catch_faults();
    stub = find_stub();
    if (!stub) {
        fprintf(stderr, "no stub found\n");
        return 2;
    }
    for (const uint8_t *p = stub; p + 2 < stub + STUB_CODE && n_sites < SITES; p++) {
        if (sigsetjmp(on_fault, 1))
            break; /* behind its last page */
        if (p[0] == 0x0f && p[1] == 0x05)
            sites[n_sites++] = p;
    }
    fprintf(stderr, "%d syscall instructions, %s\n", n_sites,
            reaches_host() ? "one of them tried" : "none comes back");
    if (!n_sites)
        return 2;
    if (argc > 1 && strcmp(argv[1], "truncate") == 0) {
        if (fork() == 0) {
            truncate_slots();
            _exit(0);
        }
        (void)wait(NULL);
        return verdict(0, "stubjump");
    }
    heard = hears_of_host();
    if (argc > 1)
        return verdict(heard, "stubjump");
    taken = batch(attempt, NULL, LAST + 1, EACH_MS);
    taken += batch(attempt, stub, (long)n_sites * KNOWN, EACH_MS);
    fprintf(stderr, "%d jumps, %d processes\n", LAST + 1 + n_sites * KNOWN, taken);
    return verdict(heard, "stubjump");
}
