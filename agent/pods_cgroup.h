#pragma once
/* The guard on the parent of all pods' cgroups, as soon as there is one. */
struct agent;

/* Now and then, from the sweep: cheap while it is in place. */
void pods_cgroup_check(struct agent *a);
