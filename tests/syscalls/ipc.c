/* System V semaphores, messages, shared memory; POSIX message queues. */
#include "t.h"
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void semaphores(void)
{
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0}, no_wait = {0, -1, IPC_NOWAIT},
                  undo = {0, 1, SEM_UNDO}, zero = {1, 0, IPC_NOWAIT};
    unsigned short all[3] = {1, 2, 3};
    int id = MUST(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600)), st;

    SECTION("semaphores");
    R(semctl(id, 0, GETVAL));
    R(semop(id, &up, 1));
    R(semop(id, &no_wait, 1));
    R(semop(id, &no_wait, 1));
    R(semctl(id, 0, SETALL, all));
    R(semctl(id, 2, GETVAL));
    R(semop(id, &zero, 1));
    R(semctl(id, 9, GETVAL));
    R(semctl(id, 1, SETVAL, -1));
    struct sembuf both[2] = {{0, -1, IPC_NOWAIT}, {1, -5, IPC_NOWAIT}};
    R(semop(id, both, 2));
    R(semctl(id, 0, GETVAL)); /* all or nothing */
    R(semop(id, NULL, 0));
    CHILD("undo", R(semop(id, &undo, 1)));
    R(semctl(id, 0, GETVAL));
    R(semctl(id, 0, SETVAL, 0));
    pid_t pid = fork();
    if (!pid)
        _exit(semop(id, &down, 1) ? 1 : 0);
    sleep_ms(30);
    R(semctl(id, 0, GETNCNT));
    R(semop(id, &up, 1));
    MUST(waitpid(pid, &st, 0));
    wait_status("woken", st);
    struct timespec ts = {0, 20000000};
    R(semtimedop(id, &down, 1, &ts));
    pid = fork();
    if (!pid) {
        (void)semop(id, &down, 1);
        _exit(errno == EIDRM ? 0 : 1);
    }
    sleep_ms(30);
    R(semctl(id, 0, IPC_RMID));
    MUST(waitpid(pid, &st, 0));
    wait_status("removed under it", st);
    R(semop(id, &up, 1));
    R(semget(0x1234567, 0, 0));
    id = MUST(semget(0x1234567, 2, IPC_CREAT | IPC_EXCL | 0600));
    R(semget(0x1234567, 2, IPC_CREAT | IPC_EXCL | 0600));
    R(semget(0x1234567, 5, 0));
    R(semget(0x1234567, 2, 0) == id);
    R(semctl(id, 0, IPC_RMID));
}

static void messages(void)
{
    struct {
        long type;
        char text[32];
    } m = {2, "two"};
    int id = MUST(msgget(IPC_PRIVATE, IPC_CREAT | 0600)), st;

    SECTION("messages");
    R(msgsnd(id, &m, 4, 0));
    m.type = 1;
    R(msgsnd(id, &m, 8, 0));
    m.type = 0;
    R(msgsnd(id, &m, 8, 0));
    R(msgrcv(id, &m, 32, 1, 0));
    R(msgrcv(id, &m, 32, 1, IPC_NOWAIT));
    R(msgrcv(id, &m, 2, 0, 0));
    R(msgrcv(id, &m, 2, 0, MSG_NOERROR));
    R(m.type);
    for (long i = 3; i > 0; i--) {
        m.type = i;
        MUST(msgsnd(id, &m, 1, 0));
    }
    R(msgrcv(id, &m, 32, -2, 0));
    R(m.type);
    R(msgrcv(id, &m, 32, 3, MSG_EXCEPT));
    R(m.type);
    pid_t pid = fork();
    if (!pid)
        _exit(msgrcv(id, &m, 32, 9, 0) == 5 ? 0 : 1);
    sleep_ms(30);
    m.type = 9;
    R(msgsnd(id, &m, 5, 0));
    MUST(waitpid(pid, &st, 0));
    wait_status("received", st);
    struct msqid_ds ds;
    R(msgctl(id, IPC_STAT, &ds));
    R(ds.msg_qnum);
    R(msgctl(id, IPC_RMID, NULL));
    R(msgsnd(id, &m, 5, 0));
}

static void shared(void)
{
    struct shmid_ds ds;
    int id = MUST(shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0640));

    SECTION("shared memory");
    char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
    (void)strcpy(p, "shared");
    puts(q);
    R(shmctl(id, IPC_STAT, &ds));
    printf("%ld %ld %o\n", (long)ds.shm_segsz, (long)ds.shm_nattch, ds.shm_perm.mode & 0777);
    R(shmat(id, (void *)1, 0) == (void *)-1);
    R(shmdt(q));
    R(shmctl(id, IPC_RMID, NULL));
    R(shmat(id, NULL, 0) == (void *)-1 || 1);
    puts(p);
    R(shmdt(p));
    R(shmctl(id, IPC_STAT, &ds));
    R(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600));
}

static void posix_queues(void)
{
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
    char b[32];
    unsigned prio;

    SECTION("POSIX queues");
    (void)mq_unlink("/berm-test");
    mqd_t q = mq_open("/berm-test", O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attr);
    if (q < 0) {
        printf("none: %s\n", strerrorname_np(errno));
        return;
    }
    R(mq_open("/berm-test", O_CREAT | O_EXCL | O_RDWR, 0600, &attr));
    R(mq_receive(q, b, 32, &prio));
    R(mq_send(q, "low", 3, 1));
    R(mq_send(q, "high", 4, 9));
    R(mq_send(q, "full", 4, 9));
    R(mq_send(q, b, 17, 1));
    R(mq_receive(q, b, 3, &prio));
    R(mq_receive(q, b, 32, &prio));
    R(prio);
    struct pollfd p = {.fd = q, .events = POLLIN | POLLOUT};
    R(poll(&p, 1, 0));
    R(p.revents);
    R(mq_getattr(q, &attr));
    printf("%ld %ld %ld\n", attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
    R(mq_unlink("/berm-test"));
    R(mq_unlink("/berm-test"));
    R(mq_receive(q, b, 32, &prio));
    R(mq_close(q));
}

/* An attachment that mprotect cut in two goes as a whole; /proc lists what there is. */
static void listed(void)
{
    struct shmid_ds ds;
    int id = shmget(IPC_PRIVATE, 16384, 0600), q = msgget(IPC_PRIVATE, 0600);
    char *p = shmat(id, NULL, 0);

    SECTION("listed");
    R(mprotect(p + 4096, 4096, PROT_READ));
    R(shmdt(p));
    R(shmctl(id, IPC_STAT, &ds));
    R(ds.shm_nattch);
    const char *files[] = {"/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"};
    for (int i = 0; i < 3; i++) {
        char line[512] = "";
        FILE *f = fopen(files[i], "r");
        if (f && fgets(line, sizeof(line), f))
            printf("%s", line);
        if (f)
            (void)fclose(f);
    }
    R(shmctl(id, IPC_RMID, NULL));
    R(msgctl(q, IPC_RMID, NULL));
    id = semget(4711, 2, IPC_CREAT | 0600);
    R(semget(4711, 3, 0600));
    R(semctl(id, 0, IPC_RMID));
    char name[300];
    memset(name, 'a', 299);
    name[0] = '/';
    name[299] = 0;
    R(mq_unlink(name));
}

static sem_t called;
static int value;

static void on_message(union sigval v)
{
    value = v.sival_int;
    (void)sem_post(&called);
}

/* libc's thread reads from a netlink socket, which the kernel writes to. */
static void queue_threads(void)
{
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 8};
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD,
                          .sigev_notify_function = on_message,
                          .sigev_value.sival_int = 42};
    mqd_t q = MUST(mq_open("/berm-thread", O_RDWR | O_CREAT, 0600, &attr));

    SECTION("SIGEV_THREAD");
    MUST(sem_init(&called, 0, 0));
    R(mq_notify(q, &ev));
    R(mq_notify(q, &ev));
    R(mq_send(q, "x", 1, 0));
    MUST(sem_wait(&called));
    R(value);
    R(mq_notify(q, NULL));
    R(mq_notify(q, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65}));
    R(mq_notify(q, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL}));
    R(mq_send(q, "x", 1, 0));
    R(syscall(SYS_mq_notify, q,
              &(struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_signo = q}));
    R(mq_close(q));
    R(mq_unlink("/berm-thread"));
}

int main(void)
{
    listed();
    semaphores();
    messages();
    shared();
    posix_queues();
    queue_threads();
    return 0;
}
