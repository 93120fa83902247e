/* What the end of quickjs.c offers, and what our changes of QuickJS's files use. Included before everything else. */
#ifndef HOOKS_H
#define HOOKS_H

#include <stdint.h>

struct JSContext;
uint64_t engine_stack(struct JSContext *ctx);
void engine_ask_soon(struct JSContext *ctx);
void engine_forget_stack(struct JSContext *ctx);

/* Makes a function use so many bytes of the C stack. */
#define ENGINE_FRAME(bytes) \
    volatile char engine_frame[bytes]; \
    engine_frame[0] = 0

#endif
