/* What the end of quickjs.c offers, and what our changes of QuickJS's files use. Included before everything else. */
#ifndef HOOKS_H
#define HOOKS_H

#include <stddef.h>
#include <stdint.h>

struct JSContext;
uint64_t engine_stack(struct JSContext *ctx);
void engine_ask_soon(struct JSContext *ctx);
void engine_forget_stack(struct JSContext *ctx);
int engine_is_ours(struct JSContext *ctx, uint32_t file);
uint32_t engine_atom(struct JSContext *ctx, uint32_t atom);

/* engine.c: the size of the heap at which garbage is collected next, given what is in use after a collection. Below the
   limit of the heap, or a script whose garbage has cycles would run out of memory instead. */
size_t engine_gc_threshold(size_t used);

/* engine.c: a compilation begins, and ends. Between the two no allocation fails: QuickJS's compiler does not check all of
   them. What exceeds the limit of the heap comes from the reserve, and the compilation fails; without a reserve the
   instance ends. No script runs in between. */
void engine_compile_begin(struct JSContext *ctx);
void engine_compile_end(void);
/* Whether the running compilation has an exception: the one that it threw, or that there is no memory for it. */
int engine_compile_fails(struct JSContext *ctx);

/* Makes a function use so many bytes of the C stack. The compiler must think that all of them are used. */
#define ENGINE_FRAME(bytes) \
    char engine_frame[bytes]; \
    __asm__ volatile("" : : "r"(engine_frame))

#endif
