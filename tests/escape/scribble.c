/*
 * Writes its own hand-over slots and signal stacks while other threads call, so that what the
 * application kernel validates changes under it; takes its stub away. Only this process may suffer.
 * With an argument only what the controls of one protection look for: "words" of the slots' heads,
 * "deaf" threads.
 */
#include "stub.h"
#include <pthread.h>

enum { WORDS = 32, TAKE_AWAY = 36, CASES = 40, DEAF_CASES = 3 };
enum { EACH_MS = 250, RUN_MS = 60, THREADS = 2 };

static uint8_t *stub;
static volatile bool stop;

static void *caller(void *arg)
{
    struct iovec iov[4];
    char buf[600];
    int p[2], fd;

    (void)arg;
    while (!stop) {
        fd = open("/etc/passwd", O_RDONLY);
        for (int i = 0; i < 4; i++)
            iov[i] = (struct iovec){buf, sizeof(buf)};
        (void)!readv(fd, iov, 4);
        (void)!pipe(p);
        (void)!write(p[1], buf, sizeof(buf));
        (void)!readlink("/proc/self/exe", buf, sizeof(buf));
        close(p[0]);
        close(p[1]);
        close(fd);
        free(malloc(1 << 20));
    }
    return NULL;
}

/* Case 0..31: one word of each slot's head flips between two values; then the rest of it, ... */
static void scribble(int which)
{
    uint8_t *slot = stub + STUB_SLOTS, *area = stub + SLOTS_END;
    uint64_t hostile[] = {0, (uint64_t)-1, 1, 0x7fffffff, 0x80000000, (uint64_t)stub, 511, 4096};
    double end = now() + RUN_MS / 1000.0;

    while (now() < end) {
        for (int i = 0; i < 400; i++) {
            uint8_t *s = slot + SLOT_BYTES * (rnd() % (THREADS + 1));
            uint64_t v = hostile[rnd() % 8];

            if (which < WORDS)
                *(volatile uint64_t *)(void *)(s + 8 * which) = v;
            else if (which == 32)
                *(volatile uint64_t *)(void *)(s + rnd() % 1024 / 8 * 8) = rnd();
            else if (which == 33)
                *(volatile uint64_t *)(void *)(s + rnd() % SLOT_BYTES / 8 * 8) = v;
            else if (which == 34)
                *(volatile uint64_t *)(void *)(area + rnd() % (3 * 65536) / 8 * 8) = rnd();
            else
                *(volatile uint64_t *)(void *)(stub + 65536 + rnd() % 65536 / 8 * 8) = v;
        }
    }
}

static void take_away(int which)
{
    static const struct {
        uint64_t at, size;
    } parts[] = {{0, STUB_CODE},
                 {STUB_SLOTS, 4 * SLOT_BYTES},
                 {SLOTS_END, 3 * 65536},
                 {65536, 65536},
                 {0, AREAS_END}};
    static const long calls[] = {SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise};
    const uint8_t *volatile gadget = NULL;
    uint64_t v[6] = {0};

    for (const uint8_t *volatile p = stub; !gadget && p < stub + 60000; p++) {
        if (sigsetjmp(on_fault, 1))
            break;
        if (p[0] == 0x0f && p[1] == 0x05 && p[2] == 0xf4)
            gadget = p;
    }
    for (volatile size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        v[0] = (uint64_t)stub + parts[i].at;
        v[1] = parts[i].size;
        v[2] = which == 3 ? 9 : 0; /* PROT_NONE; MADV_REMOVE */
        if (sigsetjmp(on_fault, 1))
            continue;
        /* First as anybody, then as the stub would. */
        syscall(calls[which], v[0], v[1], v[2], 0, 0, 0);
        if (gadget)
            jump(gadget, calls[which], v);
    }
}

static void *block(void *arg)
{
    int p[2];
    char c;

    (void)arg;
    (void)!pipe(p);
    (void)!read(p[0], &c, 1);
    return NULL;
}

/* Word 2 of a slot says that its host thread sleeps. If it says no, the application kernel does not
 * wake it, and whatever it asks of that thread is never answered. */
static void *deafen(void *arg)
{
    (void)arg;
    usleep(30000);
    for (int i = 0; i <= THREADS; i++)
        *(volatile uint32_t *)(void *)(stub + STUB_SLOTS + SLOT_BYTES * (unsigned)i + 8) = 0;
    return NULL;
}

/* All threads but the one that did it are asleep; then the process is killed. */
static void attempt_deaf(void *arg)
{
    pthread_t t;

    for (int i = 1; i < THREADS; i++)
        (void)!pthread_create(&t, NULL, block, NULL);
    (void)!pthread_create(&t, NULL, deafen, NULL);
    block(arg);
}

static void attempt(void *arg)
{
    int which = *(int *)arg;
    pthread_t t;

    for (int i = 0; i < THREADS; i++)
        (void)!pthread_create(&t, NULL, caller, NULL);
    usleep(2000);
    if (which < TAKE_AWAY)
        scribble(which);
    else
        take_away(which - TAKE_AWAY);
    stop = true;
}

static int attempts(int from, int to)
{
    int deaths = 0;

    for (int i = from; i < to && in_time(); i++) {
        if (i == TAKE_AWAY)
            catch_faults();
        deaths += apart(attempt, &i, EACH_MS) != 0;
    }
    return deaths;
}

static int deaf_attempts(void)
{
    int deaths = 0;

    for (int i = 0; i < DEAF_CASES; i++)
        deaths += apart(attempt_deaf, NULL, EACH_MS) != 0;
    return deaths;
}

int main(int argc, char **argv)
{
    bool words = argc < 2 || strcmp(argv[1], "words") == 0;
    bool deaf = argc < 2 || strcmp(argv[1], "deaf") == 0;
    int deaths = 0;

    become_judge();
    catch_faults();
    stub = find_stub();
    if (!stub) {
        fprintf(stderr, "no stub found\n");
        return 2;
    }
    signal(SIGSEGV, SIG_DFL);
    if (deaf)
        deaths += deaf_attempts();
    if (words)
        deaths += attempts(0, argc < 2 ? CASES : WORDS);
    fprintf(stderr, "%d of %d processes died of it\n", deaths, CASES + DEAF_CASES);
    return verdict(0, "scribble");
}
