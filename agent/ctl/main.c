#include "agent/ctl/ctl.h"
#include "common/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_DEFAULT "/run/berm/control.sock"

static const struct ctl_verb verbs[] = {
    {"status", "", "the agent, enforcement, errors in manifests", ctl_status},
    {"pods", "", "pods with addresses, state and what was denied", ctl_pods},
    {"guard", "[on|off|sandboxed]", "the metadata guard's switch", ctl_guard},
    {"policy",
     "enforce [all|sandboxed|none] | list | explain POD PEER PORT[/PROTOCOL] | audit | test ...",
     "policies: switch, list, judge one connection, test files", ctl_policy},
    {"drops", "[--follow]", "denied packets: who, whom, and what said no", ctl_drops},
    {"logs", "POD [CONTAINER] [--follow]", "what a container printed", ctl_logs},
    {"exec", "POD [-c CONTAINER] -- COMMAND...", "run a command in a container", ctl_exec},
    {"play", "DIR [BERMD-FLAG...]", "run the agent here, on a folder of manifests", ctl_play},
    {"wait", "", "do nothing until a signal comes (what a pod ends with that has done its work)",
     ctl_wait},
    {"doctor", "", "is this node able to run berm?", ctl_doctor},
};

static void print_help(void)
{
    puts("usage: bermctl [--socket PATH] [--json] VERB ...\n");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        printf("  %-8s %s\n           %s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
    puts("\nThe socket is RUN-DIR/control.sock of the agent (" SOCKET_DEFAULT
         ", or $BERM_CONTROL_SOCKET).");
}

int main(int argc, char **argv)
{
    const char *env = getenv("BERM_CONTROL_SOCKET");
    struct ctl ctl = {.socket = env ? env : SOCKET_DEFAULT};
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            ctl.json = true;
        } else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
            ctl.socket = argv[++i];
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("bermctl " BERM_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return 0;
        } else {
            return ctl_usage("unknown flag (see bermctl help)");
        }
    }
    if (i == argc || strcmp(argv[i], "help") == 0) {
        print_help();
        return i == argc;
    }
    for (size_t v = 0; v < ARRAY_SIZE(verbs); v++)
        if (strcmp(verbs[v].name, argv[i]) == 0)
            return verbs[v].fn(&ctl, argc - i, argv + i);
    return ctl_usage("unknown verb (see bermctl help)");
}
