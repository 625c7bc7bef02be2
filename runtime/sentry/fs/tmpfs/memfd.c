/* Memory files without a name: memfd_create, shared anonymous mappings, SysV shared memory. They
 * are tmpfs files of one hidden superblock that has no limit of its own: what they hold is charged
 * to the sandbox's memory. */
#include "runtime/sentry/fs/tmpfs/tmpfs.h"
#include "runtime/sentry/vfs/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static struct mutex g_lock = MUTEX_INIT;
static struct super *g_shm; /* made at first use, lives on */

static struct super *shm_super(void)
{
    mutex_lock(&g_lock);
    if (!g_shm && tmpfs_super_new(NULL, 0, &g_shm) == 0) {
        struct tmpfs *fs = g_shm->private;

        fs->max_pages = fs->max_inodes = 0;
        super_user_get(g_shm);
    }
    mutex_unlock(&g_lock);
    return g_shm;
}

int shmem_file_new(uint64_t size, unsigned flags, const char *name, struct file **ret)
{
    struct inode_new what = {.mode = S_IFREG | (flags & 8U /* MFD_NOEXEC_SEAL */ ? 0666 : 0777)};
    struct super *s = shm_super();
    struct inode *i;
    int r;

    if (!s)
        return -ENOMEM;
    if (size > INT64_MAX)
        return -EFBIG;
    r = tmpfs_inode_new(s, &what, &i);
    if (r < 0)
        return r;
    i->nlink = 0;
    i->sealable = true;
    i->seals = flags & MFD_ALLOW_SEALING || (flags & 8U) ? 0 : F_SEAL_SEAL;
    if (size) {
        r = tmpfs_resize(i, (int64_t)size);
        if (r < 0) {
            inode_put(i);
            return r;
        }
    }
    return vfs_open_anonymous(NULL, i, name, O_RDWR, ret);
}
