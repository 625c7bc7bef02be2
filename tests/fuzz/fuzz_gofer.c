/* Requests to the gofer as a hostile sentry would send them, against an empty read-only directory.
 */
#include "runtime/gofer/server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[GOFER_PACKET_MAX];
    static struct gofer_server server = GOFER_SERVER_INIT;
    static struct gofer_mount mount;
    struct gofer_reply reply;
    void *packet;
    struct gofer_fds fds;

    if (!server.n_mounts) {
        char dir[] = "/tmp/berm-fuzz-XXXXXX";

        if (!mkdtemp(dir) || gofer_server_init(&server) < 0)
            abort();
        mount = (struct gofer_mount){.root = open(dir, O_PATH), .readonly = true};
        (void)rmdir(dir);
        server.mounts = &mount;
        server.n_mounts = 1;
    }
    packet =
        malloc(size ? size : 1); /* exact size, so that the sanitizer sees what is read beyond */
    if (!packet)
        return 0;
    memcpy(packet, data, size);
    gofer_handle(&server, packet, size, &reply, out, &fds);
    gofer_fds_close_all(&fds);
    free(packet);
    return 0;
}
