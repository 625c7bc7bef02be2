/* Asynchronous input and output of the old kind (io_submit(2)). */
#include "t.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static struct iocb *request(struct iocb *cb, int op, int fd, void *data, size_t size, long at)
{
    *cb = (struct iocb){.aio_lio_opcode = (uint16_t)op,
                        .aio_fildes = (uint32_t)fd,
                        .aio_buf = (uintptr_t)data,
                        .aio_nbytes = size,
                        .aio_offset = at,
                        .aio_data = 77};
    return cb;
}

int main(void)
{
    char data[16] = "";
    aio_context_t ctx = 0, none = 0;
    struct io_event ev[4];
    struct iocb a, b, *list[2] = {&a, &b};
    struct timespec soon = {.tv_nsec = 1000000};
    int fd = memfd_create("x", 0), event = eventfd(0, EFD_NONBLOCK);
    uint64_t count = 0;

    SECTION("contexts");
    R(syscall(SYS_io_setup, 1, NULL));
    R(syscall(SYS_io_setup, 0, &ctx));
    R(syscall(SYS_io_setup, -1, &ctx));
    R(syscall(SYS_io_setup, 4, &ctx));
    R(syscall(SYS_io_setup, 4, &ctx));
    SECTION("requests");
    request(&a, IOCB_CMD_PWRITE, fd, "hello", 5, 0);
    a.aio_flags = IOCB_FLAG_RESFD;
    a.aio_resfd = (uint32_t)event;
    request(&b, IOCB_CMD_FSYNC, fd, NULL, 0, 0);
    R(syscall(SYS_io_submit, ctx, 1, list));
    R(syscall(SYS_io_getevents, ctx, 1, 4, ev, NULL));
    R(ev[0].res);
    R(ev[0].data);
    R(read(event, &count, sizeof(count)));
    R(count);
    request(&a, IOCB_CMD_PREAD, fd, data, sizeof(data), 1);
    R(syscall(SYS_io_submit, ctx, 1, list));
    R(syscall(SYS_io_getevents, ctx, 1, 4, ev, &soon));
    R(ev[0].res);
    puts(data);
    R(syscall(SYS_io_getevents, ctx, 1, 4, ev, &soon));
    SECTION("errors");
    R(syscall(SYS_io_submit, none, 1, list));
    R(syscall(SYS_io_submit, ctx, -1L, list));
    R(syscall(SYS_io_submit, ctx, 1, (void *)-1L));
    request(&a, 99, fd, data, 1, 0);
    R(syscall(SYS_io_submit, ctx, 1, list));
    request(&a, IOCB_CMD_PREAD, -1, data, 1, 0);
    R(syscall(SYS_io_submit, ctx, 1, list));
    R(syscall(SYS_io_getevents, ctx, 4, 1, ev, NULL));
    R(syscall(SYS_io_destroy, ctx));
    R(syscall(SYS_io_destroy, ctx));
    return 0;
}
