/* What the engine's own files share. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "hooks.h"
#include "quickjs.h"

/* Bytes of the C stack that a script may use; deeper recursion is a RangeError. The rest of the stack is for what
   runs on top: error texts, calls of the host. */
#define STACK_LIMIT (192 << 10)

/* Largest parameter or result of the world, in bytes, and most core values of one call; checked by the build script. */
#define AREA_BYTES 64
#define SLOTS 16

/* Blocks that live until one call is over. */
struct arena {
    struct note *notes;
};

void *arena_take(JSContext *ctx, struct arena *arena, size_t size);
int arena_keep_text(JSContext *ctx, struct arena *arena, const char *text);
void arena_free(JSContext *ctx, struct arena *arena);

/* Replaces encoded halves of surrogate pairs, which are not UTF-8, by U+FFFD. As many bytes as before. */
void mend(char *text, size_t length);

/* glue.c: calls of the world. */
typedef void import_call(uint64_t *slots);
import_call *glue_find(const char *interface, const char *function);
/* Prepares what all modules of the world share. Not zero when there is no memory for it. */
int glue_boot(JSContext *ctx);
/* Exports a new value from a module; a value that there was no memory for is an error. */
int glue_export_value(JSContext *ctx, JSModuleDef *module, const char *name, JSValue value);
/* The module of one interface of the world; null without an exception when the world has no such interface. */
JSModuleDef *glue_module(JSContext *ctx, const char *name);
/* Ends the instance where there is no other answer: what the host passes in does not fit, or QuickJS's compiler gets no
   memory. */
void out_of_memory(void);
/* Frees what the host has put into our memory. */
void glue_free_host(void);

/* engine.c: what the glue asks for when the host calls. */
/* Starts the engine unless it runs. Null, and `*reason`, when it cannot. */
JSContext *engine_enter(const char **reason);
/* Calls one function of the prelude's `app` and everything that becomes due with it. Frees the arguments. */
JSValue engine_call(JSContext *ctx, const char *name, int count, JSValue *arguments);

/* engine.c: what libc.c asks for. */
uint64_t engine_now_us(void);
uint64_t engine_monotonic_ns(void);

#endif
