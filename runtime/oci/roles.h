#pragma once
/* What the forked children of a monitor do. Internal to launch.c and roles.c. */
#include "runtime/broker/server.h"
#include "runtime/oci/launch.h"

struct channels {
    int gofer[2];  /* [0] the sentry's, [1] the gofer's end */
    int zygote[2]; /* [0] the sentry's, [1] the zygote's end */
    int go[2];     /* monitor -> sentry: go on (struct go), closed: give up */
    int up[2];     /* sentry -> monitor: namespaces are done */
    int broker[2]; /* [0] the sentry's, [1] the broker's end */
    int ready[2];  /* answer to "create", or any child's failure, as one line of JSON */
};

/* Second message to the sentry, after arming. */
struct go {
    bool net_raw, broker, direct;
};

/* These run in the child and never return. */
_Noreturn void role_sentry(struct launch *l, struct channels *c, const char *request);
_Noreturn void role_gofer(struct launch *l, struct channels *c);
_Noreturn void role_broker(const struct broker_grants *grants, struct channels *c);
/* First child of the pair that makes the zygote: joins the sentry's namespaces, forks the zygote,
 * exits with 0 or 1. */
_Noreturn void role_zygote_parent(struct launch *l, struct channels *c, int sentry_pidfd);
