#pragma once
/* epoll's side towards descriptors. */
struct file;

/* f's last reference is gone, f->ops->release has not run yet: forgets it in every epoll that
 * watches it. Call it if !list_empty(&f->epoll_items). */
void epoll_forget_file(struct file *f);
