#pragma once
/* A container's root: an overlay with the image below and a layer of its own above. */
#include "agent/standalone/image.h"

/* Mounts it at BUNDLE/rootfs. The upper layer lies in BUNDLE/rw: on disk, or on a tmpfs where the
 * image holds that directory itself (host:). Undone by rootfs_unmount. */
int rootfs_mount(const struct image *image, const char *bundle, struct error *err);
void rootfs_unmount(const char *bundle);
