#pragma once
/* Terminals. */
#include "common/error.h"

#include <termios.h>

/* A fresh pty: the master goes to the socket (containerd's --console-socket), the slave is
 * returned. */
int console_new(const char *socket_path, struct error *err);
