/* Starts QuickJS, loads the script, and runs everything that becomes due with a call: jobs, reports of rejected
   promises, the end of a call whose time is used up. */
#include <stdio.h>
#include <stdlib.h>

#include "engine.h"

#define SCRIPT "iottly:firmware/script@0.1.0"
#define OURS "__iottly/"
#define MAIN "main.js"
#define TOP_LEVEL_ONLY OURS "top-level-only"

/* Follows the author's last line: lets the prelude see the functions of a script that exports nothing. */
#define FOOTER "\nexport const __iottly_find = (__iottly_name) => eval(__iottly_name);\n"

/* Milliseconds before the end of a call's budget at which the engine ends it, so that the host, whose clock ticks every
   10 ms, does not do it first and without the place. */
#define MARGIN_MS 15

/* Longest name of a function in a place, with what is around it, in bytes. */
#define MAX_NAME 160

/* Questions about a budget that is used up for which no function of the author runs. */
#define MAX_WAITED 100

/* Memory that the script's heap leaves free for what the host passes in, in bytes. */
#define RESERVE (1 << 20)

struct prelude {
    const char *name;
    size_t length;
    const char *text;
};

#include "prelude.h"

enum { LOG_WARN = 3, LOG_ERROR = 4 };

/* A rejected promise that nothing has handled so far. */
struct rejection {
    struct rejection *next;
    JSValue promise, reason;
};

static JSRuntime *rt;
static JSContext *ctx;
static const char *broken;
static JSValue app, report;
static struct rejection *rejections;
/* What `source` says of the sections of main.js. */
static char *sections;
static bool seeding;
/* Questions of the running call about its budget, since that is used up, for which no function of the author ran. */
static int waited;

static import_call *script_source, *script_time_left, *script_stop, *script_memory, *clock_now_ms, *clock_monotonic_ns,
    *random_seed, *log_write;

extern size_t malloc_usable_size(void *block);
extern char __heap_base;

/* Memory. */

static size_t heap_used, heap_limit;
/* An allocation was refused, and the script may not know. */
static bool refused;
/* QuickJS's compiler is running, which does not check every allocation. */
static bool compiling;
/* The compilation has used memory beyond the limit of the heap. */
static bool overdrawn;

/* Whether the heap has room. A compilation may use the reserve, and fails for it as soon as it can. */
static bool heap_fits(size_t more)
{
    if (more <= heap_limit && heap_used <= heap_limit - more)
        return true;
    refused = true;
    overdrawn |= compiling;
    return compiling;
}

/* Notes that there is no memory at all. A compilation cannot go on without it: the instance ends. */
static void heap_failed(void)
{
    if (compiling)
        out_of_memory();
    refused = true;
}

void engine_compile_begin(JSContext *c)
{
    /* One that QuickJS lost has nothing to do with this compilation. */
    JS_FreeValue(c, JS_GetException(c));
    compiling = true;
    overdrawn = false;
}

int engine_compile_fails(JSContext *c)
{
    if (overdrawn && !JS_HasException(c))
        JS_ThrowOutOfMemory(c);
    return JS_HasException(c);
}

void engine_compile_end(void)
{
    compiling = overdrawn = false;
}

size_t engine_gc_threshold(size_t used)
{
    size_t next = used + used / 2;
    return next <= heap_limit || used >= heap_limit ? next : used + (heap_limit - used) / 2;
}

static void *counted(void *block)
{
    if (block)
        heap_used += malloc_usable_size(block);
    else
        heap_failed();
    return block;
}

static void *heap_malloc(void *opaque, size_t size)
{
    return heap_fits(size) ? counted(malloc(size)) : NULL;
}

static void *heap_calloc(void *opaque, size_t count, size_t size)
{
    return heap_fits(count * size) ? counted(calloc(count, size)) : NULL;
}

static void heap_free(void *opaque, void *block)
{
    if (block)
        heap_used -= malloc_usable_size(block);
    free(block);
}

static void *heap_realloc(void *opaque, void *block, size_t size)
{
    size_t old = block ? malloc_usable_size(block) : 0;
    if (size > old && !heap_fits(size - old))
        return NULL;
    void *moved = realloc(block, size);
    if (!moved) {
        if (size != 0)
            heap_failed();
        return NULL;
    }
    heap_used += malloc_usable_size(moved) - old;
    return moved;
}

static size_t heap_usable(const void *block)
{
    return malloc_usable_size((void *)block);
}

static const JSMallocFunctions heap = { heap_calloc, heap_malloc, heap_free, heap_realloc, heap_usable };

/* Clocks. */

uint64_t engine_now_us(void)
{
    uint64_t slots[1];
    /* QuickJS takes the seed of its random numbers and of its hashes from the clock. */
    if (seeding) {
        random_seed(slots);
        return slots[0];
    }
    clock_now_ms(slots);
    return slots[0] * 1000;
}

uint64_t engine_monotonic_ns(void)
{
    uint64_t slots[1];
    clock_monotonic_ns(slots);
    return slots[0];
}

/* The host. */

static void write_log(int level, const char *text, size_t length)
{
    uint64_t slots[3] = { level, (uint32_t)(uintptr_t)text, length };
    log_write(slots);
}

/* A file of the script, with a zero byte behind it, in memory that glue_free_host frees. Null when there is none. */
static char *source(const char *path, size_t *length)
{
    uint32_t found[3] = { 0 };
    uint64_t slots[3] = { (uint32_t)(uintptr_t)path, strlen(path), (uint32_t)(uintptr_t)found };
    script_source(slots);
    *length = found[2];
    return !(found[0] & 0xff) ? NULL : found[2] ? (char *)(uintptr_t)found[1] : "";
}

/* Places in the author's files. */

struct text {
    char *bytes;
    size_t length, room;
};

static void append(struct text *text, const char *bytes, size_t length)
{
    if (length > text->room - text->length)
        length = text->room - text->length;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

/* The decimal number at `*at`, which is moved behind it. */
static unsigned long digits(const char **at)
{
    unsigned long number = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        number = number * 10 + (**at - '0');
    return number;
}

/* Cuts a text that was cut inside of a character. */
static size_t whole_characters(const char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && length - start < 3 && ((uint8_t)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return 0;
    uint8_t lead = text[start - 1];
    size_t needs = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return length - start + 1 >= needs ? length : start - 1;
}

/* Finds the section that a line of main.js is in, and makes the line one of the section. */
static const char *section(unsigned long *row, size_t *length)
{
    const char *name = NULL;
    unsigned long start = 0;
    for (const char *at = sections; at && *at;) {
        const char *rest = at;
        unsigned long first = digits(&rest);
        const char *end = strchr(rest, '\n');
        if (!end)
            end = rest + strlen(rest);
        if (*rest != ' ' || first > *row)
            break;
        name = rest + 1;
        *length = end - name;
        start = first;
        at = *end ? end + 1 : end;
    }
    if (name)
        *row = *row - start + 1;
    return name;
}

/* Writes one line of a stack as its author knows it; `at f (main.js:3:5)`. False for a line that is not theirs. */
static bool place(struct text *text, const char *line, const char *end)
{
    const char *file = NULL, *close = end;
    while (line < end && *line == ' ')
        line++;
    if (end - line < 4 || memcmp(line, "at ", 3) || memmem(line, end - line, OURS, strlen(OURS)) ||
        memmem(line, end - line, "__iottly_", 9))
        return false;
    if (end[-1] == ')') {
        close--;
        for (const char *at = line; at + 1 < close; at++)
            if (at[0] == ' ' && at[1] == '(')
                file = at + 2;
        if (!file || (close - file == 6 && !memcmp(file, "native", 6)) ||
            (close - file == 7 && !memcmp(file, "missing", 7)))
            return false;
    } else {
        file = line + 3;
    }
    /* FILE:ROW:COLUMN, from its end. */
    const char *column = close, *row;
    while (column > file && column[-1] != ':')
        column--;
    for (row = column > file ? column - 1 : file; row > file && row[-1] != ':';)
        row--;
    /* A place is worth more than the end of a long name. */
    if (file - line > MAX_NAME) {
        append(text, line, whole_characters(line, MAX_NAME - 6));
        append(text, "… (", 5);
    } else {
        append(text, line, file - line);
    }
    size_t length;
    const char *rest = row;
    unsigned long number = digits(&rest);
    if (row - file == strlen(MAIN) + 1 && !memcmp(file, MAIN, strlen(MAIN)) && rest == column - 1) {
        const char *name = section(&number, &length);
        if (name) {
            char middle[24];
            append(text, name, length);
            append(text, middle, snprintf(middle, sizeof middle, ":%lu:", number));
            append(text, column, end - column);
            return true;
        }
    }
    append(text, file, end - file);
    return true;
}

/* Calls `take` with each line of a stack that is the author's. */
static void each_place(const char *stack, void (*take)(void *to, const char *line, size_t length), void *to)
{
    char buffer[512];
    for (const char *line = stack, *end; *line; line = *end ? end + 1 : end) {
        struct text text = { buffer, 0, sizeof buffer };
        end = strchr(line, '\n');
        if (!end)
            end = line + strlen(line);
        if (end > line && place(&text, line, end)) {
            mend(buffer, text.length);
            take(to, buffer, whole_characters(buffer, text.length));
        }
    }
}

static void add_line(void *to, const char *line, size_t length)
{
    struct text *text = to;
    /* Without the "at ": the report says it. */
    append(text, line + 3, length - 3);
    append(text, "\n", 1);
}

/* Asked by QuickJS at every 10,000th jump or call. Ends the instance when the budget is used up. Where none of the
   author's functions runs yet, as between two jobs, it waits for the next one, which names the place. */
static int out_of_time(JSRuntime *runtime, void *opaque)
{
    static char bytes[2048];
    struct text text = { bytes, 0, sizeof bytes };
    uint64_t slots[2];
    script_time_left(slots);
    if ((uint32_t)slots[0] >= MARGIN_MS || !ctx)
        return 0;
    JSValue stack = engine_stack(ctx);
    const char *lines = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    if (lines)
        each_place(lines, add_line, &text);
    JS_FreeCString(ctx, lines);
    JS_FreeValue(ctx, stack);
    /* There may have been no memory for a place; the script runs on. */
    JS_FreeValue(ctx, JS_GetException(ctx));
    if (text.length == 0 && waited++ < MAX_WAITED) {
        engine_ask_soon(ctx);
        return 0;
    }
    size_t length = whole_characters(bytes, text.length);
    while (length && bytes[length - 1] == '\n')
        length--;
    slots[0] = (uint32_t)(uintptr_t)bytes;
    slots[1] = length;
    script_stop(slots);
    abort();
}

/* What the prelude imports from `__iottly/engine`. */

struct lines {
    JSValue list;
    uint32_t count;
};

static void add_place(void *to, const char *line, size_t length)
{
    struct lines *lines = to;
    JSValue text = JS_NewStringLen(ctx, line, length);
    if (JS_IsException(text) || JS_DefinePropertyValueUint32(ctx, lines->list, lines->count, text, JS_PROP_C_W_E) < 0)
        JS_FreeValue(ctx, JS_GetException(ctx));
    else
        lines->count++;
}

/* places(stack): the lines of a stack in the author's files. */
static JSValue engine_places(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    struct lines lines = { JS_NewArray(c), 0 };
    if (JS_IsException(lines.list) || !JS_IsString(argv[0]))
        return lines.list;
    const char *stack = JS_ToCString(c, argv[0]);
    if (!stack) {
        JS_FreeValue(c, lines.list);
        return JS_EXCEPTION;
    }
    each_place(stack, add_place, &lines);
    JS_FreeCString(c, stack);
    return lines.list;
}

/* outOfMemory(): whether an allocation was refused since the last question. */
static JSValue engine_out_of_memory(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    bool was = refused;
    refused = false;
    return JS_NewBool(c, was);
}

/* load(): runs the script's top level and returns its exports; none of them if the host wants no more than the top level. */
static JSValue engine_load(JSContext *c, JSValueConst this, int argc, JSValueConst *argv)
{
    JSContext *of;
    JSPromiseStateEnum state;
    JSValue result, promise = JS_LoadModule(c, OURS "entry.js", "/" MAIN);
    if (JS_IsException(promise))
        return promise;
    while ((state = JS_PromiseState(c, promise)) == JS_PROMISE_PENDING) {
        int ran = JS_ExecutePendingJob(rt, &of);
        if (ran == 0)
            break;
        if (ran < 0)
            JS_FreeValue(c, JS_GetException(c));
    }
    if (state == JS_PROMISE_FULFILLED) {
        result = JS_PromiseResult(c, promise);
    } else if (state == JS_PROMISE_REJECTED) {
        JS_PromiseMarkAsHandled(c, promise);
        result = JS_Throw(c, JS_PromiseResult(c, promise));
    } else if (refused) {
        /* What would have settled it is what there was no memory for. */
        result = JS_ThrowOutOfMemory(c);
    } else {
        result = JS_ThrowPlainError(c, "%s: the top level awaits what nothing there will settle; start such work in init()",
                                    MAIN);
    }
    JS_FreeValue(c, promise);
    size_t length;
    if (!JS_IsException(result) && source(TOP_LEVEL_ONLY, &length)) {
        JS_FreeValue(c, result);
        result = JS_NewObject(c);
    }
    return result;
}

static int fill_engine(JSContext *c, JSModuleDef *module)
{
    return glue_export_value(c, module, "places", JS_NewCFunction(c, engine_places, "places", 1)) ||
           glue_export_value(c, module, "outOfMemory", JS_NewCFunction(c, engine_out_of_memory, "outOfMemory", 0)) ||
           glue_export_value(c, module, "load", JS_NewCFunction(c, engine_load, "load", 0));
}

static JSModuleDef *engine_module(JSContext *c, const char *name)
{
    JSModuleDef *module = JS_NewCModule(c, name, fill_engine);
    if (!module || JS_AddModuleExport(c, module, "places") || JS_AddModuleExport(c, module, "outOfMemory") ||
        JS_AddModuleExport(c, module, "load"))
        return NULL;
    return module;
}

/* Modules. */

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* `name` as seen from the module `base`, without `.` and `..`. Null when it leaves the firmware. */
static char *join(JSContext *c, const char *base, const char *name)
{
    const char *slash = strrchr(base, '/');
    size_t used = slash ? slash - base + 1 : 0;
    char *path = js_malloc(c, used + strlen(name) + 2);
    if (!path)
        return NULL;
    memcpy(path, base, used);
    while (*name) {
        size_t length = strcspn(name, "/");
        if (length == 2 && !memcmp(name, "..", 2)) {
            if (used == 0) {
                path[0] = 0;
                return path;
            }
            for (used--; used > 0 && path[used - 1] != '/';)
                used--;
        } else if (length != 0 && !(length == 1 && *name == '.')) {
            memcpy(path + used, name, length);
            used += length;
            if (name[length])
                path[used++] = '/';
        }
        name += length + (name[length] == '/');
    }
    path[used] = 0;
    return path;
}

static char *normalize(JSContext *c, const char *base, const char *name, void *opaque)
{
    bool ours = begins(base, OURS);
    if (begins(name, "iottly:firmware/") && (ours || strcmp(name, SCRIPT)))
        return js_strdup(c, name);
    if (ours && (*name == '/' || begins(name, OURS)))
        return js_strdup(c, name + (*name == '/'));
    if (begins(name, "./") || begins(name, "../")) {
        char *path = join(c, base, name);
        if (!path)
            return NULL;
        if (*path && (ours || !begins(path, OURS)))
            return path;
        js_free(c, path);
    }
    JS_ThrowReferenceError(c,
                           "%.80s: an import names nothing in the firmware: only its own files can be imported, by "
                           "paths that begin with ./ or ../",
                           base);
    return NULL;
}

static JSModuleDef *compile(JSContext *c, const char *text, size_t length, const char *name)
{
    JSValue module = JS_Eval(c, text, length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(module))
        return NULL;
    /* The context keeps all modules. */
    JSModuleDef *definition = JS_VALUE_GET_PTR(module);
    JS_FreeValue(c, module);
    return definition;
}

static JSModuleDef *compile_main(JSContext *c, const char *text, size_t length)
{
    char *with = js_malloc(c, length + sizeof FOOTER);
    if (!with)
        return NULL;
    memcpy(with, text, length);
    memcpy(with + length, FOOTER, sizeof FOOTER);
    JSModuleDef *module = compile(c, with, length + sizeof FOOTER - 1, MAIN);
    if (!module) {
        /* Behind a brace that is missing the footer is what is wrong: without it the end of the script is. */
        JSValue first = JS_GetException(c);
        while (length > 0 && strchr(" \t\r\n", with[length - 1]))
            length--;
        with[length] = 0;
        if (compile(c, with, length, MAIN))
            JS_Throw(c, first);
        else
            JS_FreeValue(c, first);
    }
    js_free(c, with);
    return module;
}

/* The prelude's modules of the hardware that the manifest asks for; the names of others say that it does not. */
static JSModuleDef *compile_board(JSContext *c, const char *name)
{
    static const char *const hardware[] = { "gpio", "i2c", "spi", "uart", "pwm", "adc" };
    char bytes[1024], line[64];
    struct text text = { bytes, 0, sizeof bytes - 1 };
    size_t length;
    const char *asked = source(OURS "interfaces", &length);
    append(&text, "import { deny } from './deny.js';\n", 34);
    for (size_t i = 0; i < sizeof hardware / sizeof *hardware; i++) {
        bool found = false;
        for (const char *at = asked; at && *at; at += strcspn(at, "\n"), at += *at == '\n')
            found |= strcspn(at, "\n") == strlen(hardware[i]) && begins(at, hardware[i]);
        append(&text, line, snprintf(line, sizeof line, found ? "import './%s.js';\n" : "deny('%s');\n", hardware[i]));
    }
    glue_free_host();
    bytes[text.length] = 0;
    return compile(c, bytes, text.length, name);
}

static JSModuleDef *load_module(JSContext *c, const char *name, void *opaque)
{
    if (begins(name, "iottly:firmware/")) {
        JSModuleDef *module = glue_module(c, name);
        if (!module && !JS_HasException(c))
            JS_ThrowReferenceError(c, "there is no interface \"%.80s\"", name);
        return module;
    }
    if (begins(name, OURS)) {
        if (!strcmp(name, OURS "engine"))
            return engine_module(c, name);
        if (!strcmp(name, OURS "board.js"))
            return compile_board(c, name);
        for (int i = 0; i < PRELUDE_COUNT; i++)
            if (!strcmp(prelude[i].name, name))
                return compile(c, prelude[i].text, prelude[i].length, name);
    }
    size_t length;
    const char *text = begins(name, OURS) ? NULL : source(name, &length);
    if (!text) {
        JS_ThrowReferenceError(c, "there is no module \"./%.120s\" in the firmware", name);
        return NULL;
    }
    JSModuleDef *module = strcmp(name, MAIN) ? compile(c, text, length, name) : compile_main(c, text, length);
    glue_free_host();
    return module;
}

/* Promises. */

static void rejected(JSContext *c, JSValueConst promise, JSValueConst reason, bool handled, void *opaque)
{
    struct rejection **link = &rejections, *found;
    /* The latest is first: what is handled at all mostly is so at once. */
    if (handled) {
        while (*link && JS_VALUE_GET_PTR((*link)->promise) != JS_VALUE_GET_PTR(promise))
            link = &(*link)->next;
        if (!(found = *link))
            return;
        *link = found->next;
        JS_FreeValue(c, found->promise);
        JS_FreeValue(c, found->reason);
        js_free(c, found);
        return;
    }
    found = js_malloc_rt(rt, sizeof *found);
    if (!found)
        return;
    *found = (struct rejection){ rejections, JS_DupValue(c, promise), JS_DupValue(c, reason) };
    rejections = found;
}

static void report_one(JSValue reason)
{
    JSValue result = JS_Call(ctx, report, JS_UNDEFINED, 1, &reason);
    JS_FreeValue(ctx, JS_IsException(result) ? JS_GetException(ctx) : result);
    JS_FreeValue(ctx, reason);
}

/* Runs all jobs, then reports the promises that were rejected meanwhile and that nothing handles. */
static void settle(void)
{
    JSContext *of;
    do {
        int ran;
        while ((ran = JS_ExecutePendingJob(rt, &of)) != 0)
            if (ran < 0)
                report_one(JS_GetException(ctx));
        struct rejection *oldest = NULL;
        while (rejections) {
            struct rejection *latest = rejections;
            rejections = latest->next;
            latest->next = oldest;
            oldest = latest;
        }
        while (oldest) {
            struct rejection *one = oldest;
            oldest = one->next;
            JS_FreeValue(ctx, one->promise);
            report_one(one->reason);
            js_free(ctx, one);
        }
    } while (JS_IsJobPending(rt));
}

/* Calls. */

static const char *boot(void)
{
    uint64_t slots[1];
    size_t length;
    script_source = glue_find(SCRIPT, "source");
    script_time_left = glue_find(SCRIPT, "timeLeft");
    script_stop = glue_find(SCRIPT, "stop");
    script_memory = glue_find(SCRIPT, "memory");
    clock_now_ms = glue_find("iottly:firmware/clock@0.1.0", "nowMs");
    clock_monotonic_ns = glue_find("iottly:firmware/clock@0.1.0", "monotonicNs");
    random_seed = glue_find("iottly:firmware/random@0.1.0", "seed");
    log_write = glue_find("iottly:firmware/log@0.1.0", "write");

    script_memory(slots);
    size_t memory = (uint32_t)slots[0], base = (uintptr_t)&__heap_base;
    size_t reserve = memory / 4 < RESERVE ? memory / 4 : RESERVE;
    heap_limit = memory > base + reserve ? memory - base - reserve : 0;

    static const char none[] = "the engine does not start: the firmware may not have enough memory";
    rt = JS_NewRuntime2(&heap, NULL);
    if (!rt)
        return none;
    JS_SetMaxStackSize(rt, STACK_LIMIT);
    seeding = true;
    JSContext *made = JS_NewContext(rt);
    seeding = false;
    if (!made)
        return none;
    JS_SetInterruptHandler(rt, out_of_time, NULL);
    JS_SetModuleLoaderFunc(rt, normalize, load_module, NULL);
    JS_SetHostPromiseRejectionTracker(rt, rejected, NULL);
    if (glue_boot(made))
        return none;
    ctx = made;

    const char *text = source(OURS "sections", &length);
    sections = text ? strdup(text) : NULL;
    glue_free_host();
    if (text && !sections)
        return none;

    JSModuleDef *entry = load_module(ctx, OURS "entry.js", NULL);
    JSValue done = entry ? JS_EvalFunction(ctx, JS_DupValue(ctx, JS_MKPTR(JS_TAG_MODULE, entry))) : JS_EXCEPTION;
    settle();
    bool good = JS_PromiseState(ctx, done) == JS_PROMISE_FULFILLED;
    if (!good) {
        JSValue why = JS_IsException(done) ? JS_GetException(ctx) : JS_PromiseResult(ctx, done);
        /* It is null when there was no memory for an error either. */
        const char *line = JS_IsNull(why) ? NULL : JS_ToCString(ctx, why);
        if (line)
            write_log(LOG_ERROR, line, strlen(line));
        return refused ? none : "the engine's own code does not run";
    }
    JS_FreeValue(ctx, done);
    JSValue exports = JS_GetModuleNamespace(ctx, entry);
    app = JS_GetPropertyStr(ctx, exports, "app");
    report = JS_GetPropertyStr(ctx, exports, "report");
    JS_FreeValue(ctx, exports);
    return JS_IsObject(app) && JS_IsFunction(ctx, report) ? NULL : none;
}

JSContext *engine_enter(const char **reason)
{
    if (broken) {
        *reason = broken;
        return NULL;
    }
    if (!ctx && (broken = boot())) {
        *reason = broken;
        return NULL;
    }
    JS_UpdateStackTop(rt);
    return ctx;
}

JSValue engine_call(JSContext *c, const char *name, int count, JSValue *arguments)
{
    static const char lost[] = "out of memory in this call; what the script was doing may be incomplete";
    waited = 0;
    JSValue function = JS_GetPropertyStr(c, app, name);
    JSValue result = JS_EXCEPTION;
    bool good = !JS_IsException(function);
    for (int i = 0; i < count; i++)
        good = good && !JS_IsException(arguments[i]);
    if (good)
        result = JS_Call(c, function, JS_UNDEFINED, count, arguments);
    for (int i = 0; i < count; i++)
        JS_FreeValue(c, arguments[i]);
    JS_FreeValue(c, function);
    JSValue thrown = JS_IsException(result) ? JS_GetException(c) : JS_UNDEFINED;
    settle();
    if (refused) {
        refused = false;
        write_log(LOG_WARN, lost, sizeof lost - 1);
    }
    return JS_IsException(result) ? JS_Throw(c, thrown) : result;
}
