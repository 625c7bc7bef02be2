#pragma once
/*
 * The little of TOML that registering a handler takes. What an administrator wrote is never parsed
 * nor written anew: a block of ours is put at its end, between two marks, and taken out again to
 * the byte. What is read by tables is the runtime's own dump of its configuration, which has one
 * form.
 */
#include "common/buf.h"
#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>

/* The number of the line "version = N" before the first table; 0 if there is none. */
int toml_version(const char *text);

/* -- the block ----------------------------------------------------------------------------------
 */

/* text (NULL: there is no file) with the block at its end, in place of one that is there. */
int toml_block_put(const char *text, const char *block, struct buf *ret);
/* text as it was without the block. ret_created: the file was ours altogether, and is to go. */
int toml_block_remove(const char *text, struct buf *ret, bool *ret_created);
bool toml_has_block(const char *text);

/* -- dumps
 * ----------------------------------------------------------------------------------------- */

/* Names of the handlers: tables below ...containerd.runtimes. An array; NULL if memory is short. */
json_t *toml_handlers(const char *dump);
/* Everything of one handler, as it stands there. */
int toml_handler_text(const char *dump, const char *handler, struct buf *ret);
/* The value of a key in a handler's tables ("BinaryName"), unquoted; false if it isn't there. */
bool toml_handler_value(const char *dump, const char *handler, const char *key, char *ret,
                        size_t size);
/* The dump without that handler, the line of imports and empty lines: what must stay the same. */
int toml_without_handler(const char *dump, const char *handler, struct buf *ret);
/* The strings of the line "imports = [...]" at the top. */
json_t *toml_imports(const char *dump);
