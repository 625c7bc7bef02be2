/* Pseudo terminals: line discipline, signals, job control, sizes. */
#include "t.h"
#include <sys/prctl.h>
#include <termios.h>

static int master;
static char slave_name[64];

static int open_pair(void)
{
    master = MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(grantpt(master));
    MUST(unlockpt(master));
    MUST(ptsname_r(master, slave_name, sizeof(slave_name)));
    return MUST(open(slave_name, O_RDWR | O_NOCTTY));
}

static void show_read(int fd)
{
    char b[256];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t n;

    if (poll(&p, 1, 300) == 0) {
        puts("nothing");
        return;
    }
    n = read(fd, b, sizeof(b));
    if (n < 0)
        printf("%s", strerrorname_np(errno));
    for (ssize_t i = 0; i < n; i++)
        if (b[i] >= 32 && b[i] < 127)
            putchar(b[i]);
        else
            printf("\\%02x", (unsigned char)b[i]);
    printf(" (%zd)\n", n);
    (void)fflush(stdout);
}

/* Linux hands what was written over in the background: give it the time. */
static void say(int fd, const char *text)
{
    MUST(write(fd, text, strlen(text)));
    usleep(50000);
}

static void lines(void)
{
    int s = open_pair();
    struct termios t;
    struct winsize w = {24, 80, 0, 0};

    SECTION("canonical");
    R(isatty(s));
    R(isatty(master));
    R(strncmp(slave_name, "/dev/pts/", 9));
    R(tcgetattr(s, &t));
    printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    struct termios locks;
    memset(&locks, 0xff, sizeof(locks));
    R(ioctl(s, TIOCGLCKTRMIOS, &locks));
    printf("locked: %x %x %x %x\n", locks.c_iflag, locks.c_oflag, locks.c_cflag, locks.c_lflag);
    CHILD("settings are locked by privileged processes only", {
        MUST(setresuid(2000, 2000, 2000));
        R(ioctl(s, TIOCSLCKTRMIOS, &locks));
    });
    for (int i = 0; i < 17; i++)
        printf("%d ", t.c_cc[i]);
    puts("");
    say(master, "hello\n");
    show_read(s);
    show_read(master); /* the echo */
    say(s, "out\n");
    show_read(master);
    say(master, "abc\177\177x\n");
    show_read(s);
    show_read(master);
    say(master, "one two\027three\n");
    show_read(s);
    show_read(master);
    say(master, "kill\025line\n");
    show_read(s);
    show_read(master);
    say(master, "partial");
    show_read(s);
    say(master, "\004");
    show_read(s);
    say(master, "\004");
    show_read(s); /* end of file */
    show_read(master);
    say(master, "\026\003\r");
    show_read(s);
    show_read(master);
    say(master, "a\nb\n");
    show_read(s);
    show_read(s);
    show_read(master);
    int n;
    say(master, "xyz\n");
    R(ioctl(s, FIONREAD, &n));
    R(n);
    R(tcflush(s, TCIFLUSH));
    show_read(s);
    show_read(master);
    R(ioctl(s, TIOCGWINSZ, &w));
    printf("%d %d\n", w.ws_row, w.ws_col);
    w = (struct winsize){33, 99, 0, 0};
    R(ioctl(master, TIOCSWINSZ, &w));
    memset(&w, 0, sizeof(w));
    R(ioctl(s, TIOCGWINSZ, &w));
    printf("%d %d\n", w.ws_row, w.ws_col);
    SECTION("raw");
    cfmakeraw(&t);
    R(tcsetattr(s, TCSANOW, &t));
    say(master, "r\003\n\r");
    show_read(s);
    show_read(master);
    say(s, "n\n");
    show_read(master);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    R(tcsetattr(s, TCSANOW, &t));
    char b[8];
    R(read(s, b, 8));
    t.c_cc[VMIN] = 3;
    t.c_cc[VTIME] = 0;
    R(tcsetattr(s, TCSANOW, &t));
    say(master, "12345");
    R(read(s, b, 8));
    R(fcntl(s, F_SETFL, O_NONBLOCK));
    R(read(s, b, 8));
    R(close(s));
    show_read(master);
    R(ioctl(master, TIOCGPTN, &n));
    R(n >= 0);
    s = MUST(open(slave_name, O_RDWR | O_NOCTTY));
    R(close(master));
    R(read(s, b, 8));
    R(write(s, b, 1));
    R(tcgetattr(s, &t));
    R(open(slave_name, O_RDWR));
    R(tcgetattr(MUST(open("/dev/null", O_RDONLY)), &t));
}

static volatile int got;
static void note(int sig)
{
    got = sig;
}

static void control(void)
{
    SECTION("controlling terminal");
    CHILD("session", {
        int s = open_pair();
        R(ioctl(s, TIOCSCTTY, 0));
        MUST(setsid());
        R(open("/dev/tty", O_RDWR));
        R(ioctl(s, TIOCSCTTY, 0));
        R(open("/dev/tty", O_RDWR) >= 0);
        R(tcgetpgrp(s) == getpid());
        R(tcgetsid(s) == getpid());
        (void)signal(SIGINT, note);
        say(master, "\003");
        sleep_ms(20);
        R(got == SIGINT);
        (void)signal(SIGQUIT, note);
        say(master, "\034");
        sleep_ms(20);
        R(got == SIGQUIT);
        (void)signal(SIGWINCH, note);
        struct winsize w = {10, 20, 0, 0};
        R(ioctl(master, TIOCSWINSZ, &w));
        sleep_ms(20);
        R(got == SIGWINCH);
        while (1) { /* what was echoed */
            struct pollfd p = {.fd = master, .events = POLLIN};
            char b[64];
            if (poll(&p, 1, 0) <= 0 || read(master, b, sizeof(b)) <= 0)
                break;
        }
        /* a child in the background */
        int st;
        pid_t pid = fork();
        if (!pid) {
            char c;
            (void)setpgid(0, 0);
            (void)signal(SIGTTIN, SIG_DFL);
            (void)!read(s, &c, 1);
            _exit(c);
        }
        (void)setpgid(pid, pid);
        MUST(waitpid(pid, &st, WUNTRACED));
        wait_status("background read", st);
        R(tcsetpgrp(s, pid));
        R(tcgetpgrp(s) == pid);
        MUST(kill(pid, SIGCONT));
        say(master, "Q\n");
        MUST(waitpid(pid, &st, 0));
        wait_status("foreground read", st);
        (void)signal(SIGTTOU, SIG_IGN);
        R(tcsetpgrp(s, getpid()));
        pid = fork();
        if (!pid) {
            (void)setpgid(0, 0);
            (void)signal(SIGTTOU, SIG_DFL);
            struct termios t;
            (void)tcgetattr(s, &t);
            (void)tcsetattr(s, TCSANOW, &t);
            _exit(0);
        }
        MUST(waitpid(pid, &st, WUNTRACED));
        wait_status("background tcsetattr", st);
        MUST(kill(pid, SIGKILL));
        MUST(waitpid(pid, &st, 0));
        pid = fork();
        if (!pid) {
            (void)setpgid(0, 0);
            (void)signal(SIGINT, SIG_DFL);
            (void)tcsetpgrp(s, getpid());
            for (;;)
                (void)pause();
        }
        while (tcgetpgrp(s) != pid)
            sleep_ms(2);
        say(master, "\032");
        MUST(waitpid(pid, &st, WUNTRACED));
        wait_status("^Z", st);
        MUST(kill(pid, SIGCONT));
        say(master, "\003");
        MUST(waitpid(pid, &st, 0));
        wait_status("^C", st);
        R(tcsetpgrp(s, 99999));
        R(tcsetpgrp(s, getpid()));
        (void)signal(SIGHUP, note);
        R(close(master));
        sleep_ms(20);
        R(got == SIGHUP);
        char c;
        R(read(s, &c, 1));
    });
    CHILD("leader's end hangs up", {
        int s = open_pair();
        int p[2], st;
        MUST(pipe(p));
        pid_t pid = fork();
        if (!pid) {
            MUST(setsid());
            MUST(ioctl(s, TIOCSCTTY, 0));
            if (!fork()) {
                (void)!write(p[1], "x", 1);
                for (;;)
                    (void)pause(); /* dies of SIGHUP: the pipe ends */
            }
            char c;
            (void)!read(p[0], &c, 1);
            _exit(0);
        }
        MUST(waitpid(pid, &st, 0));
        (void)close(p[1]);
        char c;
        R(read(p[0], &c, 1));
    });
}

int main(void)
{
    lines();
    control();
    return 0;
}
