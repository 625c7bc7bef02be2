#pragma once
/* The set of mappings of an address space. All functions: mm->lock held (or the mm is not shared
 * yet). */
#include "runtime/sentry/mm/mm.h"

/* First mapping that ends above addr, or NULL. Valid until the next change. */
struct vma *vma_find(const struct vma_set *s, uint64_t addr);
struct vma *vma_next(const struct vma_set *s, const struct vma *v);
struct vma *vma_prev(const struct vma_set *s, const struct vma *v);
/* Adds a copy of *v (taking over its file reference), merged with its neighbours where they are
 * alike. The range must be free. 0 or -ENOMEM (reference not taken). */
int vma_insert(struct mm *mm, const struct vma *v);
/* A mapping's reference to its file, counted at its inode if it is shared and may be written. */
void vma_hold(const struct vma *v);
void vma_drop(const struct vma *v);
/* Removes everything in [start, end), splitting at the ends. 0 or -ENOMEM (a split needs a new
 * entry). */
int vma_remove(struct mm *mm, uint64_t start, uint64_t end);
/* Calls fn on each part of a mapping within [start, end), split off so that fn may change it; alike
 * neighbours are merged afterwards. -ENOMEM if a split failed or, with `whole`, there is a hole. */
int vma_change(struct mm *mm, uint64_t start, uint64_t end, bool whole,
               int (*fn)(struct vma *v, void *arg), void *arg);
bool vma_range_free(const struct mm *mm, uint64_t start, uint64_t end);
/* The whole range is mapped. */
bool vma_range_covered(const struct mm *mm, uint64_t start, uint64_t end);
/* Room of `size` bytes, top down below mm->mmap_base: address or 0. */
uint64_t vma_find_room(struct mm *mm, uint64_t size, uint64_t align);
int vma_set_copy(struct mm *to, const struct mm *from); /* fork; VMA_DONTFORK ones are left out */
void vma_set_fini(struct mm *mm);
