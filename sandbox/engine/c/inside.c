/* Included at the end of quickjs.c: what only code inside of QuickJS can do. */

/* The stack as a text, whatever the script did to Error. Undefined when there is no memory for it. */
JSValue engine_stack(JSContext *ctx)
{
    JSRuntime *rt = ctx->rt;
    JSValue prepare = ctx->error_prepare_stack, limit = ctx->error_stack_trace_limit, stack = JS_UNDEFINED;
    bool building = rt->in_build_stack_trace;
    ctx->error_prepare_stack = JS_UNDEFINED;
    ctx->error_stack_trace_limit = js_int32(16);
    rt->in_build_stack_trace = false;
    JSValue error = JS_NewError(ctx);
    if (JS_VALUE_GET_TAG(error) == JS_TAG_OBJECT)
        stack = js_dup(JS_VALUE_GET_OBJ(error)->u.object_data);
    JS_FreeValue(ctx, error);
    rt->in_build_stack_trace = building;
    ctx->error_stack_trace_limit = limit;
    ctx->error_prepare_stack = prepare;
    return stack;
}

/* Lets the interrupt handler be asked again at the next jump or call. */
void engine_ask_soon(JSContext *ctx)
{
    ctx->interrupt_counter = 1;
}

/* Lets the exception get another stack. */
void engine_forget_stack(JSContext *ctx)
{
    JSValue error = ctx->rt->current_exception;
    if (JS_VALUE_GET_TAG(error) == JS_TAG_OBJECT && JS_VALUE_GET_OBJ(error)->class_id == JS_CLASS_ERROR) {
        JS_FreeValue(ctx, JS_VALUE_GET_OBJ(error)->u.object_data);
        JS_VALUE_GET_OBJ(error)->u.object_data = JS_UNDEFINED;
    }
}

/* Whether a file is one of the prelude. */
int engine_is_ours(JSContext *ctx, JSAtom file)
{
    static const char folder[] = "__iottly/";
    const char *name = file == JS_ATOM_NULL ? NULL : JS_AtomToCString(ctx, file);
    int ours = name && !strncmp(name, folder, sizeof folder - 1);
    JS_FreeCString(ctx, name);
    return ours;
}

/* The atom; with an exception when there was no memory for it. */
JSAtom engine_atom(JSContext *ctx, JSAtom atom)
{
    if (unlikely(atom == JS_ATOM_NULL))
        JS_ThrowOutOfMemory(ctx);
    return atom;
}
