#pragma once
/* Terminals. */
#include "common/error.h"

#include <sys/ioctl.h>

/* A fresh pty: the master goes to the socket (containerd's --console-socket), the slave is
 * returned. */
int console_new(const char *socket_path, const struct winsize *size, struct error *err);
