/* Seen by QuickJS's own files before everything else: what our patches of them call. */
#ifndef HOOKS_H
#define HOOKS_H

#include <stdint.h>

struct JSContext;

/* Ends the instance of a script that is out of time. `stack` is a text of QuickJS, or undefined. */
void engine_interrupted(struct JSContext *ctx, uint64_t stack);

#endif
