/* The canonical ABI, as an interpreter of the tables that the build script makes from the WIT world. Values cross
   through memory: `store` and `load` are between JavaScript and memory, `flatten` and `unflatten` between memory and
   the core values of a call. */
#include <math.h>
#include <stdlib.h>

#include "engine.h"

enum {
    T_BOOL, T_U8, T_S8, T_U16, T_S16, T_U32, T_S32, T_U64, T_S64, T_F32, T_F64, T_STRING, T_LIST, T_RECORD, T_VARIANT,
    T_ENUM, T_OPTION, T_RESULT, T_OWN, T_BORROW,
};

struct type {
    uint8_t kind, align;
    uint8_t tag;      /* bytes of the number that says which case it is */
    uint8_t flat;     /* core values */
    uint16_t size;    /* bytes in memory */
    uint16_t payload; /* offset of a case's value */
    int16_t first;    /* first member; element of a list or an option; resource of a handle */
    uint16_t count;   /* members */
};

struct member {
    const char *name;
    int16_t type; /* -1 for a case without a value */
    uint16_t offset;
};

struct resource {
    const char *name;
    void (*drop)(uint32_t handle);
};

struct function {
    const char *name;
    uint16_t first;
    uint8_t count;
    int16_t result; /* -1 for none */
    uint8_t retptr;
    int16_t resource; /* the receiver's, -1 for a function that is not a method */
    import_call *call;
};

struct interface {
    const char *name;
    uint16_t first, count;
    uint16_t first_resource, resources;
};

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name))) extern
#define EXPORT(name) __attribute__((export_name(name)))

static inline float slot_f32(uint64_t slot)
{
    uint32_t bits = (uint32_t)slot;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline double slot_f64(uint64_t slot)
{
    double value;
    memcpy(&value, &slot, 8);
    return value;
}

static uint32_t glue_export(int index, uint64_t *slots);
static void glue_returned(void);

#include "world.h"

/* Longest list that a script may pass, in elements; the host's own limits are lower. */
#define MAX_ELEMENTS (1 << 24)

/* A JavaScript object that stands for a resource of the host. */
struct handle {
    int resource;
    uint32_t number;
    bool open;
};

static JSClassID handle_class;
static JSAtom dispose_name;
static JSValue prototypes[RESOURCES_COUNT];
/* Texts and lists of the answer that the host is reading. */
static struct arena returned;

/* Memory that the host fills: arguments of an export, results of an import. */

struct block {
    struct block *next;
    size_t size;
    uint8_t data[];
};

static struct block *blocks;

/* An access beyond all memory is the trap that a host takes for a fault of memory; its report names this function. */
__attribute__((noinline)) void out_of_memory(void)
{
    (void)*(volatile const uint8_t *)UINTPTR_MAX;
}

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size)
{
    if (size == 0)
        return (void *)align;
    struct block **link = &blocks, *block;
    if (size > SIZE_MAX - sizeof *block - 1)
        out_of_memory();
    if (old_size != 0) {
        while (*link && (*link)->data != old)
            link = &(*link)->next;
        if (!*link)
            abort();
        block = *link;
        *link = block->next;
        block = realloc(block, sizeof *block + size + 1);
    } else {
        block = malloc(sizeof *block + size + 1);
    }
    if (!block)
        out_of_memory();
    block->size = size;
    block->data[size] = 0;
    block->next = blocks;
    blocks = block;
    return block->data;
}

void glue_free_host(void)
{
    while (blocks) {
        struct block *block = blocks;
        blocks = block->next;
        free(block);
    }
}

/* Memory that the host reads. */

struct note {
    struct note *next;
    const char *text;
    uint64_t data[];
};

void *arena_take(JSContext *ctx, struct arena *arena, size_t size)
{
    struct note *note = js_malloc(ctx, sizeof *note + size);
    if (!note)
        return NULL;
    note->text = NULL;
    note->next = arena->notes;
    arena->notes = note;
    return note->data;
}

/* Frees `text` of JS_ToCString with the arena, or at once when that fails. */
int arena_keep_text(JSContext *ctx, struct arena *arena, const char *text)
{
    struct note *note = js_malloc(ctx, sizeof *note);
    if (!note) {
        JS_FreeCString(ctx, text);
        return -1;
    }
    note->text = text;
    note->next = arena->notes;
    arena->notes = note;
    return 0;
}

void arena_free(JSContext *ctx, struct arena *arena)
{
    while (arena->notes) {
        struct note *note = arena->notes;
        arena->notes = note->next;
        if (note->text)
            JS_FreeCString(ctx, note->text);
        js_free(ctx, note);
    }
}

void mend(char *text, size_t length)
{
    uint8_t *at = (uint8_t *)text, *end = at + length;
    while (end - at >= 3 && (at = memchr(at, 0xed, end - at - 2))) {
        if (at[1] >= 0xa0) {
            at[0] = 0xef;
            at[1] = 0xbf;
            at[2] = 0xbd;
        }
        at += 3;
    }
}

/* JavaScript to memory. */

static int store(JSContext *ctx, struct arena *arena, const struct type *type, JSValueConst value, const char *what,
                 uint8_t *at);

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static int store_text(JSContext *ctx, struct arena *arena, JSValueConst value, const char *what, uint8_t *at)
{
    size_t length;
    if (!JS_IsString(value)) {
        JS_ThrowTypeError(ctx, "%s is not a text", what);
        return -1;
    }
    const char *text = JS_ToCStringLen(ctx, &length, value);
    if (!text || arena_keep_text(ctx, arena, text))
        return -1;
    /* A text with halves of pairs is never QuickJS's own: those are made of ASCII. */
    mend((char *)text, length);
    put32(at, (uint32_t)(uintptr_t)text);
    put32(at + 4, (uint32_t)length);
    return 0;
}

static int whole(JSContext *ctx, JSValueConst value, const char *what, double least, double most, double *number)
{
    if (!JS_IsNumber(value)) {
        JS_ThrowTypeError(ctx, "%s is not a number", what);
        return -1;
    }
    if (JS_ToFloat64(ctx, number, value))
        return -1;
    if (!(*number >= least && *number <= most) || trunc(*number) != *number) {
        JS_ThrowRangeError(ctx, "%s is not a whole number from %.0f to %.0f", what, least, most);
        return -1;
    }
    return 0;
}

static int store_list(JSContext *ctx, struct arena *arena, const struct type *element, JSValueConst value,
                      const char *what, uint8_t *at)
{
    int64_t length;
    if (!JS_IsObject(value)) {
        JS_ThrowTypeError(ctx, "%s is not a list", what);
        return -1;
    }
    if (element->kind == T_U8 && JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        size_t size;
        uint8_t *bytes = JS_GetUint8Array(ctx, &size, value);
        if (!bytes && size == 0 && JS_HasException(ctx))
            return -1;
        uint8_t *copy = arena_take(ctx, arena, size + 1);
        if (!copy)
            return -1;
        if (size)
            memcpy(copy, bytes, size);
        put32(at, (uint32_t)(uintptr_t)copy);
        put32(at + 4, (uint32_t)size);
        return 0;
    }
    if (JS_GetLength(ctx, value, &length))
        return -1;
    if (length < 0 || length > MAX_ELEMENTS) {
        JS_ThrowRangeError(ctx, "%s has too many elements", what);
        return -1;
    }
    uint8_t *list = arena_take(ctx, arena, (size_t)length * element->size + 1);
    if (!list)
        return -1;
    for (int64_t i = 0; i < length; i++) {
        JSValue item = JS_GetPropertyInt64(ctx, value, i);
        int failed = JS_IsException(item) || store(ctx, arena, element, item, what, list + i * element->size);
        JS_FreeValue(ctx, item);
        if (failed)
            return -1;
    }
    put32(at, (uint32_t)(uintptr_t)list);
    put32(at + 4, (uint32_t)length);
    return 0;
}

/* The index of the case that a text names; -1 with an exception. */
static int case_of(JSContext *ctx, const struct type *type, JSValueConst name, const char *what)
{
    int found = -1;
    if (JS_IsString(name)) {
        size_t length;
        const char *text = JS_ToCStringLen(ctx, &length, name);
        if (!text)
            return -1;
        for (int i = 0; i < type->count && found < 0; i++) {
            const char *known = members[type->first + i].name;
            if (strlen(known) == length && !memcmp(known, text, length))
                found = i;
        }
        JS_FreeCString(ctx, text);
    }
    if (found < 0)
        JS_ThrowTypeError(ctx, "%s is not one of its words", what);
    return found;
}

static int store_variant(JSContext *ctx, struct arena *arena, const struct type *type, JSValueConst value,
                         const char *what, uint8_t *at)
{
    if (!JS_IsObject(value)) {
        JS_ThrowTypeError(ctx, "%s is not an object with a tag", what);
        return -1;
    }
    JSValue tag = JS_GetPropertyStr(ctx, value, "tag");
    int index = JS_IsException(tag) ? -1 : case_of(ctx, type, tag, what);
    JS_FreeValue(ctx, tag);
    if (index < 0)
        return -1;
    *at = (uint8_t)index;
    int inner = members[type->first + index].type;
    if (inner < 0)
        return 0;
    JSValue payload = JS_GetPropertyStr(ctx, value, "val");
    int failed = JS_IsException(payload) || store(ctx, arena, &types[inner], payload, what, at + type->payload);
    JS_FreeValue(ctx, payload);
    return failed ? -1 : 0;
}

static int store_record(JSContext *ctx, struct arena *arena, const struct type *type, JSValueConst value,
                        const char *what, uint8_t *at)
{
    if (!JS_IsObject(value)) {
        JS_ThrowTypeError(ctx, "%s is not an object", what);
        return -1;
    }
    for (int i = 0; i < type->count; i++) {
        const struct member *member = &members[type->first + i];
        JSValue field = JS_GetPropertyStr(ctx, value, member->name);
        int failed = JS_IsException(field) ||
                     store(ctx, arena, &types[member->type], field, member->name, at + member->offset);
        JS_FreeValue(ctx, field);
        if (failed)
            return -1;
    }
    return 0;
}

static int store(JSContext *ctx, struct arena *arena, const struct type *type, JSValueConst value, const char *what,
                 uint8_t *at)
{
    static const double least[] = { [T_U8] = 0, [T_S8] = -128, [T_U16] = 0, [T_S16] = -32768, [T_U32] = 0,
                                    [T_S32] = -2147483648.0, [T_U64] = 0, [T_S64] = -9007199254740991.0 };
    static const double most[] = { [T_U8] = 255, [T_S8] = 127, [T_U16] = 65535, [T_S16] = 32767,
                                   [T_U32] = 4294967295.0, [T_S32] = 2147483647, [T_U64] = 9007199254740991.0,
                                   [T_S64] = 9007199254740991.0 };
    double number;
    float single;
    int64_t integer;
    memset(at, 0, type->size);
    switch (type->kind) {
    case T_BOOL: {
        int truth = JS_ToBool(ctx, value);
        *at = truth > 0;
        return truth < 0 ? -1 : 0;
    }
    case T_U8: case T_S8: case T_U16: case T_S16: case T_U32: case T_S32: case T_U64: case T_S64:
        if (whole(ctx, value, what, least[type->kind], most[type->kind], &number))
            return -1;
        integer = (int64_t)number;
        memcpy(at, &integer, type->size);
        return 0;
    case T_F32: case T_F64:
        if (!JS_IsNumber(value)) {
            JS_ThrowTypeError(ctx, "%s is not a number", what);
            return -1;
        }
        if (JS_ToFloat64(ctx, &number, value))
            return -1;
        single = (float)number;
        memcpy(at, type->kind == T_F32 ? (void *)&single : (void *)&number, type->size);
        return 0;
    case T_STRING:
        return store_text(ctx, arena, value, what, at);
    case T_LIST:
        return store_list(ctx, arena, &types[type->first], value, what, at);
    case T_RECORD:
        return store_record(ctx, arena, type, value, what, at);
    case T_VARIANT:
        return store_variant(ctx, arena, type, value, what, at);
    case T_ENUM: {
        int index = case_of(ctx, type, value, what);
        *at = (uint8_t)index;
        return index < 0 ? -1 : 0;
    }
    case T_OPTION:
        if (JS_IsUndefined(value) || JS_IsNull(value))
            return 0;
        *at = 1;
        return store(ctx, arena, &types[type->first], value, what, at + type->payload);
    default:
        JS_ThrowTypeError(ctx, "%s cannot be passed", what);
        return -1;
    }
}

/* Memory to JavaScript. Runs no code of the script: properties of new objects are defined, not set. */

static JSValue load(JSContext *ctx, const struct type *type, const uint8_t *at);

static JSValue load_list(JSContext *ctx, const struct type *element, const uint8_t *at)
{
    const uint8_t *data = (const uint8_t *)(uintptr_t)get32(at);
    uint32_t length = get32(at + 4);
    if (element->kind == T_U8)
        return JS_NewUint8ArrayCopy(ctx, data, length);
    JSValue list = JS_NewArray(ctx);
    for (uint32_t i = 0; i < length && !JS_IsException(list); i++) {
        JSValue item = load(ctx, element, data + i * element->size);
        if (JS_IsException(item) || JS_DefinePropertyValueUint32(ctx, list, i, item, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(ctx, list);
            list = JS_EXCEPTION;
        }
    }
    return list;
}

static JSValue with_property(JSContext *ctx, JSValue object, const char *name, JSValue value)
{
    if (JS_IsException(object)) {
        JS_FreeValue(ctx, value);
        return object;
    }
    if (JS_IsException(value) || JS_DefinePropertyValueStr(ctx, object, name, value, JS_PROP_C_W_E) < 0) {
        JS_FreeValue(ctx, object);
        return JS_EXCEPTION;
    }
    return object;
}

static JSValue new_handle(JSContext *ctx, int resource, uint32_t number)
{
    struct handle *handle = js_malloc(ctx, sizeof *handle);
    JSValue object = handle ? JS_NewObjectProtoClass(ctx, prototypes[resource], handle_class) : JS_EXCEPTION;
    if (JS_IsException(object)) {
        js_free(ctx, handle);
        resources[resource].drop(number);
        return object;
    }
    *handle = (struct handle){ resource, number, true };
    JS_SetOpaque(object, handle);
    return object;
}

static JSValue load(JSContext *ctx, const struct type *type, const uint8_t *at)
{
    int64_t integer = 0;
    float single;
    double number;
    memcpy(&integer, at, type->size < 8 ? type->size : 8);
    switch (type->kind) {
    case T_BOOL:
        return JS_NewBool(ctx, *at != 0);
    case T_U8: case T_U16: case T_U32:
        return JS_NewInt64(ctx, integer);
    case T_S8:
        return JS_NewInt32(ctx, (int8_t)integer);
    case T_S16:
        return JS_NewInt32(ctx, (int16_t)integer);
    case T_S32:
        return JS_NewInt32(ctx, (int32_t)integer);
    case T_U64:
        return JS_NewFloat64(ctx, (double)(uint64_t)integer);
    case T_S64:
        return JS_NewFloat64(ctx, (double)integer);
    case T_F32:
        memcpy(&single, at, 4);
        return JS_NewFloat64(ctx, single);
    case T_F64:
        memcpy(&number, at, 8);
        return JS_NewFloat64(ctx, number);
    case T_STRING:
        return JS_NewStringLen(ctx, (const char *)(uintptr_t)get32(at), get32(at + 4));
    case T_LIST:
        return load_list(ctx, &types[type->first], at);
    case T_RECORD: {
        JSValue object = JS_NewObject(ctx);
        for (int i = 0; i < type->count; i++) {
            const struct member *member = &members[type->first + i];
            object = with_property(ctx, object, member->name, load(ctx, &types[member->type], at + member->offset));
        }
        return object;
    }
    case T_VARIANT: {
        const struct member *member = &members[type->first + *at];
        JSValue object = with_property(ctx, JS_NewObject(ctx), "tag", JS_NewString(ctx, member->name));
        if (member->type >= 0)
            object = with_property(ctx, object, "val", load(ctx, &types[member->type], at + type->payload));
        return object;
    }
    case T_ENUM:
        return JS_NewString(ctx, members[type->first + *at].name);
    case T_OPTION:
        return *at ? load(ctx, &types[type->first], at + type->payload) : JS_UNDEFINED;
    case T_OWN:
        return new_handle(ctx, type->first, get32(at));
    default:
        return JS_ThrowTypeError(ctx, "the host has passed what the engine does not know");
    }
}

/* Memory to core values and back. */

static int flatten(const struct type *type, const uint8_t *at, uint64_t *slots)
{
    slots[0] = 0;
    switch (type->kind) {
    case T_STRING: case T_LIST:
        slots[0] = get32(at);
        slots[1] = get32(at + 4);
        break;
    case T_RECORD:
        for (int i = 0; i < type->count; i++) {
            const struct member *member = &members[type->first + i];
            slots += flatten(&types[member->type], at + member->offset, slots);
        }
        break;
    case T_S8:
        slots[0] = (uint32_t)(int8_t)*at;
        break;
    case T_S16:
        slots[0] = (uint32_t)(int16_t)(at[0] | at[1] << 8);
        break;
    case T_VARIANT: case T_OPTION: {
        int inner = type->kind == T_VARIANT ? members[type->first + *at].type : *at ? type->first : -1;
        memset(slots, 0, type->flat * sizeof *slots);
        slots[0] = *at;
        if (inner >= 0)
            flatten(&types[inner], at + type->payload, slots + 1);
        break;
    }
    default:
        memcpy(slots, at, type->size);
    }
    return type->flat;
}

static int unflatten(const struct type *type, const uint64_t *slots, uint8_t *at)
{
    memset(at, 0, type->size);
    switch (type->kind) {
    case T_STRING: case T_LIST:
        put32(at, (uint32_t)slots[0]);
        put32(at + 4, (uint32_t)slots[1]);
        break;
    case T_RECORD:
        for (int i = 0; i < type->count; i++) {
            const struct member *member = &members[type->first + i];
            slots += unflatten(&types[member->type], slots, at + member->offset);
        }
        break;
    case T_VARIANT: case T_OPTION: {
        *at = (uint8_t)slots[0];
        int inner = type->kind == T_VARIANT ? members[type->first + *at].type : *at ? type->first : -1;
        if (inner >= 0)
            unflatten(&types[inner], slots + 1, at + type->payload);
        break;
    }
    default:
        memcpy(at, slots, type->size);
    }
    return type->flat;
}

/* Calls of the host. */

static struct handle *receiver(JSContext *ctx, JSValueConst object, int resource)
{
    struct handle *handle = JS_GetOpaque(object, handle_class);
    if (!handle || handle->resource != resource) {
        JS_ThrowTypeError(ctx, "not an object of %s", resources[resource].name);
        return NULL;
    }
    if (!handle->open) {
        JS_ThrowTypeError(ctx, "it is closed");
        return NULL;
    }
    return handle;
}

static JSValue call_import(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int index)
{
    const struct function *function = &functions[index];
    _Alignas(8) uint8_t area[AREA_BYTES];
    uint64_t slots[SLOTS + 2];
    struct arena arena = { 0 };
    int used = function->resource >= 0;
    for (int i = 0; i < function->count; i++) {
        const struct member *member = &members[function->first + i];
        if (store(ctx, &arena, &types[member->type], i < argc ? argv[i] : JS_UNDEFINED, member->name, area)) {
            arena_free(ctx, &arena);
            return JS_EXCEPTION;
        }
        used += flatten(&types[member->type], area, slots + used);
    }
    /* After the arguments: code of the script that they ran may have closed it. */
    if (function->resource >= 0) {
        struct handle *handle = receiver(ctx, this, function->resource);
        if (!handle) {
            arena_free(ctx, &arena);
            return JS_EXCEPTION;
        }
        slots[0] = handle->number;
    }
    if (function->retptr)
        slots[used] = (uint32_t)(uintptr_t)area;
    function->call(slots);
    arena_free(ctx, &arena);
    JSValue result = JS_UNDEFINED;
    if (function->result >= 0) {
        const struct type *type = &types[function->result];
        if (!function->retptr)
            unflatten(type, slots, area);
        if (type->kind == T_RESULT) {
            int inner = members[type->first + *area].type;
            if (inner >= 0)
                result = load(ctx, &types[inner], area + type->payload);
            if (*area && !JS_IsException(result))
                result = JS_Throw(ctx, result);
        } else {
            result = load(ctx, type, area);
        }
    }
    glue_free_host();
    return result;
}

static void drop(struct handle *handle)
{
    if (handle->open) {
        handle->open = false;
        resources[handle->resource].drop(handle->number);
    }
}

static JSValue dispose(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct handle *handle = JS_GetOpaque2(ctx, this, handle_class);
    if (!handle)
        return JS_EXCEPTION;
    drop(handle);
    return JS_UNDEFINED;
}

static void finalize(JSRuntime *rt, JSValueConst object)
{
    struct handle *handle = JS_GetOpaque(object, handle_class);
    if (handle) {
        drop(handle);
        js_free_rt(rt, handle);
    }
}

/* Modules of the world. */

static const struct interface *interface_of(const char *name)
{
    for (int i = 0; i < INTERFACES_COUNT; i++)
        if (!strcmp(interfaces[i].name, name))
            return &interfaces[i];
    return NULL;
}

import_call *glue_find(const char *interface, const char *function)
{
    const struct interface *found = interface_of(interface);
    for (int i = 0; found && i < found->count; i++)
        if (!strcmp(functions[found->first + i].name, function))
            return functions[found->first + i].call;
    abort();
}

int glue_boot(JSContext *ctx)
{
    static const JSClassDef definition = { "Handle", .finalizer = finalize };
    JSRuntime *rt = JS_GetRuntime(ctx);
    JS_NewClassID(rt, &handle_class);
    if (JS_NewClass(rt, handle_class, &definition) < 0)
        return -1;
    for (int i = 0; i < RESOURCES_COUNT; i++)
        prototypes[i] = JS_UNDEFINED;
    JSValue global = JS_GetGlobalObject(ctx);
    JSValue symbols = JS_GetPropertyStr(ctx, global, "Symbol");
    JSValue symbol = JS_IsException(symbols) ? JS_EXCEPTION : JS_GetPropertyStr(ctx, symbols, "dispose");
    dispose_name = JS_IsException(symbol) ? JS_ATOM_NULL : JS_ValueToAtom(ctx, symbol);
    JS_FreeValue(ctx, symbol);
    JS_FreeValue(ctx, symbols);
    JS_FreeValue(ctx, global);
    return dispose_name == JS_ATOM_NULL ? -1 : 0;
}

int glue_export_value(JSContext *ctx, JSModuleDef *module, const char *name, JSValue value)
{
    return JS_IsException(value) ? -1 : JS_SetModuleExport(ctx, module, name, value);
}

static JSValue function_of(JSContext *ctx, int index)
{
    const struct function *function = &functions[index];
    return JS_NewCFunctionMagic(ctx, call_import, function->name, function->count, JS_CFUNC_generic_magic, index);
}

static int prototype_of(JSContext *ctx, const struct interface *interface, int resource)
{
    JSValue prototype = JS_NewObject(ctx);
    for (int i = interface->first; i < interface->first + interface->count; i++)
        if (functions[i].resource == resource)
            prototype = with_property(ctx, prototype, functions[i].name, function_of(ctx, i));
    if (JS_IsException(prototype))
        return -1;
    JSValue end = JS_NewCFunction(ctx, dispose, "dispose", 0);
    int failed = JS_IsException(end) || JS_DefinePropertyValue(ctx, prototype, dispose_name, end, JS_PROP_C_W_E) < 0;
    prototypes[resource] = prototype;
    return failed ? -1 : 0;
}

static int fill_module(JSContext *ctx, JSModuleDef *module)
{
    JSAtom atom = JS_GetModuleName(ctx, module);
    const char *name = JS_AtomToCString(ctx, atom);
    JS_FreeAtom(ctx, atom);
    if (!name)
        return -1;
    const struct interface *interface = interface_of(name);
    JS_FreeCString(ctx, name);
    for (int i = interface->first_resource; i < interface->first_resource + interface->resources; i++)
        if (prototype_of(ctx, interface, i))
            return -1;
    for (int i = interface->first; i < interface->first + interface->count; i++)
        if (functions[i].resource < 0 && glue_export_value(ctx, module, functions[i].name, function_of(ctx, i)))
            return -1;
    return 0;
}

JSModuleDef *glue_module(JSContext *ctx, const char *name)
{
    const struct interface *interface = interface_of(name);
    if (!interface)
        return NULL;
    JSModuleDef *module = JS_NewCModule(ctx, name, fill_module);
    for (int i = interface->first; module && i < interface->first + interface->count; i++)
        if (functions[i].resource < 0 && JS_AddModuleExport(ctx, module, functions[i].name))
            return NULL;
    return module;
}

/* Calls by the host. */

/* Makes the answer a fault of kind `failed`, without any memory. */
static void fail(const struct type *fault, uint8_t *area, const char *reason)
{
    memset(area, 0, fault->size);
    for (int i = 0; i < fault->count; i++)
        if (!strcmp(members[fault->first + i].name, "failed"))
            *area = (uint8_t)i;
    put32(area + fault->payload, (uint32_t)(uintptr_t)reason);
    put32(area + fault->payload + 4, (uint32_t)strlen(reason));
}

static uint32_t glue_export(int index, uint64_t *slots)
{
    static _Alignas(8) uint8_t area[AREA_BYTES];
    const struct function *function = &exports[index];
    const struct type *type = &types[function->result];
    const struct member *ok = &members[type->first], *error = &members[type->first + 1];
    const char *reason = "the engine has no memory left";
    JSContext *ctx = engine_enter(&reason);
    JSValue result = JS_EXCEPTION;
    memset(area, 0, sizeof area);
    if (ctx) {
        JSValue arguments[4];
        int count = 0;
        for (; count < function->count; count++) {
            const struct type *argument = &types[members[function->first + count].type];
            _Alignas(8) uint8_t memory[AREA_BYTES];
            slots += unflatten(argument, slots, memory);
            arguments[count] = load(ctx, argument, memory);
        }
        glue_free_host();
        result = engine_call(ctx, function->name, count, arguments);
        if (!JS_IsException(result) && ok->type >= 0 &&
            store(ctx, &returned, &types[ok->type], result, function->name, area + type->payload)) {
            JS_FreeValue(ctx, result);
            result = JS_EXCEPTION;
        }
    }
    if (JS_IsException(result)) {
        JSValue thrown = ctx ? JS_GetException(ctx) : JS_UNDEFINED;
        *area = 1;
        if (!ctx || store(ctx, &returned, &types[error->type], thrown, "fault", area + type->payload)) {
            if (ctx)
                JS_FreeValue(ctx, JS_GetException(ctx));
            fail(&types[error->type], area + type->payload, reason);
        }
        if (ctx)
            JS_FreeValue(ctx, thrown);
    } else {
        JS_FreeValue(ctx, result);
    }
    return (uint32_t)(uintptr_t)area;
}

/* The host has read the answer. */
static void glue_returned(void)
{
    const char *reason;
    JSContext *ctx = engine_enter(&reason);
    if (ctx)
        arena_free(ctx, &returned);
}
