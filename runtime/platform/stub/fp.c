/*
 * Vector state, as the kernel's signal frame holds it. What the guest hands in is cut down to what
 * the kernel accepts: a frame that it refuses would end the process in its stub.
 */
#include "runtime/platform/stub/stub.h"

enum {
    FX_SIZE = 512,
    SW_OFF = 464, /* sw_reserved: magic1, extended_size, xfeatures, xstate_size */
    HDR_OFF = 512,
    HDR_SIZE = 64,
    MXCSR_OFF = 24,
    MXCSR_MASK_OFF = 28,
    SW_SIZE = 48,
    MAGIC1 = 0x46505853,
    PKRU_BIT = 1 << 9,
};

static uint32_t get32(uint64_t at)
{
    return *(const uint32_t *)at;
}

static uint64_t get64(uint64_t at)
{
    return *(const uint64_t *)at;
}

static uint32_t frame_size(const struct k_ucontext *uc)
{
    return get32(uc->fpstate + SW_OFF) == MAGIC1 ? get32(uc->fpstate + SW_OFF + 4) : FX_SIZE;
}

long op_fp_store(struct k_ucontext *uc, uint64_t addr)
{
    return stub_copy((void *)addr, (const void *)uc->fpstate, frame_size(uc));
}

static void reset(uint64_t fp, bool extended)
{
    (void)memset((void *)fp, 0, MXCSR_MASK_OFF);
    *(uint16_t *)fp = 0x37f;
    *(uint32_t *)(fp + MXCSR_OFF) = 0x1f80;
    (void)memset((void *)(fp + 32), 0, SW_OFF - 32);
    if (extended)
        *(uint64_t *)(fp + HDR_OFF) &= PKRU_BIT;
}

long op_fp_load(struct k_ucontext *uc, uint64_t addr)
{
    uint64_t fp = uc->fpstate, features;
    bool extended = get32(fp + SW_OFF) == MAGIC1;
    uint32_t size = frame_size(uc), mask = get32(fp + MXCSR_MASK_OFF), theirs[4];
    long r;

    if (!addr) {
        reset(fp, extended);
        return 0;
    }
    r = stub_copy(theirs, (const void *)(addr + SW_OFF), sizeof(theirs));
    if (r == 0)
        r = stub_copy((void *)fp, (const void *)addr, SW_OFF);
    if (r < 0)
        return r;
    *(uint32_t *)(fp + MXCSR_MASK_OFF) = mask;
    *(uint32_t *)(fp + MXCSR_OFF) &= mask ? mask : 0xffbf;
    if (!extended)
        return 0;
    if (theirs[0] != MAGIC1 || theirs[1] < size) {
        *(uint64_t *)(fp + HDR_OFF) = (get64(fp + HDR_OFF) & PKRU_BIT) | 3;
        return 0;
    }
    /* All but our software bytes and the closing magic. */
    r = stub_copy((void *)(fp + HDR_OFF), (const void *)(addr + HDR_OFF), size - HDR_OFF - 4);
    features = get64(fp + SW_OFF + 8);
    *(uint64_t *)(fp + HDR_OFF) &= features;
    (void)memset((void *)(fp + HDR_OFF + 8), 0, HDR_SIZE - 8);
    return r;
}
