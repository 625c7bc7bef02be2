#pragma once
struct task;
/* Walks the robust futex list of a dying thread (set_robust_list(2)), with limits: guest memory is
 * hostile. */
void robust_list_exit(struct task *t);
